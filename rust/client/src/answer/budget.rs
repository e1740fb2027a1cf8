//! The memory limit of answers.
//!
//! Each read reports the size of every message that it receives. While all reads together exceed
//! the limit, only the oldest one continues; it ends at some time and then releases its memory. The
//! others cancel their calls, and request the remaining rows when it is their turn. It would not be
//! enough to stop reading: unread answers fill the receive window of a connection that the oldest
//! read may use.
//!
//! In addition, a single answer may not exceed the limit, and neither may all incomplete messages
//! together.

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

/// Memory that a running read may use in addition to its rows: an incomplete message.
const IN_TRANSIT: u64 = 2 << 20;

#[derive(Debug)]
pub(crate) struct Budget {
    state: Mutex<State>,
    /// The maximum size of one answer.
    max_answer: AtomicU64,
    /// The size of all incomplete messages, without the first [`IN_TRANSIT`] bytes of each.
    incomplete: AtomicU64,
    /// Memory of earlier reads, which is released when others need it.
    pub(crate) page_pool: Arc<PagePool>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct State {
    limit: u64,
    used: u64,
    next: u64,
    /// The reads whose answers are not complete, the oldest first.
    reads: BTreeMap<u64, Arc<Notify>>,
    /// The reads that wait for their turn.
    waiting: BTreeSet<u64>,
}

impl State {
    /// Whether a read may use this many bytes more.
    fn may_take(&self, read: u64, bytes: u64) -> bool {
        self.used + bytes <= self.limit || self.reads.keys().next() == Some(&read)
    }

    /// Wakes the oldest read, and one more if there is room.
    fn wake(&mut self) {
        let oldest = self.reads.keys().next().copied();
        let first = oldest.filter(|read| self.waiting.contains(read));
        // A read needs room for more than one message, or it would soon wait again.
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

/// The memory of one read, released when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    read: u64,
    wake: Arc<Notify>,
    held: u64,
    /// Memory reserved for a message that is arriving; 0 while the read waits.
    in_transit: u64,
}

impl Budget {
    /// Creates a budget in which all answers together use about `limit` bytes, and each of them at
    /// most `max_answer`. Must be called on the runtime.
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

    /// Changes the limits. This takes effect at once, also for running reads.
    pub(crate) fn resize(&self, limit: u64, max_answer: u64) {
        self.max_answer.store(max_answer, Ordering::Relaxed);
        let mut state = self.state.lock();
        state.limit = limit;
        state.wake();
    }

    /// Registers a read, which is the youngest.
    pub(crate) fn begin_read(self: &Arc<Self>) -> Reservation {
        let mut state = self.state.lock();
        let read = state.next;
        state.next += 1;
        let wake = Arc::new(Notify::new());
        state.reads.insert(read, Arc::clone(&wake));
        drop(state);
        Reservation {
            budget: Arc::clone(self),
            read,
            wake,
            held: 0,
            in_transit: 0,
        }
    }
}

/// The memory of a message that is being received or decompressed, released when it is dropped.
#[derive(Debug)]
pub(crate) struct MessageMemory {
    budget: Arc<Budget>,
    bytes: u64,
}

impl MessageMemory {
    pub(crate) const fn new(budget: Arc<Budget>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Reports the size that the message has, or is about to have. Called before the memory is
    /// allocated.
    pub(crate) fn resize(&mut self, bytes: u64) -> Result<(), Error> {
        let counted = |bytes: u64| bytes.saturating_sub(IN_TRANSIT);
        let (before, now) = (counted(self.bytes), counted(bytes));
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
        let counted = self.bytes.saturating_sub(IN_TRANSIT);
        self.budget.incomplete.fetch_sub(counted, Ordering::Relaxed);
    }
}

impl Reservation {
    /// Reports that more bytes have arrived. Returns false if the read must wait for its turn, and
    /// an error if its answer alone exceeds the limit.
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

    /// Waits until the read may continue.
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
            self.wake.notified().await;
            drop(waiting);
        }
    }

    /// Reports that the received bytes were discarded.
    pub(crate) fn clear(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.budget.counters.memory_held.sub(held);
        let mut state = self.budget.state.lock();
        state.used -= held;
        state.wake();
    }

    /// Reports that the answer is complete. Its memory still counts until this is dropped.
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

/// Removes a read from the waiting ones if its wait is cancelled.
struct WaitGuard<'a>(
    &'a Reservation,
    #[allow(dead_code, reason = "counts while it exists")] GaugeGuard<'a>,
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
    async fn over_the_limit_only_the_oldest_read_continues() {
        let budget = Arc::new(Budget::new(MANY, 20 * MANY, Arc::default()));
        let (mut old, mut young) = (budget.begin_read(), budget.begin_read());
        assert!(!must_wait(&mut old).await && !must_wait(&mut young).await);
        assert!(young.add(MANY / 2).unwrap());
        assert!(old.add(MANY / 4).unwrap());
        assert!(!young.add(MANY / 2).unwrap());
        assert!(must_wait(&mut young).await);
        assert!(old.add(10 * MANY).unwrap());
        old.finish();
        // It is the oldest now, and what the other one uses makes no difference.
        assert!(!must_wait(&mut young).await);
        let mut late = budget.begin_read();
        assert!(must_wait(&mut late).await);
        drop((old, young));
        assert!(!must_wait(&mut late).await);
        drop(late);
        assert_eq!(budget.state.lock().used, 0);
    }

    #[tokio::test]
    async fn reads_start_only_with_room_for_a_message() {
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
    async fn waiting_reads_are_woken_when_there_is_room() {
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
    async fn a_larger_limit_takes_effect_at_once() {
        let budget = Arc::new(Budget::new(MANY, 20 * MANY, Arc::default()));
        let mut old = budget.begin_read();
        assert!(old.add(2 * MANY).unwrap());
        let mut young = budget.begin_read();
        assert!(must_wait(&mut young).await);
        budget.resize(4 * MANY, 5 * MANY);
        assert!(!must_wait(&mut young).await);
    }

    #[tokio::test]
    async fn one_answer_may_not_exceed_the_limit() {
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
    async fn incomplete_messages_together_may_not_exceed_the_limit() {
        let budget = Arc::new(Budget::new(MANY, MANY, Arc::default()));
        let incomplete = || MessageMemory::new(Arc::clone(&budget));
        let (mut one, mut two) = (incomplete(), incomplete());
        one.resize(IN_TRANSIT + MANY).unwrap();
        // Small messages are always accepted.
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
