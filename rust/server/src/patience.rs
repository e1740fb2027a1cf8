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

    /// Counts calls that were made in vain; none only asks.
    pub(crate) fn count(&self, calls: usize, now: Instant) -> Verdict {
        let mut left = self.left.lock();
        let (before, since) = *left;
        let regained = now.duration_since(since).as_secs_f64() * self.rate.per_second;
        // More than there is patience for at once is too many, however many.
        let counted = f64::from(u32::try_from(calls).unwrap_or(u32::MAX));
        let calls = (before + regained).min(self.rate.at_once) - counted;
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
            last = patience.count(1, now);
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
        // To ask costs nothing.
        assert_eq!(patience.count(0, later), Verdict::Suspect);
        let much_later = later + Duration::from_hours(1);
        assert_eq!(patience.count(0, much_later), Verdict::Usual);
        assert_eq!(count(&patience, 64, much_later), Verdict::Usual);
        assert_eq!(patience.count(64, much_later), Verdict::Suspect);
        assert_eq!(patience.count(1, much_later), Verdict::TooMany);
    }
}
