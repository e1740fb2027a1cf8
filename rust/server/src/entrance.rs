//! Where connections come from, and how many there may be.
//!
//! When all places are taken, the connection that has been a stranger's for longest gives way: one
//! by which nobody made a call that he was allowed to make. So whoever opens thousands of them only
//! shuts out himself.

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

use crate::config::Limits;
use crate::connection::Connection;
use crate::metrics::Metrics;
use crate::owner::{Owner, share};
use crate::peer::{Control, End};
use crate::tls::Identity;

/// Connections that are ready and not taken by the transport yet.
const READY: usize = 16;
/// How long a connection that gives way may take to do so.
const GIVING_WAY: Duration = Duration::from_secs(1);
/// Calls that may be open on a connection beside the answers that may be: there is always room for
/// one more, if only to refuse it.
const CALLS_BESIDE_ANSWERS: usize = 256;

/// Where connections come from.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) tls: Option<Arc<Identity>>,
    pub(crate) places: Arc<Places>,
}

/// The connections there may be.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    limits: Limits,
    metrics: Arc<Metrics>,
    next: AtomicU64,
    /// Connections by which nobody called yet, the oldest first.
    strangers: Mutex<BTreeMap<u64, Arc<Control>>>,
}

/// One of the connections there may be.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    pub(crate) control: Arc<Control>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.recognize(self.number);
        let metrics = &self.places.metrics;
        metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Calls that a client may have open on one connection.
pub(crate) fn calls_per_connection(limits: &Limits) -> usize {
    share(limits.open_answers).saturating_add(CALLS_BESIDE_ANSWERS)
}

impl Places {
    pub(crate) fn new(limits: Limits, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(
                limits.connections.min(Semaphore::MAX_PERMITS),
            )),
            limits,
            metrics,
            next: AtomicU64::new(0),
            strangers: Mutex::default(),
        })
    }

    /// A connection is a stranger's no more.
    pub(crate) fn recognize(&self, number: u64) {
        // What is dropped in here may be the last that knows of it.
        let known = self.strangers.lock().remove(&number);
        drop(known);
    }

    pub(crate) fn count_calmed(&self) {
        self.metrics.calmed.fetch_add(1, Ordering::Relaxed);
    }

    async fn take(self: &Arc<Self>) -> Option<Place> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.make_room().await?,
        };
        self.metrics.connections.fetch_add(1, Ordering::Relaxed);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let control = Arc::new(Control::new(
            Owner::new(&self.limits),
            Arc::downgrade(self),
            number,
        ));
        self.strangers.lock().insert(number, Arc::clone(&control));
        Some(Place {
            places: Arc::clone(self),
            number,
            control,
            _permit: permit,
        })
    }

    /// Has the oldest stranger give way, if there is one.
    async fn make_room(&self) -> Option<OwnedSemaphorePermit> {
        let oldest = self.strangers.lock().pop_first();
        if let Some((_, oldest)) = oldest {
            self.metrics
                .connections_evicted
                .fetch_add(1, Ordering::Relaxed);
            oldest.end(End::Cut);
            let room = Arc::clone(&self.free).acquire_owned();
            if let Ok(Ok(permit)) = timeout(GIVING_WAY, room).await {
                return Some(permit);
            }
        }
        self.metrics
            .connections_refused
            .fetch_add(1, Ordering::Relaxed);
        None
    }
}

impl Entrance {
    /// The connections that arrive at `listener`; all are cut when `cut` turns true or its sender
    /// goes. Listening ends, and the task with it, when the stream is dropped.
    pub(crate) fn open(
        self,
        listener: Arc<TcpListener>,
        cut: watch::Receiver<bool>,
    ) -> (ReceiverStream<io::Result<Connection>>, JoinHandle<()>) {
        let (ready, connections) = mpsc::channel(READY);
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
            let Some(place) = self.places.take().await else {
                tracing::debug!(%addr, "too many connections");
                continue;
            };
            let (tls, cut) = (self.tls.clone(), cut.clone());
            let opened = async move { Connection::open(io, addr, tls, cut, place).await };
            if self.tls.is_none() {
                // Nothing to wait for but room.
                if let Some(connection) = opened.await
                    && ready.send(Ok(connection)).await.is_err()
                {
                    return;
                }
                continue;
            }
            // A handshake takes as long as its peer likes.
            let ready = ready.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = ready.closed() => {}
                    opened = opened => if let Some(connection) = opened {
                        // If this fails, the server stops.
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
                // Most likely no file descriptor is free; trying at once would only burn time.
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

    fn places(connections: usize) -> Arc<Places> {
        let limits = Limits {
            connections,
            ..Limits::default()
        };
        Places::new(limits, Arc::default())
    }

    fn end_of(place: &Place) -> End {
        place.control.poll_end(&Context::from_waker(&noop_waker()))
    }

    #[tokio::test]
    async fn the_oldest_stranger_gives_way_and_who_called_does_not() {
        let places = places(3);
        let caller = places.take().await.unwrap();
        caller.control.recognize(&Owner::new(&Limits::default()));
        let oldest = places.take().await.unwrap();
        let younger = places.take().await.unwrap();
        let (next, ()) = futures_util::future::join(places.take(), async {
            while end_of(&oldest) == End::Open {
                tokio::task::yield_now().await;
            }
            drop(oldest);
        })
        .await;
        let next = next.unwrap();
        assert_eq!(end_of(&caller), End::Open);
        assert_eq!(end_of(&younger), End::Open);
        assert_eq!(
            places.metrics.connections_evicted.load(Ordering::Relaxed),
            1
        );

        // With nobody but callers the newcomer is refused.
        younger.control.recognize(&Owner::new(&Limits::default()));
        next.control.recognize(&Owner::new(&Limits::default()));
        assert!(places.take().await.is_none());
        assert_eq!(
            places.metrics.connections_refused.load(Ordering::Relaxed),
            1
        );
        assert_eq!(places.metrics.connections.load(Ordering::Relaxed), 3);
        drop((caller, younger, next));
        assert_eq!(places.metrics.connections.load(Ordering::Relaxed), 0);
        assert!(places.strangers.lock().is_empty());
    }
}
