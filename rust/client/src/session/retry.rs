//! Retries of failed calls, where a retry is safe.

use std::{
    collections::hash_map::RandomState,
    future::Future,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    error::Error,
    method::{Method, RetryPolicy},
    session::client::Client,
};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(5);

/// The delays between the attempts of a call, until its time for retries has passed.
#[derive(Debug)]
pub(crate) struct Backoff {
    limit: Duration,
    /// The deadline of the whole call.
    deadline: Option<Instant>,
    /// Number of retries that are made even if the time has passed: one for each other endpoint.
    guaranteed_attempts: u32,
    first_failure: Option<Instant>,
    attempts: u32,
}

impl Backoff {
    pub(crate) const fn new(limit: Duration) -> Self {
        Self {
            limit,
            deadline: None,
            guaranteed_attempts: 0,
            first_failure: None,
            attempts: 0,
        }
    }

    /// Starts again after progress: the next failure counts as a new one.
    pub(crate) const fn reset(&mut self) {
        self.first_failure = None;
        self.attempts = 0;
    }

    /// The next delay; `None` if there is no further attempt. It is random, and its maximum doubles
    /// each time, so that clients that failed together do not retry together.
    ///
    /// The time for retries starts at the first failure, because the failed attempt may itself have
    /// taken long.
    fn delay(&mut self) -> Option<Duration> {
        let longest = FIRST_DELAY
            .saturating_mul(1 << self.attempts.min(16))
            .min(MAX_DELAY);
        self.attempts += 1;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "any 32 bits of the hash are random"
        )]
        let random = f64::from(RandomState::new().build_hasher().finish() as u32);
        let delay = longest.mul_f64(random / f64::from(u32::MAX));
        let now = Instant::now();
        let first_failure = *self.first_failure.get_or_insert(now);
        let is_guaranteed = self.attempts <= self.guaranteed_attempts && !self.limit.is_zero();
        // The last attempt is made just when the time has passed.
        let left = (first_failure + self.limit).saturating_duration_since(now);
        let delay = if is_guaranteed {
            delay
        } else {
            delay.min(left)
        };
        let is_before_deadline = self.deadline.is_none_or(|deadline| now + delay < deadline);
        ((is_guaranteed || !left.is_zero()) && is_before_deadline).then_some(delay)
    }

    /// Waits before the next attempt. Returns the error if there is none.
    pub(crate) async fn wait(&mut self, method: Method, error: Error) -> Result<(), Error> {
        let Some(delay) = self.delay() else {
            return Err(error);
        };
        let attempt = self.attempts;
        let method = method.name();
        tracing::debug!(method, attempt, ?delay, %error, "retrying a call");
        sleep(delay).await;
        Ok(())
    }
}

impl Client {
    pub(crate) fn backoff(&self) -> Backoff {
        let others = self.state.endpoints().saturating_sub(1);
        Backoff {
            deadline: self.deadline.map(|deadline| deadline.at),
            guaranteed_attempts: u32::try_from(others).unwrap_or(u32::MAX),
            ..Backoff::new(self.state.config.retry_for)
        }
    }

    /// Makes a call, and retries it after failures that the policy allows.
    pub(crate) async fn retry<T, F>(
        &self,
        policy: RetryPolicy,
        method: Method,
        call: impl Fn() -> F + Send + Sync,
    ) -> Result<T, Error>
    where
        T: Send,
        F: Future<Output = Result<T, Error>> + Send,
    {
        let mut backoff = self.backoff();
        loop {
            match call().await {
                Err(error) if policy.allows(&error) => {
                    backoff.wait(method, error).await?;
                    self.count_retry();
                }
                done => return done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn delays_grow_to_a_cap_and_end_in_time() {
        let mut backoff = Backoff::new(Duration::from_mins(1));
        // The first attempt may have taken any time.
        sleep(Duration::from_mins(5)).await;
        let start = Instant::now();
        let mut delays = Vec::new();
        while let Some(delay) = backoff.delay() {
            delays.push(delay);
            sleep(delay).await;
        }
        let took = start.elapsed().as_millis();
        assert!((60_000..60_010).contains(&took), "{took}");
        assert!(delays.len() > 12, "{delays:?}");
        for (attempt, delay) in delays.iter().enumerate() {
            let cap = FIRST_DELAY * (1 << attempt.min(10));
            assert!(*delay <= cap.min(MAX_DELAY), "{delays:?}");
        }
        assert_eq!(Backoff::new(Duration::ZERO).delay(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn every_endpoint_gets_its_attempt_unless_the_deadline_forbids() {
        let mut backoff = Backoff {
            guaranteed_attempts: 2,
            ..Backoff::new(Duration::from_nanos(1))
        };
        assert!(backoff.delay().is_some());
        sleep(Duration::from_mins(1)).await;
        assert!(backoff.delay().is_some());
        assert_eq!(backoff.delay(), None);
        let mut late = Backoff {
            deadline: Some(Instant::now()),
            ..Backoff::new(Duration::from_mins(1))
        };
        assert_eq!(late.delay(), None);
    }
}
