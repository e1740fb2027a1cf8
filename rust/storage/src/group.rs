//! Group commit: many threads wait for one durable write.

use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};

use crate::Error;

type Outcome<R> = Arc<OnceLock<Result<R, Error>>>;

#[derive(Debug)]
struct State<T, R> {
    /// What the next write will contain.
    items: Vec<T>,
    /// Where its outcome will be.
    outcome: Outcome<R>,
    /// Whether a thread is writing at this moment.
    is_led: bool,
}

/// Collects items while a write is under way; the first thread after it writes all of them.
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
            is_led: false,
        };
        Self {
            state: Mutex::new(state),
            done: Condvar::new(),
        }
    }
}

/// Leads a write: whatever becomes of it, those who wait for it hear, and the next one may lead.
struct Lead<'a, T, R> {
    group: &'a Group<T, R>,
    outcome: Outcome<R>,
}

impl<T, R> Drop for Lead<'_, T, R> {
    fn drop(&mut self) {
        // Nothing is there yet only if the write panicked.
        self.outcome.get_or_init(|| Err(Error::Abandoned));
        self.group.state.lock().is_led = false;
        self.group.done.notify_all();
    }
}

impl<T, R: Clone> Group<T, R> {
    /// Has `item` written by `write`, together with whatever else is waiting.
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
            if !state.is_led {
                break;
            }
            self.done.wait(&mut state);
        }
        // Nobody is writing and `mine` has no outcome, so the waiting items include this one.
        state.is_led = true;
        let items = std::mem::take(&mut state.items);
        let outcome = std::mem::take(&mut state.outcome);
        drop(state);
        let lead = Lead {
            group: self,
            outcome,
        };
        let result = write(items);
        lead.outcome.get_or_init(|| result.clone());
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
    fn items_that_come_while_one_is_written_are_written_together() {
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
            while !group.state.lock().is_led {
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
            let (tell, told) = std::sync::mpsc::channel();
            let leader = scope.spawn(move || {
                group.submit(1, |_| {
                    tell.send(()).unwrap();
                    while group.state.lock().items.is_empty() {
                        thread::yield_now();
                    }
                    panic!("a bug");
                })
            });
            told.recv().unwrap();
            // It leads the next write once the first one is over.
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
