//! Group commit: many threads share one durable write.

use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};

use crate::Error;

type Outcome<R> = Arc<OnceLock<Result<R, Error>>>;

#[derive(Debug)]
struct State<T, R> {
    /// The items of the next write.
    items: Vec<T>,
    /// Receives the outcome of the next write.
    outcome: Outcome<R>,
    /// Whether a leader is writing now.
    has_leader: bool,
}

/// Collects items while a write is in progress. When it ends, one waiting thread becomes the leader
/// and writes all of them.
#[derive(Debug)]
pub(crate) struct Group<T, R> {
    state: Mutex<State<T, R>>,
    done: Condvar,
}

impl<T, R> Default for Group<T, R> {
    fn default() -> Self {
        let state = State {
            items: Vec::new(),
            outcome: Arc::default(),
            has_leader: false,
        };
        Self {
            state: Mutex::new(state),
            done: Condvar::new(),
        }
    }
}

/// Held by the leader of a write. Dropping it delivers an outcome to everyone who waits, even after
/// a panic, and lets another leader start.
struct Leader<'a, T, R> {
    group: &'a Group<T, R>,
    outcome: Outcome<R>,
}

impl<T, R> Drop for Leader<'_, T, R> {
    fn drop(&mut self) {
        // There is no outcome yet only if the write panicked.
        self.outcome.get_or_init(|| Err(Error::Abandoned));
        self.group.state.lock().has_leader = false;
        self.group.done.notify_all();
    }
}

impl<T, R: Clone> Group<T, R> {
    /// Submits `item`, and returns once `write` has written it together with the other waiting
    /// items.
    pub(crate) fn submit(
        &self,
        item: T,
        write: impl FnOnce(Vec<T>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut state = self.state.lock();
        state.items.push(item);
        let mine = Arc::clone(&state.outcome);
        loop {
            if let Some(outcome) = mine.get() {
                return outcome.clone();
            }
            if !state.has_leader {
                break;
            }
            self.done.wait(&mut state);
        }
        // There is no leader and `mine` has no outcome, so the waiting items include this one.
        state.has_leader = true;
        let items = std::mem::take(&mut state.items);
        let outcome = std::mem::take(&mut state.outcome);
        drop(state);
        let leader = Leader {
            group: self,
            outcome,
        };
        let result = write(items);
        leader.outcome.get_or_init(|| result.clone());
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn every_item_is_written_once_and_answered() {
        let group = Group::<usize, ()>::default();
        let (writes, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for thread in 0..8 {
                let (group, writes, sum) = (&group, &writes, &sum);
                scope.spawn(move || {
                    for i in 0..200 {
                        let result = group.submit(thread * 200 + i, |items| {
                            writes.fetch_add(1, Ordering::SeqCst);
                            sum.fetch_add(items.iter().sum(), Ordering::SeqCst);
                            Ok(())
                        });
                        assert!(result.is_ok());
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 1_600 * 1_599 / 2);
        assert!(writes.into_inner() > 0);
    }

    #[test]
    fn items_submitted_during_a_write_are_written_together() {
        const OTHERS: usize = 4;
        let group = Group::<usize, usize>::default();
        thread::scope(|scope| {
            let group = &group;
            let first = scope.spawn(move || {
                group.submit(0, |items| {
                    while group.state.lock().items.len() < OTHERS {
                        thread::yield_now();
                    }
                    Ok(items.len())
                })
            });
            while !group.state.lock().has_leader {
                thread::yield_now();
            }
            let others: Vec<_> = (0..OTHERS)
                .map(|item| scope.spawn(move || group.submit(item, |items| Ok(items.len()))))
                .collect();
            assert_eq!(first.join().unwrap().unwrap(), 1);
            for other in others {
                assert_eq!(other.join().unwrap().unwrap(), OTHERS);
            }
        });
    }

    #[test]
    fn a_panic_reaches_those_who_wait_and_nobody_else() {
        let group = Group::<u8, u8>::default();
        thread::scope(|scope| {
            let group = &group;
            let (sender, receiver) = std::sync::mpsc::channel();
            let leader = scope.spawn(move || {
                group.submit(1, |_| {
                    sender.send(()).unwrap();
                    while group.state.lock().items.is_empty() {
                        thread::yield_now();
                    }
                    panic!("a bug");
                })
            });
            receiver.recv().unwrap();
            // It becomes the leader once the first write has ended.
            let next = scope.spawn(move || group.submit(2, |items| Ok(items[0])));
            assert!(leader.join().is_err());
            assert_eq!(next.join().unwrap().unwrap(), 2);
        });
        assert_eq!(group.submit(3, |items| Ok(items[0])).unwrap(), 3);
    }

    #[test]
    fn a_failure_reaches_its_items_only() {
        let group = Group::<u8, u8>::default();
        assert!(group.submit(1, |_| Err(Error::Closed)).is_err());
        assert_eq!(group.submit(2, |items| Ok(items[0])).unwrap(), 2);
    }
}
