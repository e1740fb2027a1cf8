//! Ends the wait for an answer when the client is closed or the socket is lost.
//!
//! When a connection ends, the transport nearly always reports that to its calls. But a call that
//! is handed to the connection at that moment can stay in a queue that nothing reads any more, and
//! would wait for ever: a tokio channel drops its content when its receiver is dropped, but not an
//! item that is being inserted at that moment. So a call that waits for an answer also watches the
//! state of the socket.
//!
//! All calls of a client wait for the same [`Interrupt`] and then check their own connection,
//! because each additional future would make every call slower.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// How long the transport may take to report the end of a connection to its calls.
const GRACE_PERIOD: Duration = Duration::from_secs(2);

/// Wakes all calls of a client that wait for an answer.
#[derive(Debug, Default)]
pub(crate) struct Interrupt {
    notify: Notify,
    is_closed: AtomicBool,
}

impl Interrupt {
    /// Wakes all calls because the client is closed.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Waits until the client is closed.
    pub(crate) async fn wait_until_closed(&self) {
        loop {
            // Created before the check below, so that no notification in between is missed.
            let notified = self.notify.notified();
            if self.is_closed() {
                return;
            }
            notified.await;
        }
    }
}

/// Whether a connection has a socket. A connection may have several sockets, one after another.
#[derive(Debug)]
pub(crate) struct SocketState {
    /// Twice the number of sockets that were requested, plus one if the last one is closed.
    state: AtomicU64,
    interrupt: Arc<Interrupt>,
}

impl SocketState {
    pub(crate) const fn new(interrupt: Arc<Interrupt>) -> Self {
        Self {
            state: AtomicU64::new(0),
            interrupt,
        }
    }

    /// Records that a socket is requested, and returns its number.
    pub(crate) fn record_request(&self) -> u64 {
        let next = |state: u64| Some((state | 1) + 1);
        let before = self
            .state
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        before.unwrap_or_else(|state| state) / 2 + 1
    }

    /// Records that the socket with this number is closed.
    pub(crate) fn record_close(&self, number: u64) {
        let (open, closed) = (number * 2, number * 2 + 1);
        let ended = self
            .state
            .compare_exchange(open, closed, Ordering::SeqCst, Ordering::SeqCst);
        if ended.is_ok() {
            self.interrupt.notify.notify_waiters();
        }
    }

    /// Waits until the client is closed, or there has been no socket for so long that the transport
    /// must have forgotten the waiting call.
    pub(crate) async fn wait_until_lost(&self) {
        loop {
            // Created before the checks below, so that no notification in between is missed.
            let notified = self.interrupt.notify.notified();
            let state = self.state.load(Ordering::SeqCst);
            if self.interrupt.is_closed() {
                return;
            }
            if state & 1 == 0 {
                notified.await;
                continue;
            }
            let closed = self.interrupt.wait_until_closed();
            if timeout(GRACE_PERIOD, closed).await.is_ok()
                || self.state.load(Ordering::SeqCst) == state
            {
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
    async fn a_connection_is_lost_when_its_last_socket_has_been_closed_for_a_while() {
        let socket_state = SocketState::new(Arc::default());
        assert!(
            timeout(GRACE_PERIOD * 9, socket_state.wait_until_lost())
                .await
                .is_err()
        );
        let first = socket_state.record_request();
        assert!(
            timeout(GRACE_PERIOD * 9, socket_state.wait_until_lost())
                .await
                .is_err()
        );
        socket_state.record_close(first);
        let since = Instant::now();
        socket_state.wait_until_lost().await;
        assert_eq!(since.elapsed().as_secs(), GRACE_PERIOD.as_secs());
        // Another socket is requested before that.
        let waiting = async {
            socket_state.wait_until_lost().await;
            Instant::now()
        };
        let redialling = async {
            sleep(GRACE_PERIOD / 2).await;
            let second = socket_state.record_request();
            socket_state.record_close(first);
            sleep(GRACE_PERIOD * 9).await;
            socket_state.record_close(second);
            Instant::now()
        };
        let (over, ended) = tokio::join!(waiting, redialling);
        assert_eq!((over - ended).as_secs(), GRACE_PERIOD.as_secs());
    }
}
