//! Every change of the catalog, one at a time and numbered, and whether it is known what came of
//! them.
//!
//! A change that failed may be there nevertheless: a sync that fails leaves what was written, and
//! opening the catalog again may find it whole. In this process it is not to be seen. So nothing
//! may be acknowledged on top of it until another change succeeded, which writes over what the
//! failed one left: then what is read is what will be found.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use uuid::Uuid;

use crate::Error;
use crate::catalog::Catalog;
use crate::format::{CommitRecord, Content};
use crate::manifest::Manifest;

/// The catalog, as what changes it sees it.
#[derive(Debug)]
pub(crate) struct Ledger {
    catalog: Arc<dyn Catalog>,
    /// Which catalog it is.
    id: Uuid,
    manifest: Arc<Manifest>,
    /// The last change that is there.
    last: Arc<AtomicU64>,
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
    pub(crate) fn new(
        catalog: Arc<dyn Catalog>,
        id: Uuid,
        manifest: Arc<Manifest>,
        last: Arc<AtomicU64>,
    ) -> Self {
        Self {
            catalog,
            id,
            manifest,
            next: Mutex::new(last.load(Ordering::Acquire) + 1),
            last,
            is_unknown: AtomicBool::new(true),
            failures: AtomicU64::new(0),
        }
    }

    /// How many changes failed so far: what was read before the last of them has to be read again.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// Makes a change, once it is known what came of those before.
    ///
    /// The manifest learns of it before it is acknowledged.
    pub(crate) fn change<R>(
        &self,
        change: impl FnOnce(&dyn Catalog) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut next = self.next.lock();
        self.settle_locked(&mut next, |_| {})?;
        let mut is_told = true;
        let done = self.attempt(&mut next, |catalog, number| {
            let done = change(catalog)?;
            is_told = self
                .manifest
                .write(|content| content.change = number)
                .is_ok();
            Ok(done)
        });
        if !is_told {
            // It is there. But before anything else is acknowledged, the manifest has to be right.
            self.is_unknown.store(true, Ordering::Release);
        }
        done
    }

    /// Makes a change of which the segments have a record, so that the manifest need not: `change`
    /// is given an empty one with its number.
    pub(crate) fn commit<R>(
        &self,
        change: impl FnOnce(&dyn Catalog, CommitRecord) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut next = self.next.lock();
        self.settle_locked(&mut next, |_| {})?;
        self.attempt(&mut next, |catalog, number| {
            let record = CommitRecord {
                id: self.id,
                previous: self.last.load(Ordering::Acquire),
                change: number,
                commits: Vec::new(),
                segments: BTreeMap::new(),
            };
            change(catalog, record)
        })
    }

    /// Returns once it is known what came of every change.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        if self.is_unknown.load(Ordering::Acquire) {
            self.settle_with(|_| {})
        } else {
            Ok(())
        }
    }

    /// The same, with what else the manifest is to say.
    pub(crate) fn settle_with(&self, say: impl FnOnce(&mut Content)) -> Result<(), Error> {
        let mut next = self.next.lock();
        if self.is_unknown.load(Ordering::Acquire) {
            self.settle_locked(&mut next, say)
        } else {
            self.manifest.write(say)
        }
    }

    fn settle_locked(&self, next: &mut u64, say: impl FnOnce(&mut Content)) -> Result<(), Error> {
        if !self.is_unknown.load(Ordering::Acquire) {
            return Ok(());
        }
        let settled = self.attempt(next, |catalog, number| {
            if self.manifest.content().sequence == 0 {
                // Once the catalog was changed, there has to be one.
                self.manifest.write(|_| {})?;
            }
            catalog.settle()?;
            self.manifest.write(|content| {
                content.change = number;
                say(content);
            })
        });
        settled.map_err(|error| Error::CatalogUnknown {
            cause: error.to_string(),
        })?;
        self.is_unknown.store(false, Ordering::Release);
        Ok(())
    }

    fn attempt<R>(
        &self,
        next: &mut u64,
        change: impl FnOnce(&dyn Catalog, u64) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let number = *next;
        self.catalog.number(number);
        *next += 1;
        let mut doubt = Doubt {
            ledger: self,
            is_over: false,
        };
        let result = change(&*self.catalog, number);
        doubt.is_over = match &result {
            Ok(_) => {
                self.last.store(number, Ordering::Release);
                true
            }
            Err(error) => !error.is_failure(),
        };
        result
    }
}
