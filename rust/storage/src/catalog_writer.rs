//! Serialises and numbers the changes of the catalog, and tracks whether the outcome of each is
//! known.
//!
//! A failed change may be on the disk nevertheless: a sync that fails leaves the written bytes
//! behind, and opening the catalog again may find them intact, although this process cannot see
//! them. So the engine acknowledges nothing on top of a failed change until another change has
//! succeeded. That change overwrites the remains of the failed one, so what is read now is also
//! what the next open will find. Making it is called settling.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use uuid::Uuid;

use crate::Error;
use crate::catalog::Catalog;
use crate::format::{CommitRecord, ManifestContent};
use crate::manifest::Manifest;

/// Makes all changes of the catalog.
#[derive(Debug)]
pub(crate) struct CatalogWriter {
    catalog: Arc<dyn Catalog>,
    /// The id of the catalog.
    id: Uuid,
    manifest: Arc<Manifest>,
    /// Number of the last change that succeeded.
    last: Arc<AtomicU64>,
    /// Number of the next change; locked while one is made.
    next: Mutex<u64>,
    /// Whether the outcome of a failed change is unknown.
    is_unknown: AtomicBool,
    /// Number of changes that have failed.
    failures: AtomicU64,
}

/// Marks the outcome as unknown when dropped, unless the change succeeded or was refused; a panic
/// counts as a failure.
struct FailureGuard<'a> {
    catalog_writer: &'a CatalogWriter,
    is_disarmed: bool,
}

impl Drop for FailureGuard<'_> {
    fn drop(&mut self) {
        if !self.is_disarmed {
            // The order matters: a thread that sees the outcome settled must also see the failure
            // counted.
            self.catalog_writer.failures.fetch_add(1, Ordering::AcqRel);
            self.catalog_writer
                .is_unknown
                .store(true, Ordering::Release);
        }
    }
}

impl CatalogWriter {
    /// A writer whose next change comes after `last`. The outcome of that one is unknown at first:
    /// an earlier process may have ended because it failed.
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

    /// Number of changes that have failed. Data read from the catalog before the last failure have
    /// to be read again.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// Makes a change, after settling if an earlier change failed.
    ///
    /// The manifest records the change before it is acknowledged.
    pub(crate) fn change<R>(
        &self,
        change: impl FnOnce(&dyn Catalog) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut next = self.next.lock();
        self.settle_locked(&mut next, |_| {})?;
        let mut is_in_manifest = true;
        let done = self.attempt(&mut next, |catalog, number| {
            let done = change(catalog)?;
            is_in_manifest = self
                .manifest
                .write(|content| content.change = number)
                .is_ok();
            Ok(done)
        });
        if !is_in_manifest {
            // The change succeeded, but the manifest has to record it before anything else is
            // acknowledged.
            self.is_unknown.store(true, Ordering::Release);
        }
        done
    }

    /// Makes a change that the segments record, so the manifest need not. `change` receives an
    /// empty commit record with the number of the change.
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

    /// Settles if the outcome of an earlier change is unknown.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        if self.is_unknown.load(Ordering::Acquire) {
            self.settle_with(|_| {})
        } else {
            Ok(())
        }
    }

    /// The same, and writes `edit` to the manifest in any case.
    pub(crate) fn settle_with(&self, edit: impl FnOnce(&mut ManifestContent)) -> Result<(), Error> {
        let mut next = self.next.lock();
        if self.is_unknown.load(Ordering::Acquire) {
            self.settle_locked(&mut next, edit)
        } else {
            self.manifest.write(edit)
        }
    }

    fn settle_locked(
        &self,
        next: &mut u64,
        edit: impl FnOnce(&mut ManifestContent),
    ) -> Result<(), Error> {
        if !self.is_unknown.load(Ordering::Acquire) {
            return Ok(());
        }
        let settled = self.attempt(next, |catalog, number| {
            if self.manifest.content().sequence == 0 {
                // A catalog that has changed needs a manifest.
                self.manifest.write(|_| {})?;
            }
            catalog.settle()?;
            self.manifest.write(|content| {
                content.change = number;
                edit(content);
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
        self.catalog.set_change_number(number);
        *next += 1;
        let mut guard = FailureGuard {
            catalog_writer: self,
            is_disarmed: false,
        };
        let result = change(&*self.catalog, number);
        guard.is_disarmed = match &result {
            Ok(_) => {
                self.last.store(number, Ordering::Release);
                true
            }
            Err(error) => !error.is_failure(),
        };
        result
    }
}
