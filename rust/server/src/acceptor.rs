//! Accepts connections and limits their number.
//!
//! A connection is unauthorized until a client makes a permitted call on it. If all slots are
//! taken, the oldest unauthorized connection is closed for a new one. A client that opens thousands
//! of connections without a key therefore closes only its own.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

use crate::account::{Account, share};
use crate::config::Limits;
use crate::connection::Connection;
use crate::metrics::Metrics;
use crate::peer::{Control, End};
use crate::tls::Identity;

/// The maximum number of connections that are open and not yet taken by the transport.
const MAX_READY: usize = 16;
/// How long to wait until an evicted connection has closed.
const EVICTION_TIMEOUT: Duration = Duration::from_secs(1);
/// How many calls a connection may have besides open answers. A client whose answers are all open
/// can still make a call and be refused.
const CALLS_BESIDES_ANSWERS: usize = 256;

/// Accepts connections on a listener.
#[derive(Clone)]
pub(crate) struct Acceptor {
    pub(crate) tls: Option<Arc<Identity>>,
    pub(crate) slots: Arc<ConnectionSlots>,
}

/// The slots for connections.
#[derive(Debug)]
pub(crate) struct ConnectionSlots {
    free: Arc<Semaphore>,
    limits: Limits,
    metrics: Arc<Metrics>,
    next: AtomicU64,
    /// Connections without a permitted call, the oldest first.
    unauthorized: Mutex<BTreeMap<u64, Arc<Control>>>,
}

/// The slot of one connection. Dropping it releases it.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    number: u64,
    pub(crate) control: Arc<Control>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.slots.authorize(self.number);
        let metrics = &self.slots.metrics;
        metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The maximum number of calls in flight on one connection.
pub(crate) fn calls_per_connection(limits: &Limits) -> usize {
    share(limits.open_answers).saturating_add(CALLS_BESIDES_ANSWERS)
}

impl ConnectionSlots {
    pub(crate) fn new(limits: Limits, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(
                limits.connections.min(Semaphore::MAX_PERMITS),
            )),
            limits,
            metrics,
            next: AtomicU64::new(0),
            unauthorized: Mutex::default(),
        })
    }

    /// Protects a connection from eviction.
    pub(crate) fn authorize(&self, number: u64) {
        // This may be the last reference. It must be dropped after the lock is released.
        let control = self.unauthorized.lock().remove(&number);
        drop(control);
    }

    pub(crate) fn count_calmed(&self) {
        self.metrics
            .connections_calmed
            .fetch_add(1, Ordering::Relaxed);
    }

    async fn take(self: &Arc<Self>) -> Option<ConnectionSlot> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.evict().await?,
        };
        self.metrics.connections.fetch_add(1, Ordering::Relaxed);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let control = Arc::new(Control::new(
            Account::new(&self.limits),
            Arc::downgrade(self),
            number,
        ));
        self.unauthorized
            .lock()
            .insert(number, Arc::clone(&control));
        Some(ConnectionSlot {
            slots: Arc::clone(self),
            number,
            control,
            _permit: permit,
        })
    }

    /// Closes the oldest unauthorized connection, if there is one, and takes its slot.
    async fn evict(&self) -> Option<OwnedSemaphorePermit> {
        let oldest = self.unauthorized.lock().pop_first();
        if let Some((_, oldest)) = oldest {
            self.metrics
                .connections_evicted
                .fetch_add(1, Ordering::Relaxed);
            oldest.end(End::Cut);
            let permit = Arc::clone(&self.free).acquire_owned();
            if let Ok(Ok(permit)) = timeout(EVICTION_TIMEOUT, permit).await {
                return Some(permit);
            }
        }
        self.metrics
            .connections_refused
            .fetch_add(1, Ordering::Relaxed);
        None
    }
}

impl Acceptor {
    /// The connections that arrive at `listener`.
    ///
    /// All of them are closed when `cut` becomes true or its sender is dropped. The listening task
    /// ends when the stream is dropped.
    pub(crate) fn open(
        self,
        listener: Arc<TcpListener>,
        cut: watch::Receiver<bool>,
    ) -> (ReceiverStream<io::Result<Connection>>, JoinHandle<()>) {
        let (ready, connections) = mpsc::channel(MAX_READY);
        let task = tokio::spawn(self.listen(listener, cut, ready));
        (ReceiverStream::new(connections), task)
    }

    async fn listen(
        self,
        listener: Arc<TcpListener>,
        cut: watch::Receiver<bool>,
        ready: mpsc::Sender<io::Result<Connection>>,
    ) {
        loop {
            let (io, addr) = tokio::select! {
                () = ready.closed() => return,
                accepted = accept(&listener) => accepted,
            };
            let Some(slot) = self.slots.take().await else {
                tracing::debug!(%addr, "too many connections");
                continue;
            };
            let (tls, cut) = (self.tls.clone(), cut.clone());
            let opened = async move { Connection::open(io, addr, tls, cut, slot).await };
            if self.tls.is_none() {
                // Opening a connection without TLS does not wait for the peer.
                if let Some(connection) = opened.await
                    && ready.send(Ok(connection)).await.is_err()
                {
                    return;
                }
                continue;
            }
            // A handshake waits for the peer, so it must not delay other connections.
            let ready = ready.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = ready.closed() => {}
                    opened = opened => if let Some(connection) = opened {
                        // This fails only if the server stops.
                        let _ = ready.send(Ok(connection)).await;
                    }
                }
            });
        }
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Most likely no file descriptor is free, and trying again at once would fail.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use futures_util::task::noop_waker;

    use super::*;

    fn slots(connections: usize) -> Arc<ConnectionSlots> {
        let limits = Limits {
            connections,
            ..Limits::default()
        };
        ConnectionSlots::new(limits, Arc::default())
    }

    fn end_of(slot: &ConnectionSlot) -> End {
        slot.control.poll_end(&Context::from_waker(&noop_waker()))
    }

    #[tokio::test]
    async fn the_oldest_unauthorized_connection_is_evicted() {
        let slots = slots(3);
        let caller = slots.take().await.unwrap();
        caller.control.authorize(&Account::new(&Limits::default()));
        let oldest = slots.take().await.unwrap();
        let younger = slots.take().await.unwrap();
        let (next, ()) = futures_util::future::join(slots.take(), async {
            while end_of(&oldest) == End::Open {
                tokio::task::yield_now().await;
            }
            drop(oldest);
        })
        .await;
        let next = next.unwrap();
        assert_eq!(end_of(&caller), End::Open);
        assert_eq!(end_of(&younger), End::Open);
        assert_eq!(slots.metrics.connections_evicted.load(Ordering::Relaxed), 1);

        // If all connections are authorized, a new one is refused.
        younger.control.authorize(&Account::new(&Limits::default()));
        next.control.authorize(&Account::new(&Limits::default()));
        assert!(slots.take().await.is_none());
        assert_eq!(slots.metrics.connections_refused.load(Ordering::Relaxed), 1);
        assert_eq!(slots.metrics.connections.load(Ordering::Relaxed), 3);
        drop((caller, younger, next));
        assert_eq!(slots.metrics.connections.load(Ordering::Relaxed), 0);
        assert!(slots.unauthorized.lock().is_empty());
    }
}
