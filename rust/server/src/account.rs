//! Accounts: what the server uses for one API key, or for one connection without a key.
//!
//! One account gets at most three quarters of the permits, of the open answers and of the memory.
//! The rest stays available to the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::auth::KeyHash;
use crate::config::Limits;
use crate::rate_limiter::RateLimiter;

/// The maximum number of requests of one account that are decompressed at the same time.
const MAX_DECOMPRESSIONS: usize = 2;

/// The share of one account in a [`PermitPool`](crate::permits::PermitPool).
#[derive(Debug)]
pub(crate) struct AccountPermits {
    pub(crate) running: Arc<Semaphore>,
    /// The number of calls that wait for a permit.
    pub(crate) waiting: AtomicUsize,
}

impl AccountPermits {
    fn new(all: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(share(all))),
            waiting: AtomicUsize::new(0),
        }
    }
}

/// What one account may use, and uses.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) calls: AccountPermits,
    pub(crate) statements: AccountPermits,
    pub(crate) answers: Arc<Semaphore>,
    /// Permits to decompress requests.
    pub(crate) decompressions: Semaphore,
    /// Limits the rate of cancelled calls.
    pub(crate) wasted_calls: RateLimiter,
    /// Bytes in use, without those that are about to be released. It changes only under the lock of
    /// the budget.
    held: AtomicUsize,
}

impl Account {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            calls: AccountPermits::new(limits.concurrent_calls),
            statements: AccountPermits::new(limits.sql_statements),
            answers: Arc::new(Semaphore::new(share(limits.open_answers))),
            decompressions: Semaphore::new(MAX_DECOMPRESSIONS),
            wasted_calls: RateLimiter::for_account(),
            held: AtomicUsize::new(0),
        })
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn reserve(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The accounts of all keys that were used.
#[derive(Debug)]
pub(crate) struct Accounts {
    limits: Limits,
    by_key: Mutex<HashMap<KeyHash, Arc<Account>>>,
}

impl Accounts {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_key: Mutex::default(),
        }
    }

    /// The account of a valid key. Only valid keys get one, so their number is bounded.
    pub(crate) fn with_key(&self, key: KeyHash) -> Arc<Account> {
        let mut by_key = self.by_key.lock();
        let account = by_key.entry(key);
        Arc::clone(account.or_insert_with(|| Account::new(&self.limits)))
    }
}

/// The share of one account in a total: three quarters, and at least one of one.
pub(crate) fn share(total: usize) -> usize {
    let total = total.min(Semaphore::MAX_PERMITS);
    total - total / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_three_quarters_and_never_zero() {
        let shares = [0, 1, 2, 3, 4, 128, 1_024].map(share);
        assert_eq!(shares, [0, 1, 2, 3, 3, 96, 768]);
        assert!(share(usize::MAX) < Semaphore::MAX_PERMITS);
    }
}
