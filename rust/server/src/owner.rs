//! Who accounts for what the server holds and does: a key, or a connection where no key was sent.
//!
//! Nobody has all of anything: three quarters of the turns, of the open answers and of the memory
//! are the most that one owner gets, so that there is always something for the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::auth::KeyHash;
use crate::config::Limits;
use crate::patience::Patience;

/// Requests of one owner that are unpacked side by side.
const UNPACKING: usize = 2;

/// What one owner has of the turns of a [`Gate`](crate::gate::Gate).
#[derive(Debug)]
pub(crate) struct Turns {
    pub(crate) running: Arc<Semaphore>,
    /// Calls that wait for a turn.
    pub(crate) waiting: AtomicUsize,
}

impl Turns {
    fn of(most: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(share(most))),
            waiting: AtomicUsize::new(0),
        }
    }
}

/// What one owner has of everything.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) calls: Turns,
    pub(crate) statements: Turns,
    pub(crate) answers: Arc<Semaphore>,
    /// Requests that are being unpacked.
    pub(crate) unpacking: Semaphore,
    /// What is left of the patience with calls that are given up.
    pub(crate) patience: Patience,
    /// Bytes that are held and not about to be given back; changes under the lock of the budget.
    held: AtomicUsize,
}

impl Owner {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            calls: Turns::of(limits.concurrent_calls),
            statements: Turns::of(limits.sql_statements),
            answers: Arc::new(Semaphore::new(share(limits.open_answers))),
            unpacking: Semaphore::new(UNPACKING),
            patience: Patience::with_owner(),
            held: AtomicUsize::new(0),
        })
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn give(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The owners that have a key.
#[derive(Debug)]
pub(crate) struct Owners {
    limits: Limits,
    by_key: Mutex<HashMap<KeyHash, Arc<Owner>>>,
}

impl Owners {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_key: Mutex::default(),
        }
    }

    /// The owner with a key that is good: there are no more than there were keys.
    pub(crate) fn with_key(&self, key: KeyHash) -> Arc<Owner> {
        let mut by_key = self.by_key.lock();
        let owner = by_key.entry(key);
        Arc::clone(owner.or_insert_with(|| Owner::new(&self.limits)))
    }
}

/// The most that one owner gets of so many; at least one, if there is one.
pub(crate) fn share(of: usize) -> usize {
    let most = of.min(Semaphore::MAX_PERMITS);
    most - most / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_three_quarters_and_never_nothing() {
        let shares = [0, 1, 2, 3, 4, 128, 1_024].map(share);
        assert_eq!(shares, [0, 1, 2, 3, 3, 96, 768]);
        assert!(share(usize::MAX) < Semaphore::MAX_PERMITS);
    }
}
