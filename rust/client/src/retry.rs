//! Repeating calls that failed on the way, where that can do no harm.

use std::{
    collections::hash_map::RandomState,
    future::Future,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{Client, error::Error};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// After which failures a call is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// After every one that may pass: it reads, or changes nothing when it is made twice.
    Always,
    /// Only where the server has said that it did nothing.
    IfRefused,
    /// Not at all.
    Never,
}

impl Repeat {
    /// What a method allows whatever it is asked.
    pub(crate) fn of(method: &str) -> Self {
        match method {
            "Create"
            | "Delete"
            | "Obliterate"
            | "SetStreamTags"
            | "SetStreamAnnotations"
            | "CreateDevice"
            | "UpdateDevice"
            | "DeleteDevice"
            | "CreateUnit"
            | "UpdateUnit"
            | "DeleteUnit" => Self::IfRefused,
            _ => Self::Always,
        }
    }

    fn allows(self, error: &Error) -> bool {
        match self {
            Self::Always => error.is_transient(),
            Self::IfRefused => error.is_refusal(),
            Self::Never => false,
        }
    }
}

/// How long to wait before each repetition, until the time for them is over.
#[derive(Debug)]
pub(crate) struct Backoff {
    deadline: Instant,
    limit: Duration,
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            deadline: Instant::now() + limit,
            limit,
            attempts: 0,
        }
    }

    /// Something was received: what fails next is another failure.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.limit);
    }

    /// The next delay, anything up to twice as long as the one before could be: clients that
    /// failed together must not come back together.
    fn delay(&mut self) -> Option<Duration> {
        let longest = FIRST_DELAY
            .saturating_mul(1 << self.attempts.min(16))
            .min(LONGEST_DELAY);
        self.attempts += 1;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "any of its bits are as good as random"
        )]
        let random = f64::from(RandomState::new().build_hasher().finish() as u32);
        let delay = longest.mul_f64(random / f64::from(u32::MAX));
        (Instant::now() + delay < self.deadline).then_some(delay)
    }

    /// Waits before the next attempt; gives the error back if there is to be none.
    pub(crate) async fn wait(&mut self, method: &str, error: Error) -> Result<(), Error> {
        let Some(delay) = self.delay() else {
            return Err(error);
        };
        let attempt = self.attempts;
        tracing::debug!(method, attempt, ?delay, %error, "repeating a call");
        sleep(delay).await;
        Ok(())
    }
}

impl Client {
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.connection.config.retry_for)
    }

    /// Makes a call, and makes it again after failures that allow it.
    pub(crate) async fn repeated<T, F>(
        &self,
        repeat: Repeat,
        method: &'static str,
        call: impl Fn() -> F + Send + Sync,
    ) -> Result<T, Error>
    where
        T: Send,
        F: Future<Output = Result<T, Error>> + Send,
    {
        let mut backoff = self.backoff();
        loop {
            match call().await {
                Err(error) if repeat.allows(&error) => backoff.wait(method, error).await?,
                done => return done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_cap_and_end_in_time() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.map_or_else(
            |error| panic!("no runtime: {error}"),
            |runtime| {
                runtime.block_on(async {
                    let mut backoff = Backoff::new(Duration::from_mins(1));
                    let start = Instant::now();
                    let mut delays = Vec::new();
                    while let Some(delay) = backoff.delay() {
                        delays.push(delay);
                        sleep(delay).await;
                    }
                    assert!(start.elapsed() <= Duration::from_mins(1));
                    assert!(delays.len() > 12, "{delays:?}");
                    for (attempt, delay) in delays.iter().enumerate() {
                        let cap = FIRST_DELAY * (1 << attempt.min(10));
                        assert!(*delay <= cap.min(LONGEST_DELAY), "{delays:?}");
                    }
                    let mut none = Backoff::new(Duration::ZERO);
                    assert_eq!(none.delay(), None);
                });
            },
        );
    }
}
