//! Retention at work: points older than they are kept go, as an ordinary new version.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use pingthings_types::{MAX_TIME, MIN_TIME};
use uuid::Uuid;

use crate::error::Error;
use crate::live::View;
use crate::retention::Trim;
use crate::snapshot::Snapshot;
use crate::store::Store;

/// How many times as fast as it passes retention may follow a clock that is far ahead: what is
/// kept for a day is there for hours after the clock jumped, and after a month without a server
/// retention is up to date within days.
const PACE: i64 = 4;

/// How far one sweep that was asked for may go in any case.
const STEP_NS: i64 = 2 * 3_600 * 1_000_000_000;

/// How far the time of retention is noted behind.
const NOTED_NS: i64 = 60 * 1_000_000_000;

impl Store {
    /// The time by which retention goes now: that of the clock, unless the clock went much further
    /// than time has passed. One that jumped ahead, by a mistake, must not cost all points at once.
    fn advance(&self, trim: Trim) -> Result<i64, Error> {
        let now = self.clock.now_ns();
        let mut last = self.pace.last.lock();
        let passed = i64::try_from(last.elapsed().as_nanos()).unwrap_or(i64::MAX);
        *last = Instant::now();
        let step = match trim {
            Trim::Exactly => STEP_NS,
            Trim::Coarsely => 0,
        };
        let seen = self.catalog.seen()?.unwrap_or(now);
        let limit = seen.saturating_add(step.saturating_add(passed.saturating_mul(PACE)));
        let until = now.min(limit);
        self.pace.behind_ns.store(now - until, Ordering::Relaxed);
        if until >= seen.saturating_add(NOTED_NS) || until < now && until > seen {
            self.ledger.change(|catalog| catalog.see(until))?;
        }
        drop(last);
        Ok(until)
    }

    /// Notes where retention begins, the first time a directory is opened.
    pub(crate) fn begin_retention(&self) -> Result<(), Error> {
        if self.catalog.seen()?.is_some() {
            return Ok(());
        }
        let now = self.clock.now_ns();
        self.ledger.change(|catalog| catalog.see(now))
    }

    /// Deletes what is older than it is kept, and forgets versions that were replaced as long ago.
    pub(crate) fn trim(&self, trim: Trim) -> Result<(), Error> {
        let now = self.advance(trim)?;
        for (uuid, keep_ns) in self.catalog.kept()? {
            let end = now.saturating_sub(keep_ns);
            let due = end.saturating_sub(trim.slack(keep_ns));
            let trimmed = self.trim_stream(uuid, due.min(MAX_TIME - 1), end.min(MAX_TIME - 1));
            // It may have been obliterated since it was listed.
            if !matches!(trimmed, Err(Error::NoSuchStream { .. })) {
                trimmed?;
            }
            self.forget(uuid, due)?;
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
