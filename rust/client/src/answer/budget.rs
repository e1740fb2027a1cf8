//! How many bytes of answers may be here before they are handed over.
//!
//! A read says of each message how large it is. Once all of them together are over the limit, only
//! the oldest read goes on: it must end some time, and what it held is free then. The others give
//! their calls up and ask again, from where they were, when it is their turn. Merely not reading
//! would not do: unread answers take up the window of a connection, on which the oldest one may be.
//!
//! One answer alone takes no more than all of the memory, whoever sends it, and neither do all
//! messages that are being put together or unpacked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    answer::page_pool::PagePool,
    error::Error,
    stats::{Counters, GaugeGuard},
};

/// What a read under way may have on its way besides: a message that is not complete.
const IN_TRANSIT: u64 = 2 << 20;

#[derive(Debug)]
pub(crate) struct Budget {
    state: Mutex<State>,
    /// The most that one answer may take.
    max_answer: AtomicU64,
    /// What messages take that are not complete, beyond [`IN_TRANSIT`] of each.
    incomplete: AtomicU64,
    /// What reads before have left, which gives way to what others need.
    pub(crate) page_pool: Arc<PagePool>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct State {
    limit: u64,
    used: u64,
    next: u64,
    /// Reads that have not received all of their answer, the oldest first.
    reads: BTreeMap<u64, Arc<Notify>>,
    /// Those of them that wait for their turn.
    waiting: BTreeSet<u64>,
}

impl State {
    /// Whether a read may take so much more.
    fn may_take(&self, read: u64, bytes: u64) -> bool {
        self.used + bytes <= self.limit || self.reads.keys().next() == Some(&read)
    }

    /// Wakes the read that goes on whatever is used, and one more if there is room.
    fn wake(&mut self) {
        let oldest = self.reads.keys().next().copied();
        let first = oldest.filter(|read| self.waiting.contains(read));
        // A read that is woken needs room for more than a message, or it would soon wait again.
        let has_room = self.used <= self.limit / 4 * 3;
        let one_more = self
            .waiting
            .iter()
            .copied()
            .find(|&read| Some(read) != first);
        for read in first.into_iter().chain(one_more.filter(|_| has_room)) {
            self.waiting.remove(&read);
            if let Some(notify) = self.reads.get(&read) {
                notify.notify_one();
            }
        }
    }
}

/// What one read holds of the budget; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    read: u64,
    turn: Arc<Notify>,
    held: u64,
    /// Set aside for what is on its way; nothing while the read waits.
    in_transit: u64,
}

impl Budget {
    /// All answers together take about `limit`, and one of them `most`. Must be called on the runtime.
    pub(crate) fn new(limit: u64, max_answer: u64, counters: Arc<Counters>) -> Self {
        Self {
            page_pool: Arc::new(PagePool::new()),
            counters,
            max_answer: AtomicU64::new(max_answer),
            incomplete: AtomicU64::new(0),
            state: Mutex::new(State {
                limit,
                used: 0,
                next: 0,
                reads: BTreeMap::new(),
                waiting: BTreeSet::new(),
            }),
        }
    }

    /// Takes effect at once, also for reads under way.
    pub(crate) fn resize(&self, limit: u64, max_answer: u64) {
        self.max_answer.store(max_answer, Ordering::Relaxed);
        let mut state = self.state.lock();
        state.limit = limit;
        state.wake();
    }

    /// A place among the reads, younger than all others.
    pub(crate) fn begin_read(self: &Arc<Self>) -> Reservation {
        let mut state = self.state.lock();
        let read = state.next;
        state.next += 1;
        let turn = Arc::new(Notify::new());
        state.reads.insert(read, Arc::clone(&turn));
        drop(state);
        Reservation {
            budget: Arc::clone(self),
            read,
            turn,
            held: 0,
            in_transit: 0,
        }
    }
}

/// A message that is being put together, or unpacked; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct MessageMemory {
    budget: Arc<Budget>,
    bytes: u64,
}

impl MessageMemory {
    pub(crate) const fn new(budget: Arc<Budget>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Says, before that much memory is taken, that it is so large now, or will be.
    pub(crate) fn resize(&mut self, bytes: u64) -> Result<(), Error> {
        let beyond = |bytes: u64| bytes.saturating_sub(IN_TRANSIT);
        let (before, now) = (beyond(self.bytes), beyond(bytes));
        if now > before {
            let more = now - before;
            let max_answer = self.budget.max_answer.load(Ordering::Relaxed);
            let all = self.budget.incomplete.fetch_add(more, Ordering::Relaxed);
            if all.saturating_add(more) > max_answer {
                self.budget.incomplete.fetch_sub(more, Ordering::Relaxed);
                return Err(Error::too_large(max_answer));
            }
        } else if now < before {
            self.budget
                .incomplete
                .fetch_sub(before - now, Ordering::Relaxed);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for MessageMemory {
    fn drop(&mut self) {
        let beyond = self.bytes.saturating_sub(IN_TRANSIT);
        self.budget.incomplete.fetch_sub(beyond, Ordering::Relaxed);
    }
}

impl Reservation {
    /// Says that so many more bytes are here. False if the read is to wait for its turn, an error
    /// if it alone takes all of the memory.
    pub(crate) fn add(&mut self, bytes: u64) -> Result<bool, Error> {
        self.held += bytes;
        let counters = &self.budget.counters;
        counters.memory_held.add(bytes);
        counters.memory_peak.raise_to(counters.memory_held.get());
        let mut state = self.budget.state.lock();
        state.used += bytes;
        let may_go_on = state.may_take(self.read, 0);
        if !may_go_on {
            state.used -= std::mem::take(&mut self.in_transit);
            state.wake();
        }
        let room = state.limit.saturating_sub(state.used);
        drop(state);
        self.budget.page_pool.shrink(room);
        let max_answer = self.budget.max_answer.load(Ordering::Relaxed);
        if self.held > max_answer {
            return Err(Error::too_large(max_answer));
        }
        Ok(may_go_on)
    }

    /// Waits until the read may go on.
    pub(crate) async fn wait_for_turn(&mut self) {
        loop {
            {
                let mut state = self.budget.state.lock();
                if state.may_take(self.read, IN_TRANSIT) {
                    self.in_transit = IN_TRANSIT;
                    state.used += IN_TRANSIT;
                    return;
                }
                state.waiting.insert(self.read);
            }
            let waiting = WaitGuard(self, GaugeGuard::new(&self.budget.counters.reads_waiting));
            self.turn.notified().await;
            drop(waiting);
        }
    }

    /// Says that what was here is not needed any more.
    pub(crate) fn clear(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.budget.counters.memory_held.sub(held);
        let mut state = self.budget.state.lock();
        state.used -= held;
        state.wake();
    }

    /// Says that nothing more will come, while what is here is held until this is dropped.
    pub(crate) fn finish(&mut self) {
        let mut state = self.budget.state.lock();
        state.used -= std::mem::take(&mut self.in_transit);
        state.reads.remove(&self.read);
        state.wake();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.clear();
        self.finish();
    }
}

/// Somebody who may cease to wait.
struct WaitGuard<'a>(
    &'a Reservation,
    #[allow(dead_code, reason = "counts while it is here")] GaugeGuard<'a>,
);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.budget.state.lock().waiting.remove(&self.0.read);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Poll};

    use super::*;

    const MANY: u64 = 100 * IN_TRANSIT;

    async fn must_wait(reservation: &mut Reservation) -> bool {
        let mut turn = pin!(reservation.wait_for_turn());
        std::future::poll_fn(|cx| Poll::Ready(turn.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn over_the_limit_only_the_oldest_goes_on() {
        let budget = Arc::new(Budget::new(MANY, 20 * MANY, Arc::default()));
        let (mut old, mut young) = (budget.begin_read(), budget.begin_read());
        assert!(!must_wait(&mut old).await && !must_wait(&mut young).await);
        assert!(young.add(MANY / 2).unwrap());
        assert!(old.add(MANY / 4).unwrap());
        assert!(!young.add(MANY / 2).unwrap());
        assert!(must_wait(&mut young).await);
        assert!(old.add(10 * MANY).unwrap());
        old.finish();
        // It is the oldest now, whatever the other still holds.
        assert!(!must_wait(&mut young).await);
        let mut late = budget.begin_read();
        assert!(must_wait(&mut late).await);
        drop((old, young));
        assert!(!must_wait(&mut late).await);
        drop(late);
        assert_eq!(budget.state.lock().used, 0);
    }

    #[tokio::test]
    async fn no_more_reads_begin_than_have_room_for_a_message() {
        let budget = Arc::new(Budget::new(5 * IN_TRANSIT, MANY, Arc::default()));
        let mut reads: Vec<_> = (0..6).map(|_| budget.begin_read()).collect();
        let mut waiting = Vec::new();
        for read in &mut reads {
            waiting.push(must_wait(read).await);
        }
        assert_eq!(waiting, [false, false, false, false, false, true]);
        reads.remove(3);
        assert!(!must_wait(&mut reads[4]).await);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_when_there_is_room() {
        let budget = Arc::new(Budget::new(MANY, 20 * MANY, Arc::default()));
        let mut first = budget.begin_read();
        assert!(first.add(2 * MANY).unwrap());
        let woken: Vec<_> = (0..5)
            .map(|_| {
                let mut reservation = budget.begin_read();
                tokio::spawn(async move { reservation.wait_for_turn().await })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(first);
        for task in woken {
            task.await.unwrap();
        }
        assert!(budget.state.lock().waiting.is_empty());
        assert_eq!(budget.state.lock().used, 0);
    }

    #[tokio::test]
    async fn a_larger_limit_counts_at_once() {
        let budget = Arc::new(Budget::new(MANY, 20 * MANY, Arc::default()));
        let mut old = budget.begin_read();
        assert!(old.add(2 * MANY).unwrap());
        let mut young = budget.begin_read();
        assert!(must_wait(&mut young).await);
        budget.resize(4 * MANY, 5 * MANY);
        assert!(!must_wait(&mut young).await);
    }

    #[tokio::test]
    async fn one_answer_takes_no_more_than_there_is() {
        let budget = Arc::new(Budget::new(MANY, MANY + 10, Arc::default()));
        let mut reservation = budget.begin_read();
        assert!(reservation.add(MANY + 10).unwrap());
        let error = reservation.add(1).unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::TooLarge);
        budget.resize(MANY, MANY + 11);
        assert!(reservation.add(0).unwrap());
        drop(reservation);
        assert_eq!(budget.state.lock().used, 0);
    }

    #[tokio::test]
    async fn incomplete_messages_together_take_no_more_than_there_is() {
        let budget = Arc::new(Budget::new(MANY, MANY, Arc::default()));
        let incomplete = || MessageMemory::new(Arc::clone(&budget));
        let (mut one, mut two) = (incomplete(), incomplete());
        one.resize(IN_TRANSIT + MANY).unwrap();
        // Small ones are always taken.
        two.resize(IN_TRANSIT).unwrap();
        assert!(two.resize(IN_TRANSIT + 1).is_err());
        one.resize(IN_TRANSIT + MANY - 1).unwrap();
        two.resize(IN_TRANSIT + 1).unwrap();
        assert!(one.resize(u64::MAX).is_err());
        drop(two);
        one.resize(IN_TRANSIT + MANY).unwrap();
        one.resize(0).unwrap();
        assert_eq!(budget.incomplete.load(Ordering::Relaxed), 0);
        one.resize(IN_TRANSIT + 5).unwrap();
        drop(one);
        assert_eq!(budget.incomplete.load(Ordering::Relaxed), 0);
    }
}
