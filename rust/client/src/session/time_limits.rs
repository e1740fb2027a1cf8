//! Time limits of calls.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// Time limits of calls. They can be changed at any time.
#[derive(Debug, Default)]
pub(crate) struct TimeLimits {
    pub(crate) timeout: AtomicDuration,
    pub(crate) deadline: AtomicDuration,
}

/// An optional duration that threads can share.
#[derive(Debug, Default)]
pub(crate) struct AtomicDuration(AtomicU64);

impl AtomicDuration {
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

/// The time at which a call must have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) limit: Duration,
}
