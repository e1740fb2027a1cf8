//! How long calls may take.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

use crate::{Client, error::Error};

/// Time limits of calls, changeable at any time.
#[derive(Debug, Default)]
pub(crate) struct TimeLimits {
    silence: Nanoseconds,
    call: Nanoseconds,
}

/// A duration, or none.
#[derive(Debug, Default)]
struct Nanoseconds(AtomicU64);

impl Nanoseconds {
    fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            nanoseconds => Some(Duration::from_nanos(nanoseconds)),
        }
    }

    fn set(&self, duration: Option<Duration>) {
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
    limit: Duration,
}

impl Client {
    /// How long an answer, or the next part of one, may take; `None` for any time.
    pub fn timeout(&self) -> Option<Duration> {
        self.time_limits.silence.get()
    }

    /// Changes that for calls that begin from now on.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.time_limits.silence.set(timeout);
    }

    /// How long a whole call may take, with everything that is repeated; `None` for any time.
    pub fn deadline(&self) -> Option<Duration> {
        self.time_limits.call.get()
    }

    /// Changes that for calls that begin from now on.
    pub fn set_deadline(&self, deadline: Option<Duration>) {
        self.time_limits.call.set(deadline);
    }

    /// The same connection with time limits of its own, at first the same.
    #[must_use]
    pub fn with_own_time_limits(&self) -> Self {
        let limits = TimeLimits::default();
        limits.silence.set(self.timeout());
        limits.call.set(self.deadline());
        Self {
            time_limits: limits.into(),
            ..self.clone()
        }
    }

    /// The client as one call uses it: the time for that runs from now on.
    #[must_use]
    pub fn for_call(&self) -> Self {
        let deadline = self.deadline().and_then(|limit| {
            let at = Instant::now().checked_add(limit)?;
            Some(Deadline { at, limit })
        });
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// What comes of `work`, unless the time for the call is over first.
    pub(crate) async fn in_time<T>(
        &self,
        method: &'static str,
        work: impl Future<Output = T> + Send,
    ) -> Result<T, Error> {
        match self.deadline {
            None => Ok(work.await),
            Some(Deadline { at, limit }) => timeout_at(at, work)
                .await
                .map_err(|_| Error::deadline(method, limit)),
        }
    }
}
