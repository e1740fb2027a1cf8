//! Retention settings, and the retention clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::Error;

/// How long a stream keeps its points, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamRetention {
    /// The retention set for the stream itself.
    pub own_ns: Option<i64>,
    /// The retention in effect, with that of its collection considered; `None` for ever.
    pub effective_ns: Option<i64>,
}

/// How long the streams of a collection keep their points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectionRetention {
    /// In nanoseconds; `None` for ever.
    pub keep_ns: Option<i64>,
    /// Whether it also applies to streams with a retention of their own.
    pub overrides: bool,
}

impl From<Option<i64>> for CollectionRetention {
    /// A retention that streams may override.
    fn from(keep_ns: Option<i64>) -> Self {
        Self {
            keep_ns,
            overrides: false,
        }
    }
}

pub(crate) fn check_retention(keep_ns: Option<i64>) -> Result<(), Error> {
    match keep_ns {
        Some(keep_ns) if keep_ns <= 0 => Err(Error::InvalidRetention { keep_ns }),
        _ => Ok(()),
    }
}

/// How precisely trimming follows the retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrimPrecision {
    /// Delete every point that is older than the retention.
    Exactly,
    /// Delete only once the oldest point is older by a small part of the retention, so that a
    /// stream that is written to all the time does not get a new version on every run.
    Coarsely,
}

impl TrimPrecision {
    pub(crate) const fn slack(self, keep_ns: i64) -> i64 {
        match self {
            Self::Exactly => 0,
            Self::Coarsely => keep_ns / 64,
        }
    }
}

/// State of the retention clock.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When it was last advanced.
    pub(crate) last: Mutex<Instant>,
    /// How far it is behind the wall clock, in nanoseconds.
    pub(crate) behind_ns: AtomicI64,
}

impl Pace {
    /// How far the retention clock is behind the wall clock; zero if it is not behind.
    pub(crate) fn behind(&self) -> Duration {
        Duration::from_nanos(self.behind_ns.load(Ordering::Relaxed).unsigned_abs())
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            last: Mutex::new(Instant::now()),
            behind_ns: AtomicI64::new(0),
        }
    }
}
