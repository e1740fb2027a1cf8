//! How many calls one may make in vain: calls that are given up, or refused for their key.

use std::time::Instant;

use parking_lot::Mutex;

/// How many calls in vain there may be: at once, and in each second from then on.
#[derive(Clone, Copy, Debug)]
struct Rate {
    at_once: f64,
    per_second: f64,
}

/// Calls of a connection by which nobody sent a key that is good. Who mistyped one makes a few.
const OF_STRANGER: Rate = Rate {
    at_once: 128.0,
    per_second: 16.0,
};
/// Calls that one owner gives up. To cancel one large query is to cancel many calls.
const OF_OWNER: Rate = Rate {
    at_once: 8_192.0,
    per_second: 1_024.0,
};
/// Calls in vain that make nobody suspect.
const UNSUSPICIOUS: f64 = 64.0;

/// What is left of the patience with somebody.
#[derive(Debug)]
pub(crate) struct Patience {
    rate: Rate,
    left: Mutex<(f64, Instant)>,
}

/// What comes of a call that was made in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Usual,
    /// There have been many lately.
    Suspect,
    /// There have been too many.
    TooMany,
}

impl Patience {
    const fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            left: Mutex::new((rate.at_once, now)),
        }
    }

    pub(crate) fn with_stranger() -> Self {
        Self::new(OF_STRANGER, Instant::now())
    }

    pub(crate) fn with_owner() -> Self {
        Self::new(OF_OWNER, Instant::now())
    }

    /// Counts a call that was made in vain.
    pub(crate) fn count(&self, now: Instant) -> Verdict {
        let mut left = self.left.lock();
        let (calls, since) = *left;
        let regained = now.duration_since(since).as_secs_f64() * self.rate.per_second;
        let calls = (calls + regained).min(self.rate.at_once) - 1.0;
        *left = (calls.max(0.0), now);
        if calls < 0.0 {
            Verdict::TooMany
        } else if calls < self.rate.at_once - UNSUSPICIOUS {
            Verdict::Suspect
        } else {
            Verdict::Usual
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn count(patience: &Patience, calls: usize, now: Instant) -> Verdict {
        let mut last = Verdict::Usual;
        for _ in 0..calls {
            last = patience.count(now);
        }
        last
    }

    #[test]
    fn patience_ends_and_comes_back() {
        let began = Instant::now();
        let patience = Patience::new(OF_STRANGER, began);
        assert_eq!(count(&patience, 64, began), Verdict::Usual);
        assert_eq!(count(&patience, 64, began), Verdict::Suspect);
        assert_eq!(count(&patience, 1, began), Verdict::TooMany);
        // A second later there are sixteen more, and never more than at first.
        let later = began + Duration::from_secs(1);
        assert_eq!(count(&patience, 16, later), Verdict::Suspect);
        assert_eq!(count(&patience, 1, later), Verdict::TooMany);
        let much_later = later + Duration::from_hours(1);
        assert_eq!(count(&patience, 64, much_later), Verdict::Usual);
        assert_eq!(count(&patience, 65, much_later), Verdict::TooMany);
    }
}
