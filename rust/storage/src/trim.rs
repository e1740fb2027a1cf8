//! Applying retention: points older than their retention are deleted, in an ordinary new version.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use pingthings_types::{MAX_TIME, MIN_TIME};
use uuid::Uuid;

use crate::error::Error;
use crate::live::View;
use crate::retention::TrimPrecision;
use crate::snapshot::Snapshot;
use crate::store::Store;

/// The retention clock catches up this many times as fast as time passes. After the wall clock
/// jumps, data with a retention of a day survive for hours; after a month without a server,
/// retention is up to date within days.
const PACE: i64 = 4;

/// How far one explicitly requested run may advance the retention clock in any case.
const STEP_NS: i64 = 2 * 3_600 * 1_000_000_000;

/// The stored retention clock is updated when it has advanced by this much.
const STORED_STEP_NS: i64 = 60 * 1_000_000_000;

impl Store {
    /// Advances the retention clock and returns it: the time of the wall clock, unless that
    /// advanced much further than time has passed. A wall clock that jumps ahead by mistake must
    /// not delete all points at once.
    fn advance(&self, precision: TrimPrecision) -> Result<i64, Error> {
        let now = self.clock.now_ns();
        let mut last = self.pace.last.lock();
        let passed = i64::try_from(last.elapsed().as_nanos()).unwrap_or(i64::MAX);
        *last = Instant::now();
        let step = match precision {
            TrimPrecision::Exactly => STEP_NS,
            TrimPrecision::Coarsely => 0,
        };
        let seen = self.catalog.retention_clock()?.unwrap_or(now);
        let limit = seen.saturating_add(step.saturating_add(passed.saturating_mul(PACE)));
        let until = now.min(limit);
        self.pace.behind_ns.store(now - until, Ordering::Relaxed);
        if until >= seen.saturating_add(STORED_STEP_NS) || until < now && until > seen {
            self.catalog_writer
                .change(|catalog| catalog.set_retention_clock(until))?;
        }
        drop(last);
        Ok(until)
    }

    /// Stores the start of the retention clock the first time a directory is opened.
    pub(crate) fn begin_retention(&self) -> Result<(), Error> {
        if self.catalog.retention_clock()?.is_some() {
            return Ok(());
        }
        let now = self.clock.now_ns();
        self.catalog_writer
            .change(|catalog| catalog.set_retention_clock(now))
    }

    /// Deletes points that are older than their retention, and forgets versions that were
    /// superseded as long ago.
    pub(crate) fn trim(&self, precision: TrimPrecision) -> Result<(), Error> {
        let now = self.advance(precision)?;
        for (uuid, keep_ns) in self.catalog.streams_with_retention()? {
            let end = now.saturating_sub(keep_ns);
            let due = end.saturating_sub(precision.slack(keep_ns));
            let trimmed = self.trim_stream(uuid, due.min(MAX_TIME - 1), end.min(MAX_TIME - 1));
            // The stream may have been obliterated after it was listed.
            if !matches!(trimmed, Err(Error::NoSuchStream { .. })) {
                trimmed?;
            }
            self.forget_versions(uuid, due)?;
        }
        Ok(())
    }

    fn trim_stream(&self, uuid: Uuid, due: i64, end: i64) -> Result<(), Error> {
        let view: View = self.stream(uuid)?.view();
        let snapshot = Snapshot::of_view(Arc::clone(&self.segments), &view);
        let first = snapshot.nearest(MIN_TIME, false)?;
        if first.is_some_and(|point| point.time < due) {
            self.delete(uuid, MIN_TIME, end)?;
        }
        Ok(())
    }
}
