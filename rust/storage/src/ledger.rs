//! Every change of the catalog, one at a time and numbered, and whether it is known what came of
//! them.
//!
//! A change that failed may be there nevertheless: a sync that fails leaves what was written, and
//! opening the catalog again may find it whole. In this process it is not to be seen. So nothing
//! may be acknowledged on top of it until another change succeeded, which writes over what the
//! failed one left: then what is read is what will be found.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::Error;
use crate::catalog::Catalog;

/// The catalog, as what changes it sees it.
#[derive(Debug)]
pub(crate) struct Ledger {
    catalog: Arc<dyn Catalog>,
    /// Number of the next change; locked while one is made.
    next: Mutex<u64>,
    /// Whether a change failed that may be there.
    is_unknown: AtomicBool,
    /// How many changes failed so far.
    failures: AtomicU64,
}

/// Marks the catalog as unknown unless the change succeeded, also when it panics.
struct Doubt<'a> {
    ledger: &'a Ledger,
    is_over: bool,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            // Whoever sees that it is unknown no more sees the failure counted.
            self.ledger.failures.fetch_add(1, Ordering::AcqRel);
            self.ledger.is_unknown.store(true, Ordering::Release);
        }
    }
}

impl Ledger {
    /// The changes after `last`. Whether that one is on the disk is not known yet: this may be the
    /// process after the one in which it failed.
    pub(crate) fn new(catalog: Arc<dyn Catalog>, last: u64) -> Self {
        Self {
            catalog,
            next: Mutex::new(last + 1),
            is_unknown: AtomicBool::new(true),
            failures: AtomicU64::new(0),
        }
    }

    /// How many changes failed so far: what was read before the last of them has to be read again.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// Makes a change, once it is known what came of those before.
    pub(crate) fn change<R>(
        &self,
        change: impl FnOnce(&dyn Catalog) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut next = self.next.lock();
        self.settle_locked(&mut next)?;
        self.attempt(&mut next, change)
    }

    /// Returns once it is known what came of every change.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        if self.is_unknown.load(Ordering::Acquire) {
            self.settle_locked(&mut self.next.lock())
        } else {
            Ok(())
        }
    }

    fn settle_locked(&self, next: &mut u64) -> Result<(), Error> {
        if !self.is_unknown.load(Ordering::Acquire) {
            return Ok(());
        }
        self.attempt(next, |catalog| catalog.settle())
            .map_err(|error| Error::CatalogUnknown {
                cause: error.to_string(),
            })?;
        self.is_unknown.store(false, Ordering::Release);
        Ok(())
    }

    fn attempt<R>(
        &self,
        next: &mut u64,
        change: impl FnOnce(&dyn Catalog) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.catalog.number(*next);
        *next += 1;
        let mut doubt = Doubt {
            ledger: self,
            is_over: false,
        };
        let result = change(&*self.catalog);
        doubt.is_over = match &result {
            Ok(_) => true,
            Err(error) => !error.is_failure(),
        };
        result
    }
}
