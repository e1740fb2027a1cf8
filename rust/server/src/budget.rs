//! How many bytes callers can make the server hold: requests on their way in, and answers that were
//! made and not taken.
//!
//! Bytes are counted before they are kept. When there is no room, whoever holds much for long gives
//! way to who is quick: of all that is held, that with the most bytes times the time without
//! progress. A request gives way by being refused, an answer by losing its connection. What the
//! engine works on stays.

use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use pingthings_types::Code;

use crate::metrics::Metrics;
use crate::owner::{Owner, share};
use crate::peer::{Control, End};
use crate::status::Refusal;
use crate::weight::Weighed;

/// The part of the limit by which what comes may be beyond it while what gives way for it leaves.
const OVERLAP: usize = 8;
/// The part of the limit that is made free beyond what is needed, so that not everybody who comes
/// looks through all that is held.
const AHEAD: usize = 64;
/// Who made no progress for so long makes none, however long it has been.
const LONGEST: Duration = Duration::from_mins(1);
/// What a call takes that waits for the rest of its request, or for its short answer to be taken:
/// its task, its buffers, what is known of it. Its headers count beside it.
pub(crate) const CALL_BYTES: usize = 16 << 10;

/// Everything that is held.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    state: Mutex<State>,
    next: AtomicU64,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// What of that is given back soon, because its holder was told to.
    leaving: usize,
    holds: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    bytes: usize,
    /// Since when there has been no progress.
    since: Instant,
    is_leaving: bool,
    holder: Arc<Holder>,
}

/// Who holds something, and how it is told to give way.
#[derive(Debug)]
struct Holder {
    owner: Arc<Owner>,
    control: Option<Arc<Control>>,
    kind: Kind,
    /// Whether the engine works on it.
    is_fixed: AtomicBool,
    /// Whether it is one of the open answers, of which there are only so many.
    is_placed: AtomicBool,
    is_revoked: AtomicBool,
    task: AtomicWaker,
}

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Answer,
}

/// What one call holds; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<Budget>,
    number: u64,
    holder: Arc<Holder>,
}

impl Budget {
    pub(crate) fn new(limit: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        let shown = i64::try_from(limit).unwrap_or(i64::MAX);
        metrics.held_bytes_limit.store(shown, Ordering::Relaxed);
        Arc::new(Self {
            limit,
            state: Mutex::default(),
            next: AtomicU64::new(0),
            metrics,
        })
    }

    /// Something that will be held for a call.
    pub(crate) fn hold(
        self: &Arc<Self>,
        kind: Kind,
        owner: Arc<Owner>,
        control: Option<Arc<Control>>,
    ) -> Arc<Hold> {
        Arc::new(Hold {
            budget: Arc::clone(self),
            number: self.next.fetch_add(1, Ordering::Relaxed),
            holder: Arc::new(Holder {
                owner,
                control,
                kind,
                is_fixed: AtomicBool::new(false),
                is_placed: AtomicBool::new(false),
                is_revoked: AtomicBool::new(false),
                task: AtomicWaker::new(),
            }),
        })
    }

    fn refusal(&self) -> Refusal {
        Refusal::new(
            Code::ResourceDepleted,
            format!(
                "the server holds as much for its callers as it may, {} MiB, of which one caller \
                 has three quarters at most: try again later",
                self.limit >> 20
            ),
        )
    }

    fn show(&self, state: &State) {
        let used = i64::try_from(state.used).unwrap_or(i64::MAX);
        self.metrics.held_bytes.store(used, Ordering::Relaxed);
    }
}

impl State {
    /// Finds room for so many bytes more; adds to `victims` who has to give way for it. Whether
    /// there is room then.
    fn make_room(
        &mut self,
        hold: &Hold,
        bytes: usize,
        limit: usize,
        victims: &mut Vec<Arc<Holder>>,
    ) -> bool {
        // First what the owner has beyond its share, then what all have beyond the limit.
        self.make_room_among(hold, bytes, limit, true, victims)
            && self.make_room_among(hold, bytes, limit, false, victims)
            // What was told to leave is there until it has left.
            && self.used + bytes <= limit + limit / OVERLAP
    }

    /// The same among what the owner holds, or all.
    fn make_room_among(
        &mut self,
        hold: &Hold,
        bytes: usize,
        limit: usize,
        is_own: bool,
        victims: &mut Vec<Arc<Holder>>,
    ) -> bool {
        let owner = &hold.holder.owner;
        let most = if is_own { share(limit) } else { limit };
        let held = |state: &Self| {
            if is_own {
                owner.held()
            } else {
                state.used - state.leaving
            }
        };
        if held(self) + bytes <= most {
            return true;
        }
        let now = Instant::now();
        let own = self
            .holds
            .get(&hold.number)
            .map_or(0.0, |entry| entry.weight(now));
        let others = self.holds.iter().filter(|(number, entry)| {
            **number != hold.number
                && !entry.is_leaving
                && !entry.holder.is_fixed.load(Ordering::Relaxed)
                && (!is_own || Arc::ptr_eq(&entry.holder.owner, owner))
        });
        let heavier = others
            .map(|(&number, entry)| Weighed {
                weight: entry.weight(now),
                number,
            })
            .filter(|weighed| weighed.weight > own);
        let mut heaviest: BinaryHeap<Weighed> = heavier.collect();
        while held(self) + bytes + most / AHEAD > most
            && let Some(Weighed { number, .. }) = heaviest.pop()
        {
            if let Some(entry) = self.holds.get_mut(&number) {
                entry.is_leaving = true;
                self.leaving += entry.bytes;
                entry.holder.owner.give(entry.bytes);
                victims.push(Arc::clone(&entry.holder));
            }
        }
        held(self) + bytes <= most
    }
}

impl Entry {
    /// Bytes times seconds.
    #[allow(clippy::cast_precision_loss, reason = "only compared")]
    fn weight(&self, now: Instant) -> f64 {
        let age = now.duration_since(self.since).min(LONGEST);
        self.bytes as f64 * age.as_secs_f64()
    }
}

impl Holder {
    fn revoke(&self) {
        self.is_revoked.store(true, Ordering::Relaxed);
        self.task.wake();
        if self.kind == Kind::Answer
            && let Some(control) = &self.control
        {
            // Who does not read is not told first: what it holds would be there all the while.
            control.end(End::Cut);
        }
    }
}

impl Hold {
    /// Counts bytes that are about to be kept.
    ///
    /// # Errors
    /// If there is no room for them, or what is held already had to give way: status 426.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), Refusal> {
        let budget = &*self.budget;
        let mut victims = Vec::new();
        let mut state = budget.state.lock();
        let has_left = self.holder.is_revoked.load(Ordering::Relaxed)
            || state
                .holds
                .get(&self.number)
                .is_some_and(|entry| entry.is_leaving);
        let has_room = !has_left && state.make_room(self, bytes, budget.limit, &mut victims);
        if has_room {
            state.used += bytes;
            self.holder.owner.take(bytes);
            let entry = state.holds.entry(self.number).or_insert_with(|| Entry {
                bytes: 0,
                since: Instant::now(),
                is_leaving: false,
                holder: Arc::clone(&self.holder),
            });
            entry.bytes += bytes;
        }
        budget.show(&state);
        drop(state);
        let count = victims.len() as u64;
        budget.metrics.revoked.fetch_add(count, Ordering::Relaxed);
        for victim in victims {
            victim.revoke();
        }
        if has_room {
            Ok(())
        } else {
            Err(budget.refusal())
        }
    }

    /// Gives bytes back, which is progress.
    pub(crate) fn give(&self, bytes: usize) {
        let mut state = self.budget.state.lock();
        let state = &mut *state;
        if let Some(entry) = state.holds.get_mut(&self.number) {
            let bytes = bytes.min(entry.bytes);
            entry.bytes -= bytes;
            entry.since = Instant::now();
            state.used -= bytes;
            if entry.is_leaving {
                state.leaving -= bytes;
            } else {
                entry.holder.owner.give(bytes);
            }
            if entry.bytes == 0 && !entry.is_leaving {
                state.holds.remove(&self.number);
            }
        }
        self.budget.show(state);
    }

    /// Whether the engine works on what is held: then it does not give way.
    pub(crate) fn fix(&self) {
        self.holder.is_fixed.store(true, Ordering::Relaxed);
    }

    /// It is one of the open answers, of which there are only so many.
    pub(crate) fn place(&self) {
        self.holder.is_placed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_placed(&self) -> bool {
        self.holder.is_placed.load(Ordering::Relaxed)
    }

    /// Ready once what is held has to give way.
    pub(crate) fn poll_revoked(&self, cx: &Context<'_>) -> Poll<Refusal> {
        self.holder.task.register(cx.waker());
        if self.holder.is_revoked.load(Ordering::Relaxed) {
            Poll::Ready(self.budget.refusal())
        } else {
            Poll::Pending
        }
    }

    /// Waits until what is held has to give way.
    pub(crate) async fn revoked(&self) -> Refusal {
        std::future::poll_fn(|cx| self.poll_revoked(cx)).await
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.budget.state.lock();
        if let Some(entry) = state.holds.remove(&self.number) {
            state.used -= entry.bytes;
            if entry.is_leaving {
                state.leaving -= entry.bytes;
            } else {
                entry.holder.owner.give(entry.bytes);
            }
            self.budget.show(&state);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::config::Limits;

    struct Case {
        budget: Arc<Budget>,
        owner: Arc<Owner>,
    }

    impl Case {
        fn new(limit: usize) -> Self {
            Self {
                budget: Budget::new(limit, Arc::default()),
                owner: Owner::new(&Limits::default()),
            }
        }

        fn request(&self) -> Arc<Hold> {
            let owner = Arc::clone(&self.owner);
            self.budget.hold(Kind::Request, owner, None)
        }

        fn of_another(&self) -> Arc<Hold> {
            let owner = Owner::new(&Limits::default());
            self.budget.hold(Kind::Request, owner, None)
        }

        fn used(&self) -> usize {
            self.budget.state.lock().used
        }
    }

    fn is_revoked(hold: &Hold) -> bool {
        hold.revoked().now_or_never().is_some()
    }

    /// Weights are told apart by time: as if what is held had been for so long.
    fn age(hold: &Hold, seconds: u64) {
        let mut state = hold.budget.state.lock();
        let entry = state.holds.get_mut(&hold.number).unwrap();
        entry.since -= Duration::from_secs(seconds);
    }

    #[test]
    fn what_is_held_is_given_back_in_whatever_way_it_ends() {
        let case = Case::new(1_000);
        let hold = case.request();
        hold.take(300).unwrap();
        hold.take(100).unwrap();
        assert_eq!(case.used(), 400);
        assert_eq!(case.owner.held(), 400);
        hold.give(100);
        assert_eq!(case.used(), 300);
        hold.give(1_000);
        assert_eq!(case.used(), 0);
        hold.take(5).unwrap();
        drop(hold);
        assert_eq!((case.used(), case.owner.held()), (0, 0));
        assert!(case.budget.state.lock().holds.is_empty());
    }

    #[test]
    fn who_holds_much_for_long_gives_way() {
        let case = Case::new(1_000);
        let (old, young) = (case.of_another(), case.of_another());
        old.take(500).unwrap();
        age(&old, 2);
        young.take(400).unwrap();
        age(&young, 1);
        let next = case.request();
        next.take(200).unwrap();
        assert!(is_revoked(&old));
        assert!(!is_revoked(&young) && !is_revoked(&next));
        // What had to give way takes no more, and its bytes count until they are given back.
        assert_eq!(old.take(1).unwrap_err().code, Code::ResourceDepleted);
        assert_eq!(case.used(), 1_100);
        // Nor is there room for much more before that.
        assert!(next.take(26).is_err());
        next.take(25).unwrap();
        drop(old);
        assert_eq!(case.used(), 625);
        assert_eq!(case.budget.state.lock().leaving, 0);
        assert_eq!(case.budget.metrics.revoked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn one_owner_has_three_quarters_and_then_only_himself_to_push_out() {
        let case = Case::new(1_000);
        let other = case.of_another();
        other.take(250).unwrap();
        let (first, second) = (case.request(), case.request());
        first.take(600).unwrap();
        age(&first, 1);
        second.take(200).unwrap();
        assert!(is_revoked(&first) && !is_revoked(&other));
        drop(first);
        // A single request beyond the share pushes out nobody for long.
        drop(second);
        let whole = case.request();
        assert!(whole.take(751).is_err());
        whole.take(750).unwrap();
        assert!(!is_revoked(&other));
    }

    #[test]
    fn what_the_engine_works_on_stays_and_so_does_who_would_push_out_the_lighter() {
        let case = Case::new(1_000);
        let working = case.of_another();
        working.take(700).unwrap();
        working.fix();
        age(&working, 9);
        let long = case.request();
        long.take(200).unwrap();
        age(&long, 5);
        let short = case.of_another();
        short.take(100).unwrap();
        // The one that has held more for longer finds no room, and nobody leaves for it.
        assert!(long.take(100).is_err());
        assert!(!is_revoked(&working) && !is_revoked(&short));
        short.take(50).unwrap();
        assert!(is_revoked(&long));
    }

    #[test]
    fn among_many_small_ones_some_more_than_needed_give_way_at_once() {
        let case = Case::new(64_000);
        let all: Vec<_> = (0..640).map(|_| case.of_another()).collect();
        for hold in &all {
            hold.take(100).unwrap();
            age(hold, 1);
        }
        let next = case.request();
        next.take(100).unwrap();
        // A sixty-fourth is free beyond the hundred, and the oldest have left.
        let revoked = all.iter().filter(|hold| is_revoked(hold)).count();
        assert_eq!(revoked, 11);
        assert!(all[..11].iter().all(|hold| is_revoked(hold)));
        for _ in 0..10 {
            next.take(100).unwrap();
        }
        assert_eq!(all.iter().filter(|hold| is_revoked(hold)).count(), 11);
    }

    #[test]
    fn who_waits_for_days_with_little_stays_beside_who_has_much_for_seconds() {
        let case = Case::new(10_000_000);
        let patient = case.of_another();
        patient.take(1_000).unwrap();
        age(&patient, 1_000_000);
        let greedy = case.of_another();
        greedy.take(6_000_000).unwrap();
        age(&greedy, 1);
        case.request().take(5_000_000).unwrap();
        assert!(is_revoked(&greedy) && !is_revoked(&patient));
    }
}
