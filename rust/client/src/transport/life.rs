//! What ends the waiting for an answer besides the answer: the end of the client or of a socket.
//!
//! When a connection ends, the transport tells the calls on it, nearly always. A call that is handed
//! over at that very moment can end in a queue that nobody reads any more, and that stays as long as
//! the call waits: a channel of tokio drops what is in it when its reader goes, but not what is just
//! being put there. So a call that waits for an answer also watches whether there is a socket.
//!
//! All calls of a client wait for the same alarm, since each watch more is work for every call, and
//! look for themselves whether it is theirs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// How long the transport has to tell a call that its connection is gone.
const NOTICE: Duration = Duration::from_secs(2);

/// Wakes whoever waits for an answer of a client.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    bell: Notify,
    is_closed: AtomicBool,
}

impl Alarm {
    /// The client is closed.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.bell.notify_waiters();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Waits until the client is closed.
    pub(crate) async fn closed(&self) {
        loop {
            // It hears what rings from now on, and so nothing that is looked at below is missed.
            let rung = self.bell.notified();
            if self.is_closed() {
                return;
            }
            rung.await;
        }
    }
}

/// The sockets of a connection, one after the other.
#[derive(Debug)]
pub(crate) struct Life {
    /// Twice the number of times a socket was asked for, and one more if the last has come and gone.
    stage: AtomicU64,
    alarm: Arc<Alarm>,
}

impl Life {
    pub(crate) const fn new(alarm: Arc<Alarm>) -> Self {
        Self {
            stage: AtomicU64::new(0),
            alarm,
        }
    }

    /// A socket is asked for; its number.
    pub(crate) fn begin(&self) -> u64 {
        let next = |stage: u64| Some((stage | 1) + 1);
        let before = self
            .stage
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        before.unwrap_or_else(|stage| stage) / 2 + 1
    }

    /// The socket of this number is gone.
    pub(crate) fn end(&self, number: u64) {
        let (is, gone) = (number * 2, number * 2 + 1);
        let ended = self
            .stage
            .compare_exchange(is, gone, Ordering::SeqCst, Ordering::SeqCst);
        if ended.is_ok() {
            self.alarm.bell.notify_waiters();
        }
    }

    /// Waits until the client is closed, or there has been no socket for so long that whoever still
    /// waits was forgotten.
    pub(crate) async fn over(&self) {
        loop {
            // It hears what rings from now on, and so nothing that is looked at below is missed.
            let rung = self.alarm.bell.notified();
            let stage = self.stage.load(Ordering::SeqCst);
            if self.alarm.is_closed() {
                return;
            }
            if stage & 1 == 0 {
                rung.await;
                continue;
            }
            let closed = self.alarm.closed();
            if timeout(NOTICE, closed).await.is_ok() || self.stage.load(Ordering::SeqCst) == stage {
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
        let life = Life::new(Arc::default());
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
