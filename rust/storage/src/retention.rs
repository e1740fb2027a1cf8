//! Retention: points older than they are kept go, as an ordinary new version.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pingthings_types::{MAX_TIME, MIN_TIME};
use uuid::Uuid;

use crate::live::View;
use crate::store::Store;
use crate::stream::check_collection;
use crate::{Engine, Error, Snapshot};

/// How long a stream keeps its points, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamRetention {
    /// What was set for the stream itself.
    pub own_ns: Option<i64>,
    /// What holds, once its collection was asked too; `None` for ever.
    pub effective_ns: Option<i64>,
}

/// How long the streams of a collection keep their points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectionRetention {
    /// For how many nanoseconds; `None` for ever.
    pub keep_ns: Option<i64>,
    /// Whether that also holds for streams with a retention of their own.
    pub overrides: bool,
}

impl From<Option<i64>> for CollectionRetention {
    /// One that streams may override.
    fn from(keep_ns: Option<i64>) -> Self {
        Self {
            keep_ns,
            overrides: false,
        }
    }
}

fn check(keep_ns: Option<i64>) -> Result<(), Error> {
    match keep_ns {
        Some(keep_ns) if keep_ns <= 0 => Err(Error::InvalidRetention { keep_ns }),
        _ => Ok(()),
    }
}

impl Engine {
    /// How far retention is behind the clock, which went further than time has passed; zero if it
    /// is not.
    ///
    /// It follows four times as fast as time passes. Correct the clock if it is wrong.
    pub fn retention_behind(&self) -> Duration {
        let behind = self.store.pace.behind_ns.load(Ordering::Relaxed);
        Duration::from_nanos(behind.unsigned_abs())
    }

    /// Sets for how many nanoseconds a stream keeps its points; `None` leaves it to its
    /// collection.
    ///
    /// A point goes once its own time lies further back than that by the clock, at the latest
    /// when a 64th more has passed. Past versions still show it, until they themselves were
    /// replaced that long ago: then they are forgotten, and their room is reclaimed.
    pub fn set_stream_retention(&self, uuid: Uuid, keep_ns: Option<i64>) -> Result<(), Error> {
        self.store.check_open()?;
        check(keep_ns)?;
        self.store
            .ledger
            .change(|catalog| catalog.keep_stream(uuid, keep_ns))
    }

    /// How long a stream keeps its points.
    pub fn stream_retention(&self, uuid: Uuid) -> Result<StreamRetention, Error> {
        self.store.check_open()?;
        self.store.catalog.stream_retention(uuid)
    }

    /// Sets how long the streams of a collection keep their points, those that will be in it
    /// included.
    ///
    /// A stream with a retention of its own goes by that, unless the collection overrides it.
    pub fn set_collection_retention(
        &self,
        collection: &str,
        retention: impl Into<CollectionRetention>,
    ) -> Result<(), Error> {
        self.store.check_open()?;
        check_collection(collection)?;
        let retention = retention.into();
        check(retention.keep_ns)?;
        self.store
            .ledger
            .change(|catalog| catalog.keep_collection(collection, retention))
    }

    /// What was set for a collection; nothing is for ever.
    pub fn collection_retention(&self, collection: &str) -> Result<CollectionRetention, Error> {
        self.store.check_open()?;
        self.store.catalog.collection_retention(collection)
    }
}

/// How far behind trimming may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trim {
    /// Not at all.
    Exactly,
    /// A small part of what is kept, so that a stream that is written to all the time does not
    /// get a new version each time somebody looks.
    Coarsely,
}

impl Trim {
    const fn slack(self, keep_ns: i64) -> i64 {
        match self {
            Self::Exactly => 0,
            Self::Coarsely => keep_ns / 64,
        }
    }
}

/// How many times as fast as it passes retention may follow a clock that is far ahead: what is
/// kept for a day is there for hours after the clock jumped, and after a month without a server
/// retention is up to date within days.
const PACE: i64 = 4;

/// How far one sweep that was asked for may go in any case.
const STEP_NS: i64 = 2 * 3_600 * 1_000_000_000;

/// How far the time of retention is noted behind.
const NOTED_NS: i64 = 60 * 1_000_000_000;

/// How retention follows the clock.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When it was last looked at.
    last: Mutex<Instant>,
    /// How far it is behind the clock, in nanoseconds.
    behind_ns: AtomicI64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            last: Mutex::new(Instant::now()),
            behind_ns: AtomicI64::new(0),
        }
    }
}

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
        let snapshot = Snapshot::of_view(std::sync::Arc::clone(&self.segments), &view);
        let first = snapshot.nearest(MIN_TIME, false)?;
        if first.is_some_and(|point| point.time < due) {
            self.delete(uuid, MIN_TIME, end)?;
        }
        Ok(())
    }
}
