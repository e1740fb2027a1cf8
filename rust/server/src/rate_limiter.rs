//! Limits the rate of wasted calls: calls that are cancelled, or refused for their key.

use std::time::Instant;

use parking_lot::Mutex;

/// A rate as a token bucket.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// The size of the bucket.
    burst: f64,
    /// The tokens that are added in each second.
    per_second: f64,
}

/// The limit of a connection on which no valid key was sent. A program with a mistyped key makes a
/// few calls.
const UNAUTHORIZED_RATE: Rate = Rate {
    burst: 128.0,
    per_second: 16.0,
};
/// The limit of an account. Cancelling one large query cancels many calls.
const ACCOUNT_RATE: Rate = Rate {
    burst: 8_192.0,
    per_second: 1_024.0,
};
/// How many wasted calls are normal.
const NORMAL_CALLS: f64 = 64.0;

/// Counts wasted calls against a rate.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    rate: Rate,
    tokens: Mutex<(f64, Instant)>,
}

/// How the recent wasted calls compare with the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Few.
    Normal,
    /// More than normal, within the limit.
    Suspect,
    /// Beyond the limit.
    Exceeded,
}

impl RateLimiter {
    const fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            tokens: Mutex::new((rate.burst, now)),
        }
    }

    pub(crate) fn for_connection() -> Self {
        Self::new(UNAUTHORIZED_RATE, Instant::now())
    }

    pub(crate) fn for_account() -> Self {
        Self::new(ACCOUNT_RATE, Instant::now())
    }

    /// Counts wasted calls. With 0 calls it only returns the current verdict.
    pub(crate) fn count(&self, calls: usize, now: Instant) -> Verdict {
        let mut tokens = self.tokens.lock();
        let (before, since) = *tokens;
        let regained = now.duration_since(since).as_secs_f64() * self.rate.per_second;
        // A count above `u32::MAX` is beyond every limit anyway.
        let counted = f64::from(u32::try_from(calls).unwrap_or(u32::MAX));
        let calls = (before + regained).min(self.rate.burst) - counted;
        *tokens = (calls.max(0.0), now);
        if calls < 0.0 {
            Verdict::Exceeded
        } else if calls < self.rate.burst - NORMAL_CALLS {
            Verdict::Suspect
        } else {
            Verdict::Normal
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn count(limiter: &RateLimiter, calls: usize, now: Instant) -> Verdict {
        let mut last = Verdict::Normal;
        for _ in 0..calls {
            last = limiter.count(1, now);
        }
        last
    }

    #[test]
    fn tokens_are_used_and_refilled() {
        let began = Instant::now();
        let limiter = RateLimiter::new(UNAUTHORIZED_RATE, began);
        assert_eq!(count(&limiter, 64, began), Verdict::Normal);
        assert_eq!(count(&limiter, 64, began), Verdict::Suspect);
        assert_eq!(count(&limiter, 1, began), Verdict::Exceeded);
        // A second later there are sixteen more tokens.
        let later = began + Duration::from_secs(1);
        assert_eq!(count(&limiter, 16, later), Verdict::Suspect);
        assert_eq!(count(&limiter, 1, later), Verdict::Exceeded);
        // Reading the verdict takes no token.
        assert_eq!(limiter.count(0, later), Verdict::Suspect);
        let much_later = later + Duration::from_hours(1);
        assert_eq!(limiter.count(0, much_later), Verdict::Normal);
        assert_eq!(count(&limiter, 64, much_later), Verdict::Normal);
        assert_eq!(limiter.count(64, much_later), Verdict::Suspect);
        assert_eq!(limiter.count(1, much_later), Verdict::Exceeded);
    }
}
