//! How many calls work at the same time, and how many may wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pingthings_types::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::status::Refusal;

/// Admits calls to the engine.
#[derive(Debug)]
pub(crate) struct Gate {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
}

/// The right to work in the engine, until it is dropped.
pub(crate) type Turn = OwnedSemaphorePermit;

impl Gate {
    pub(crate) fn new(running: usize, most_waiting: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(running.min(Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            most_waiting,
        }
    }

    /// Waits for a turn, unless too many wait already: then status 426.
    pub(crate) async fn enter(&self) -> Result<Turn, Refusal> {
        if let Ok(turn) = Arc::clone(&self.running).try_acquire_owned() {
            return Ok(turn);
        }
        let _place = self.queue()?;
        self.turn().await
    }

    /// Waits for a turn in a call that was admitted before.
    pub(crate) async fn reenter(&self) -> Result<Turn, Refusal> {
        self.turn().await
    }

    async fn turn(&self) -> Result<Turn, Refusal> {
        Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|_| Refusal::new(Code::GenericError, "the server is stopping"))
    }

    fn queue(&self) -> Result<Place<'_>, Refusal> {
        let place = Place(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) < self.most_waiting {
            Ok(place)
        } else {
            Err(Refusal::new(
                Code::ResourceDepleted,
                format!(
                    "the server is overloaded, {} calls wait already: try again later",
                    self.most_waiting
                ),
            ))
        }
    }
}

/// A place in the queue, given back when the call gets its turn or its client goes away.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, future};

    #[tokio::test]
    async fn calls_beyond_the_queue_are_refused_and_places_come_back() {
        let gate = Gate::new(1, 1);
        let turn = gate.enter().await.unwrap();

        let mut waiting = Box::pin(gate.enter());
        assert!(waiting.as_mut().now_or_never().is_none());
        let refusal = gate.enter().await.unwrap_err();
        assert_eq!(refusal.code, Code::ResourceDepleted);

        // A client that goes away makes room for the next one.
        drop(waiting);
        let waiting = gate.enter();
        let (turn, ()) = future::join(waiting, async { drop(turn) }).await;
        assert!(turn.is_ok());
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_call_that_was_admitted_is_never_refused() {
        let gate = Gate::new(1, 0);
        let turn = gate.enter().await.unwrap();
        assert!(gate.enter().await.is_err());
        let (again, ()) = future::join(gate.reenter(), async { drop(turn) }).await;
        assert!(again.is_ok());
    }
}
