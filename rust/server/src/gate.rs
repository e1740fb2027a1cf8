//! How many calls work at the same time, and how many may wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pingthings_types::Code;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::owner::{Turns, share};
use crate::status::Refusal;

/// Admits calls to the engine.
#[derive(Debug)]
pub(crate) struct Gate {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
}

/// The right to work in the engine, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_owner: OwnedSemaphorePermit,
}

impl Gate {
    pub(crate) fn new(running: usize, most_waiting: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(running.min(Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            most_waiting,
        }
    }

    /// Waits for a turn, unless too many wait already: then status 426.
    pub(crate) async fn enter(&self, own: &Turns) -> Result<Turn, Refusal> {
        if let Ok(of_owner) = Arc::clone(&own.running).try_acquire_owned()
            && let Ok(of_all) = Arc::clone(&self.running).try_acquire_owned()
        {
            return Ok(Turn {
                _of_all: of_all,
                _of_owner: of_owner,
            });
        }
        let _place = queue(&self.waiting, self.most_waiting, "calls")?;
        let most = share(self.most_waiting);
        let _own_place = queue(&own.waiting, most, "calls of yours")?;
        self.reenter(own).await
    }

    /// Waits for a turn in a call that was admitted before.
    pub(crate) async fn reenter(&self, own: &Turns) -> Result<Turn, Refusal> {
        let stopping = |_: AcquireError| Refusal::new(Code::GenericError, "the server is stopping");
        // Whoever has all of its own turns does not wait in front of others.
        let of_owner = Arc::clone(&own.running).acquire_owned().await;
        let of_owner = of_owner.map_err(stopping)?;
        let of_all = Arc::clone(&self.running).acquire_owned().await;
        Ok(Turn {
            _of_all: of_all.map_err(stopping)?,
            _of_owner: of_owner,
        })
    }
}

fn queue<'a>(waiting: &'a AtomicUsize, most: usize, who: &str) -> Result<Place<'a>, Refusal> {
    let place = Place(waiting);
    if waiting.fetch_add(1, Ordering::Relaxed) < most {
        Ok(place)
    } else {
        Err(Refusal::new(
            Code::ResourceDepleted,
            format!("the server is overloaded, {most} {who} wait already: try again later"),
        ))
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
    use futures_util::{FutureExt, future};

    use super::*;
    use crate::config::Limits;
    use crate::owner::Owner;

    fn owner(turns: usize) -> Arc<Owner> {
        Owner::new(&Limits {
            concurrent_calls: turns,
            ..Limits::default()
        })
    }

    #[tokio::test]
    async fn calls_beyond_the_queue_are_refused_and_places_come_back() {
        let (gate, owner) = (Gate::new(1, 1), owner(8));
        let turn = gate.enter(&owner.calls).await.unwrap();

        let mut waiting = Box::pin(gate.enter(&owner.calls));
        assert!(waiting.as_mut().now_or_never().is_none());
        let refusal = gate.enter(&owner.calls).await.unwrap_err();
        assert_eq!(refusal.code, Code::ResourceDepleted);

        // A client that goes away makes room for the next one.
        drop(waiting);
        let waiting = gate.enter(&owner.calls);
        let (turn, ()) = future::join(waiting, async { drop(turn) }).await;
        assert!(turn.is_ok());
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(owner.calls.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_call_that_was_admitted_is_never_refused() {
        let (gate, owner) = (Gate::new(1, 0), owner(8));
        let turn = gate.enter(&owner.calls).await.unwrap();
        assert!(gate.enter(&owner.calls).await.is_err());
        let (again, ()) = future::join(gate.reenter(&owner.calls), async { drop(turn) }).await;
        assert!(again.is_ok());
    }

    #[tokio::test]
    async fn one_owner_takes_neither_all_turns_nor_all_places_to_wait() {
        let (gate, greedy, other) = (Gate::new(4, 4), owner(4), owner(4));
        let mut turns = Vec::new();
        let mut waiting = Vec::new();
        for _ in 0..3 {
            turns.push(gate.enter(&greedy.calls).await.unwrap());
        }
        for _ in 0..3 {
            waiting.push(Box::pin(gate.enter(&greedy.calls)));
            assert!(waiting.last_mut().unwrap().now_or_never().is_none());
        }
        let refusal = gate.enter(&greedy.calls).await.unwrap_err();
        assert!(refusal.message.contains("of yours"), "{}", refusal.message);
        // The other has a turn at once, and then a place to wait.
        let turn = gate.enter(&other.calls).now_or_never().unwrap().unwrap();
        let mut next = Box::pin(gate.enter(&other.calls));
        assert!(next.as_mut().now_or_never().is_none());
        drop(turn);
        assert!(next.await.is_ok());
    }
}
