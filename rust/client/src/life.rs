//! Whether the socket of a connection is still there.
//!
//! When a connection ends, the transport tells the calls on it, nearly always. A call that is handed
//! over at that very moment can end in a queue that nobody reads any more, and that stays as long as
//! the call waits: a channel of tokio drops what is in it when its reader goes, but not what is just
//! being put there. So a call that waits for an answer also watches whether there is a socket.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

/// How long the transport has to tell a call that its connection is gone.
const NOTICE: Duration = Duration::from_secs(2);

/// The sockets of a connection, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Life(watch::Sender<Stage>);

#[derive(Clone, Copy, Debug, Default)]
struct Stage {
    /// How often a socket was asked for.
    number: u64,
    /// Whether the last of them has come and gone.
    is_gone: bool,
}

impl Life {
    /// A socket is asked for; its number.
    pub(crate) fn begin(&self) -> u64 {
        self.0.send_modify(|stage| {
            stage.number += 1;
            stage.is_gone = false;
        });
        self.0.borrow().number
    }

    /// The socket of this number is gone.
    pub(crate) fn end(&self, number: u64) {
        self.0.send_if_modified(|stage| {
            stage.is_gone |= stage.number == number;
            stage.is_gone
        });
    }

    /// Waits until there has been no socket for so long that whoever still waits was forgotten.
    pub(crate) async fn over(&self) {
        let mut stage = self.0.subscribe();
        loop {
            // Neither can fail, since the sender is here.
            let _ = stage.wait_for(|stage| stage.is_gone).await;
            let another = stage.wait_for(|stage| !stage.is_gone);
            if timeout(NOTICE, another).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_over_once_the_last_socket_has_been_gone_for_a_while() {
        let life = Life::default();
        assert!(timeout(NOTICE * 9, life.over()).await.is_err());
        let first = life.begin();
        assert!(timeout(NOTICE * 9, life.over()).await.is_err());
        life.end(first);
        let since = Instant::now();
        life.over().await;
        assert_eq!(since.elapsed().as_secs(), NOTICE.as_secs());
        // Another one is asked for before that.
        let waiting = async {
            life.over().await;
            Instant::now()
        };
        let redialling = async {
            sleep(NOTICE / 2).await;
            let second = life.begin();
            life.end(first);
            sleep(NOTICE * 9).await;
            life.end(second);
            Instant::now()
        };
        let (over, ended) = tokio::join!(waiting, redialling);
        assert_eq!((over - ended).as_secs(), NOTICE.as_secs());
    }
}
