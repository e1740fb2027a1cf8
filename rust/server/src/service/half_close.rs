//! Whether a subscription ends when its subscriber closes its side of the call.
//!
//! Published consumers end a subscription in this way. Other tools always send one update and close
//! their side at once, but expect points. Only the time of closing distinguishes them.

use std::time::{Duration, Instant};

/// A subscriber that closes its side within this time after its only update is assumed to do so in
/// every call.
const IMMEDIATE_CLOSE: Duration = Duration::from_millis(250);

/// What a subscriber requested for the case that it closes its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnHalfClose {
    /// The subscription continues.
    Continue,
    /// The subscription ends.
    End,
}

/// The history of a subscription, which decides whether closing its side ends it.
#[derive(Debug, Default)]
pub(super) struct HalfClose {
    requested: Option<OnHalfClose>,
    updates: u64,
    /// The time when the last update was applied.
    updated: Option<Instant>,
    has_pushed: bool,
}

impl HalfClose {
    /// The history of a new subscription.
    pub(super) fn new(requested: Option<OnHalfClose>) -> Self {
        Self {
            requested,
            ..Self::default()
        }
    }

    /// Records that an update was applied.
    pub(super) const fn updated(&mut self, now: Instant) {
        self.updates += 1;
        self.updated = Some(now);
    }

    /// Records that points were pushed.
    pub(super) const fn pushed(&mut self) {
        self.has_pushed = true;
    }

    /// Whether the subscription ends if its subscriber closes its side now.
    pub(super) fn ends(&self, now: Instant) -> bool {
        let Some(updated) = self.updated else {
            return true;
        };
        if let Some(requested) = self.requested {
            return requested == OnHalfClose::End;
        }
        let is_immediate = now.saturating_duration_since(updated) <= IMMEDIATE_CLOSE;
        !(is_immediate && self.updates == 1 && !self.has_pushed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = IMMEDIATE_CLOSE.saturating_add(Duration::from_nanos(1));

    #[test]
    fn only_one_update_and_an_immediate_close_continue() {
        let now = Instant::now();
        let mut close = HalfClose::new(None);
        assert!(close.ends(now));
        close.updated(now);
        assert!(!close.ends(now));
        assert!(!close.ends(now + IMMEDIATE_CLOSE));
        assert!(close.ends(now + LATE));
        close.updated(now + LATE);
        assert!(close.ends(now + LATE));
    }

    #[test]
    fn a_close_after_points_ends_the_subscription() {
        let now = Instant::now();
        let mut close = HalfClose::new(None);
        close.updated(now);
        close.pushed();
        assert!(close.ends(now));
    }

    #[test]
    fn a_requested_behaviour_is_respected() {
        let now = Instant::now();
        for (requested, ends) in [(OnHalfClose::Continue, false), (OnHalfClose::End, true)] {
            let mut close = HalfClose::new(Some(requested));
            close.updated(now);
            assert_eq!(close.ends(now), ends);
            close.pushed();
            close.updated(now);
            assert_eq!(close.ends(now + LATE), ends);
        }
    }
}
