//! Repeating calls that failed on the way, where that can do no harm.

use std::{
    collections::hash_map::RandomState,
    future::Future,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    error::Error,
    method::{Method, Repeat},
    session::client::Client,
};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// How long to wait before each repetition, until the time for them is over.
#[derive(Debug)]
pub(crate) struct Backoff {
    limit: Duration,
    /// When the call as a whole must have ended.
    deadline: Option<Instant>,
    /// Attempts that are made however late it is: one for each endpoint.
    granted: u32,
    since: Option<Instant>,
    attempts: u32,
}

impl Backoff {
    pub(crate) const fn new(limit: Duration) -> Self {
        Self {
            limit,
            deadline: None,
            granted: 0,
            since: None,
            attempts: 0,
        }
    }

    /// Something was received: what fails next is another failure.
    pub(crate) const fn reset(&mut self) {
        self.since = None;
        self.attempts = 0;
    }

    /// The next delay, anything up to twice as long as the one before could be: clients that
    /// failed together must not come back together.
    ///
    /// The time for repetitions runs from the first failure on, which may itself have taken long.
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
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let is_granted = self.attempts <= self.granted && !self.limit.is_zero();
        // The last attempt is made when the time is just over.
        let left = (since + self.limit).saturating_duration_since(now);
        let delay = if is_granted { delay } else { delay.min(left) };
        let is_before_deadline = self.deadline.is_none_or(|deadline| now + delay < deadline);
        ((is_granted || !left.is_zero()) && is_before_deadline).then_some(delay)
    }

    /// Waits before the next attempt; gives the error back if there is to be none.
    pub(crate) async fn wait(&mut self, method: Method, error: Error) -> Result<(), Error> {
        let Some(delay) = self.delay() else {
            return Err(error);
        };
        let attempt = self.attempts;
        let method = method.name();
        tracing::debug!(method, attempt, ?delay, %error, "repeating a call");
        sleep(delay).await;
        Ok(())
    }
}

impl Client {
    pub(crate) fn backoff(&self) -> Backoff {
        let others = self.state.endpoints().saturating_sub(1);
        Backoff {
            deadline: self.deadline.map(|deadline| deadline.at),
            granted: u32::try_from(others).unwrap_or(u32::MAX),
            ..Backoff::new(self.state.config.retry_for)
        }
    }

    /// Makes a call, and makes it again after failures that allow it.
    pub(crate) async fn repeated<T, F>(
        &self,
        repeat: Repeat,
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
                Err(error) if repeat.allows(&error) => {
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
        // The first failure may have taken any time.
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
            assert!(*delay <= cap.min(LONGEST_DELAY), "{delays:?}");
        }
        assert_eq!(Backoff::new(Duration::ZERO).delay(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn every_endpoint_gets_its_attempt_unless_the_deadline_forbids() {
        let mut backoff = Backoff {
            granted: 2,
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
