//! The budget of memory for callers: requests that arrive, and answers that are not yet read.
//!
//! Bytes are reserved before they are allocated. If the budget is full, the hold with the largest
//! product of bytes and time without progress is revoked. A revoked request is refused; a revoked
//! answer loses its connection. What the engine works on is never revoked.

use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use pingthings_types::Code;

use crate::account::{Account, share};
use crate::metrics::Metrics;
use crate::peer::{Control, End};
use crate::status::Refusal;
use crate::weighted_hold::WeightedHold;

/// One part in this many of the limit may be used beyond it, until the memory of revoked holds is
/// free.
const OVERSHOOT_DIVISOR: usize = 8;
/// One part in this many of the limit is freed beyond what is needed, so that not every call has to
/// search all holds.
const SPARE_DIVISOR: usize = 64;
/// A longer time without progress does not increase the weight of a hold.
const MAX_AGE: Duration = Duration::from_mins(1);
/// The estimated size of a call that waits for the rest of its request, or for a short answer to be
/// read: its task, buffers and state. Its headers are counted separately.
pub(crate) const CALL_BYTES: usize = 16 << 10;

/// The budget and all holds on it.
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
    /// The part of `used` that belongs to revoked holds and will be free soon.
    revoked: usize,
    holds: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    bytes: usize,
    /// The time of the last progress.
    since: Instant,
    is_revoked: bool,
    holder: Arc<Holder>,
}

/// The owner of a hold, and the means to revoke it.
#[derive(Debug)]
struct Holder {
    account: Arc<Account>,
    control: Option<Arc<Control>>,
    kind: HoldKind,
    /// Whether the engine works on it, so that it cannot be revoked.
    is_irrevocable: AtomicBool,
    /// Whether it is for an open answer, whose number is limited separately.
    is_open_answer: AtomicBool,
    is_revoked: AtomicBool,
    task: AtomicWaker,
}

/// What a hold is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldKind {
    Request,
    Answer,
}

/// The bytes reserved for the request or answer of one call. Dropping it releases them.
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

    /// A hold for a call, at first without bytes.
    pub(crate) fn new_hold(
        self: &Arc<Self>,
        kind: HoldKind,
        account: Arc<Account>,
        control: Option<Arc<Control>>,
    ) -> Arc<Hold> {
        Arc::new(Hold {
            budget: Arc::clone(self),
            number: self.next.fetch_add(1, Ordering::Relaxed),
            holder: Arc::new(Holder {
                account,
                control,
                kind,
                is_irrevocable: AtomicBool::new(false),
                is_open_answer: AtomicBool::new(false),
                is_revoked: AtomicBool::new(false),
                task: AtomicWaker::new(),
            }),
        })
    }

    fn refusal(&self) -> Refusal {
        Refusal::new(
            Code::ResourceDepleted,
            format!(
                "the memory for requests and answers, {} MiB, is in use (one caller may use three \
                 quarters of it): try again later",
                self.limit >> 20
            ),
        )
    }

    fn update_metric(&self, state: &State) {
        let used = i64::try_from(state.used).unwrap_or(i64::MAX);
        self.metrics.held_bytes.store(used, Ordering::Relaxed);
    }
}

impl State {
    /// Makes room for `bytes` more, and returns whether there is room. Adds the holders to revoke
    /// for it to `victims`.
    fn make_room(
        &mut self,
        hold: &Hold,
        bytes: usize,
        limit: usize,
        victims: &mut Vec<Arc<Holder>>,
    ) -> bool {
        // The share of the account is checked first, then the limit of all.
        self.make_room_among(hold, bytes, limit, true, victims)
            && self.make_room_among(hold, bytes, limit, false, victims)
            // Revoked bytes stay in use until their holder releases them.
            && self.used + bytes <= limit + limit / OVERSHOOT_DIVISOR
    }

    /// Makes room within the share of the account (`is_own`), or within the limit of all.
    fn make_room_among(
        &mut self,
        hold: &Hold,
        bytes: usize,
        limit: usize,
        is_own: bool,
        victims: &mut Vec<Arc<Holder>>,
    ) -> bool {
        let account = &hold.holder.account;
        let max = if is_own { share(limit) } else { limit };
        let held = |state: &Self| {
            if is_own {
                account.held()
            } else {
                state.used - state.revoked
            }
        };
        if held(self) + bytes <= max {
            return true;
        }
        let now = Instant::now();
        let own = self
            .holds
            .get(&hold.number)
            .map_or(0.0, |entry| entry.weight(now));
        let others = self.holds.iter().filter(|(number, entry)| {
            **number != hold.number
                && !entry.is_revoked
                && !entry.holder.is_irrevocable.load(Ordering::Relaxed)
                && (!is_own || Arc::ptr_eq(&entry.holder.account, account))
        });
        let heavier = others
            .map(|(&number, entry)| WeightedHold {
                weight: entry.weight(now),
                number,
            })
            .filter(|weighed| weighed.weight > own);
        let mut heaviest: BinaryHeap<WeightedHold> = heavier.collect();
        while held(self) + bytes + max / SPARE_DIVISOR > max
            && let Some(WeightedHold { number, .. }) = heaviest.pop()
        {
            if let Some(entry) = self.holds.get_mut(&number) {
                entry.is_revoked = true;
                self.revoked += entry.bytes;
                entry.holder.account.release(entry.bytes);
                victims.push(Arc::clone(&entry.holder));
            }
        }
        held(self) + bytes <= max
    }
}

impl Entry {
    /// Bytes times seconds.
    #[allow(clippy::cast_precision_loss, reason = "only compared")]
    fn weight(&self, now: Instant) -> f64 {
        let age = now.duration_since(self.since).min(MAX_AGE);
        self.bytes as f64 * age.as_secs_f64()
    }
}

impl Holder {
    fn revoke(&self) {
        self.is_revoked.store(true, Ordering::Relaxed);
        self.task.wake();
        if self.kind == HoldKind::Answer
            && let Some(control) = &self.control
        {
            // A client that does not read cannot be notified, and its memory would stay in use.
            control.end(End::Cut);
        }
    }
}

impl Hold {
    /// Reserves bytes that are about to be allocated.
    ///
    /// # Errors
    /// If there is no room for them, or if the hold was revoked: status 426.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<(), Refusal> {
        let budget = &*self.budget;
        let mut victims = Vec::new();
        let mut state = budget.state.lock();
        let is_revoked = self.holder.is_revoked.load(Ordering::Relaxed)
            || state
                .holds
                .get(&self.number)
                .is_some_and(|entry| entry.is_revoked);
        let has_room = !is_revoked && state.make_room(self, bytes, budget.limit, &mut victims);
        if has_room {
            state.used += bytes;
            self.holder.account.reserve(bytes);
            let entry = state.holds.entry(self.number).or_insert_with(|| Entry {
                bytes: 0,
                since: Instant::now(),
                is_revoked: false,
                holder: Arc::clone(&self.holder),
            });
            entry.bytes += bytes;
        }
        budget.update_metric(&state);
        drop(state);
        let count = victims.len() as u64;
        budget
            .metrics
            .memory_revocations
            .fetch_add(count, Ordering::Relaxed);
        for victim in victims {
            victim.revoke();
        }
        if has_room {
            Ok(())
        } else {
            Err(budget.refusal())
        }
    }

    /// Releases bytes. This counts as progress.
    pub(crate) fn release(&self, bytes: usize) {
        let mut state = self.budget.state.lock();
        let state = &mut *state;
        if let Some(entry) = state.holds.get_mut(&self.number) {
            let bytes = bytes.min(entry.bytes);
            entry.bytes -= bytes;
            entry.since = Instant::now();
            state.used -= bytes;
            if entry.is_revoked {
                state.revoked -= bytes;
            } else {
                entry.holder.account.release(bytes);
            }
            if entry.bytes == 0 && !entry.is_revoked {
                state.holds.remove(&self.number);
            }
        }
        self.budget.update_metric(state);
    }

    /// Prevents the hold from being revoked, because the engine works on its bytes.
    pub(crate) fn make_irrevocable(&self) {
        self.holder.is_irrevocable.store(true, Ordering::Relaxed);
    }

    /// Marks the hold as that of an open answer, whose number is limited separately.
    pub(crate) fn mark_open_answer(&self) {
        self.holder.is_open_answer.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_open_answer(&self) -> bool {
        self.holder.is_open_answer.load(Ordering::Relaxed)
    }

    /// Ready once the hold is revoked.
    pub(crate) fn poll_revoked(&self, cx: &Context<'_>) -> Poll<Refusal> {
        self.holder.task.register(cx.waker());
        if self.holder.is_revoked.load(Ordering::Relaxed) {
            Poll::Ready(self.budget.refusal())
        } else {
            Poll::Pending
        }
    }

    /// Waits until the hold is revoked.
    pub(crate) async fn revoked(&self) -> Refusal {
        std::future::poll_fn(|cx| self.poll_revoked(cx)).await
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.budget.state.lock();
        if let Some(entry) = state.holds.remove(&self.number) {
            state.used -= entry.bytes;
            if entry.is_revoked {
                state.revoked -= entry.bytes;
            } else {
                entry.holder.account.release(entry.bytes);
            }
            self.budget.update_metric(&state);
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
        account: Arc<Account>,
    }

    impl Case {
        fn new(limit: usize) -> Self {
            Self {
                budget: Budget::new(limit, Arc::default()),
                account: Account::new(&Limits::default()),
            }
        }

        fn request(&self) -> Arc<Hold> {
            let account = Arc::clone(&self.account);
            self.budget.new_hold(HoldKind::Request, account, None)
        }

        fn other_account(&self) -> Arc<Hold> {
            let account = Account::new(&Limits::default());
            self.budget.new_hold(HoldKind::Request, account, None)
        }

        fn used(&self) -> usize {
            self.budget.state.lock().used
        }
    }

    fn is_revoked(hold: &Hold) -> bool {
        hold.revoked().now_or_never().is_some()
    }

    /// Makes a hold older, to change its weight.
    fn age(hold: &Hold, seconds: u64) {
        let mut state = hold.budget.state.lock();
        let entry = state.holds.get_mut(&hold.number).unwrap();
        entry.since -= Duration::from_secs(seconds);
    }

    #[test]
    fn bytes_are_released_by_call_and_by_drop() {
        let case = Case::new(1_000);
        let hold = case.request();
        hold.reserve(300).unwrap();
        hold.reserve(100).unwrap();
        assert_eq!(case.used(), 400);
        assert_eq!(case.account.held(), 400);
        hold.release(100);
        assert_eq!(case.used(), 300);
        hold.release(1_000);
        assert_eq!(case.used(), 0);
        hold.reserve(5).unwrap();
        drop(hold);
        assert_eq!((case.used(), case.account.held()), (0, 0));
        assert!(case.budget.state.lock().holds.is_empty());
    }

    #[test]
    fn the_hold_with_most_bytes_times_seconds_is_revoked() {
        let case = Case::new(1_000);
        let (old, young) = (case.other_account(), case.other_account());
        old.reserve(500).unwrap();
        age(&old, 2);
        young.reserve(400).unwrap();
        age(&young, 1);
        let next = case.request();
        next.reserve(200).unwrap();
        assert!(is_revoked(&old));
        assert!(!is_revoked(&young) && !is_revoked(&next));
        // A revoked hold cannot reserve more, and its bytes count until they are released.
        assert_eq!(old.reserve(1).unwrap_err().code, Code::ResourceDepleted);
        assert_eq!(case.used(), 1_100);
        // Until then, only an eighth of the limit is available beyond it.
        assert!(next.reserve(26).is_err());
        next.reserve(25).unwrap();
        drop(old);
        assert_eq!(case.used(), 625);
        assert_eq!(case.budget.state.lock().revoked, 0);
        assert_eq!(
            case.budget
                .metrics
                .memory_revocations
                .load(Ordering::Relaxed),
            1
        );
    }

    #[test]
    fn one_account_gets_three_quarters_and_then_revokes_only_its_own() {
        let case = Case::new(1_000);
        let other = case.other_account();
        other.reserve(250).unwrap();
        let (first, second) = (case.request(), case.request());
        first.reserve(600).unwrap();
        age(&first, 1);
        second.reserve(200).unwrap();
        assert!(is_revoked(&first) && !is_revoked(&other));
        drop(first);
        // A single request beyond the share is refused and revokes no other hold.
        drop(second);
        let whole = case.request();
        assert!(whole.reserve(751).is_err());
        whole.reserve(750).unwrap();
        assert!(!is_revoked(&other));
    }

    #[test]
    fn irrevocable_and_lighter_holds_are_not_revoked() {
        let case = Case::new(1_000);
        let working = case.other_account();
        working.reserve(700).unwrap();
        working.make_irrevocable();
        age(&working, 9);
        let long = case.request();
        long.reserve(200).unwrap();
        age(&long, 5);
        let short = case.other_account();
        short.reserve(100).unwrap();
        // The heavier hold finds no room, and no lighter one is revoked for it.
        assert!(long.reserve(100).is_err());
        assert!(!is_revoked(&working) && !is_revoked(&short));
        short.reserve(50).unwrap();
        assert!(is_revoked(&long));
    }

    #[test]
    fn some_more_small_holds_than_needed_are_revoked_at_once() {
        let case = Case::new(64_000);
        let all: Vec<_> = (0..640).map(|_| case.other_account()).collect();
        for hold in &all {
            hold.reserve(100).unwrap();
            age(hold, 1);
        }
        let next = case.request();
        next.reserve(100).unwrap();
        // A sixty-fourth of the limit is freed beyond the needed bytes. The oldest are revoked.
        let revoked = all.iter().filter(|hold| is_revoked(hold)).count();
        assert_eq!(revoked, 11);
        assert!(all[..11].iter().all(|hold| is_revoked(hold)));
        for _ in 0..10 {
            next.reserve(100).unwrap();
        }
        assert_eq!(all.iter().filter(|hold| is_revoked(hold)).count(), 11);
    }

    #[test]
    fn a_small_old_hold_stays_while_a_large_young_one_is_revoked() {
        let case = Case::new(10_000_000);
        let patient = case.other_account();
        patient.reserve(1_000).unwrap();
        age(&patient, 1_000_000);
        let greedy = case.other_account();
        greedy.reserve(6_000_000).unwrap();
        age(&greedy, 1);
        case.request().reserve(5_000_000).unwrap();
        assert!(is_revoked(&greedy) && !is_revoked(&patient));
    }
}
