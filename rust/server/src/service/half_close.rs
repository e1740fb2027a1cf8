//! Whether a subscription ends when its subscriber will send no more updates.
//!
//! Published consumers end a subscription so. But a tool that sends one update and closes its side
//! at once, as it does in every call, wants to hear of the stream it named: to both the call looks
//! the same, and only when they close tells them apart.

use std::time::{Duration, Instant};

/// How long after its only update a subscriber may close its side and still be taken for one that
/// closes at once.
const AT_ONCE: Duration = Duration::from_millis(250);

/// What a subscriber asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The subscription goes on.
    Stay,
    /// The subscription ends.
    End,
}

/// What is known of a subscriber when it closes its side.
#[derive(Debug, Default)]
pub(super) struct HalfClose {
    asked: Option<Asked>,
    updates: u64,
    /// When the last update was carried out.
    updated: Option<Instant>,
    has_pushed: bool,
}

impl HalfClose {
    /// That of a subscriber who asked for something, or did not.
    pub(super) fn new(asked: Option<Asked>) -> Self {
        Self {
            asked,
            ..Self::default()
        }
    }

    /// An update was carried out.
    pub(super) const fn updated(&mut self, now: Instant) {
        self.updates += 1;
        self.updated = Some(now);
    }

    /// Points were pushed.
    pub(super) const fn pushed(&mut self) {
        self.has_pushed = true;
    }

    /// Whether the subscription ends if its subscriber closes its side now.
    pub(super) fn ends(&self, now: Instant) -> bool {
        let Some(updated) = self.updated else {
            return true;
        };
        if let Some(asked) = self.asked {
            return asked == Asked::End;
        }
        let is_at_once = now.saturating_duration_since(updated) <= AT_ONCE;
        !(is_at_once && self.updates == 1 && !self.has_pushed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = AT_ONCE.saturating_add(Duration::from_nanos(1));

    #[test]
    fn only_who_sends_one_update_and_closes_at_once_stays() {
        let now = Instant::now();
        let mut close = HalfClose::new(None);
        assert!(close.ends(now));
        close.updated(now);
        assert!(!close.ends(now));
        assert!(!close.ends(now + AT_ONCE));
        assert!(close.ends(now + LATE));
        close.updated(now + LATE);
        assert!(close.ends(now + LATE));
    }

    #[test]
    fn who_has_heard_of_points_ends_the_subscription() {
        let now = Instant::now();
        let mut close = HalfClose::new(None);
        close.updated(now);
        close.pushed();
        assert!(close.ends(now));
    }

    #[test]
    fn what_was_asked_for_counts() {
        let now = Instant::now();
        for (asked, ends) in [(Asked::Stay, false), (Asked::End, true)] {
            let mut close = HalfClose::new(Some(asked));
            close.updated(now);
            assert_eq!(close.ends(now), ends);
            close.pushed();
            close.updated(now);
            assert_eq!(close.ends(now + LATE), ends);
        }
    }
}
