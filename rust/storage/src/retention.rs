//! How long points are kept, and how that follows the clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::Error;

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

pub(crate) fn check_retention(keep_ns: Option<i64>) -> Result<(), Error> {
    match keep_ns {
        Some(keep_ns) if keep_ns <= 0 => Err(Error::InvalidRetention { keep_ns }),
        _ => Ok(()),
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
    pub(crate) const fn slack(self, keep_ns: i64) -> i64 {
        match self {
            Self::Exactly => 0,
            Self::Coarsely => keep_ns / 64,
        }
    }
}

/// How retention follows the clock.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When it was last looked at.
    pub(crate) last: Mutex<Instant>,
    /// How far it is behind the clock, in nanoseconds.
    pub(crate) behind_ns: AtomicI64,
}

impl Pace {
    /// How far retention is behind the clock.
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
