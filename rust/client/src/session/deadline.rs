//! How long calls may take.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// Time limits of calls, changeable at any time.
#[derive(Debug, Default)]
pub(crate) struct TimeLimits {
    pub(crate) silence: Nanoseconds,
    pub(crate) call: Nanoseconds,
}

/// A duration, or none.
#[derive(Debug, Default)]
pub(crate) struct Nanoseconds(AtomicU64);

impl Nanoseconds {
    pub(crate) fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            nanoseconds => Some(Duration::from_nanos(nanoseconds)),
        }
    }

    pub(crate) fn set(&self, duration: Option<Duration>) {
        let nanoseconds = duration.map_or(0, |duration| {
            u64::try_from(duration.as_nanos())
                .unwrap_or(u64::MAX)
                .max(1)
        });
        self.0.store(nanoseconds, Ordering::Relaxed);
    }
}

/// When a call must have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) limit: Duration,
}
