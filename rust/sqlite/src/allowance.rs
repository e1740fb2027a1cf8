//! The memory allowance of a thread.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, Ordering};

/// The allowance of threads without a limit.
const UNLIMITED: i64 = i64::MAX;

/// What all threads with an allowance have taken of it.
static HELD: AtomicI64 = AtomicI64::new(0);

thread_local! {
    // Constant and without a destructor, so an allocator may use it at any time.
    static LEFT: Cell<i64> = const { Cell::new(UNLIMITED) };
    static LIMIT: Cell<i64> = const { Cell::new(UNLIMITED) };
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// Limits the memory of this thread until it is dropped.
///
/// Memory that the thread frees is credited to it, whichever thread allocated it.
#[derive(Debug)]
pub struct Allowance {
    /// Not `Send`: it belongs to the thread that created it.
    _thread: PhantomData<*const ()>,
}

impl Allowance {
    /// Allows this thread to take `bytes` from now on. It replaces an earlier allowance.
    pub fn new(bytes: usize) -> Self {
        settle();
        let bytes = signed(bytes).min(UNLIMITED - 1);
        LIMIT.set(bytes);
        LEFT.set(bytes);
        REFUSED.set(false);
        Self {
            _thread: PhantomData,
        }
    }

    /// Whether an allocation was refused since it was created.
    pub fn was_refused(&self) -> bool {
        REFUSED.get()
    }

    /// The remaining bytes.
    pub fn left(&self) -> usize {
        usize::try_from(LEFT.get()).unwrap_or(0)
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        settle();
    }
}

/// Ends the allowance of this thread, if it has one.
fn settle() {
    let left = LEFT.replace(UNLIMITED);
    if left != UNLIMITED {
        // What was not freed by now, as the pages that a connection keeps, is no longer counted.
        HELD.fetch_sub(LIMIT.get() - left, Ordering::Relaxed);
    }
}

/// The bytes that all threads with an allowance hold at this moment.
pub fn held() -> usize {
    // A thread may free what it did not take.
    usize::try_from(HELD.load(Ordering::Relaxed)).unwrap_or(0)
}

/// Charges `bytes` of memory that `SQLite` does not allocate itself. Returns false, and charges
/// nothing, if less is left.
#[must_use]
pub fn take(bytes: usize) -> bool {
    let is_left = has(bytes);
    if is_left {
        charge(bytes);
    }
    is_left
}

/// Returns bytes that were charged by [`take`].
pub fn give_back(bytes: usize) {
    let left = LEFT.get();
    if left != UNLIMITED {
        let more = left.saturating_add(signed(bytes)).min(UNLIMITED - 1);
        HELD.fetch_sub(more - left, Ordering::Relaxed);
        LEFT.set(more);
    }
}

/// Whether `bytes` are left; if not, records the refusal.
pub(crate) fn has(bytes: usize) -> bool {
    let is_left = signed(bytes) <= LEFT.get();
    if !is_left {
        REFUSED.set(true);
    }
    is_left
}

/// Charges bytes that are already allocated, even beyond the allowance.
pub(crate) fn charge(bytes: usize) {
    let left = LEFT.get();
    if left != UNLIMITED {
        let less = left.saturating_sub(signed(bytes));
        HELD.fetch_add(left.saturating_sub(less), Ordering::Relaxed);
        LEFT.set(less);
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_bytes_are_unavailable_until_returned() {
        assert!(take(usize::MAX), "no allowance, no limit");
        let allowance = Allowance::new(100);
        assert!(take(60));
        assert!(!allowance.was_refused());
        assert!(!take(41));
        assert!(allowance.was_refused());
        assert_eq!(allowance.left(), 40);
        assert!(take(40));
        assert!(!take(1));
        give_back(60);
        assert_eq!(allowance.left(), 60);
        drop(allowance);
        assert!(take(1 << 40));
    }

    /// Other tests take from allowances of theirs meanwhile, but not as much.
    #[test]
    fn what_all_hold_is_known_until_they_end() {
        const MUCH: usize = 1 << 50;
        let allowance = Allowance::new(2 * MUCH);
        assert!(take(MUCH));
        assert!(held() >= MUCH);
        let elsewhere = std::thread::spawn(|| {
            let _allowance = Allowance::new(2 * MUCH);
            assert!(take(MUCH));
            assert!(held() >= 2 * MUCH);
        });
        elsewhere.join().unwrap();
        assert!(held() < 2 * MUCH);
        give_back(MUCH);
        assert!(held() < MUCH);
        assert!(take(MUCH));
        // One that takes its place, and its end.
        let next = Allowance::new(2 * MUCH);
        assert!(held() < MUCH);
        assert!(take(MUCH));
        drop(next);
        drop(allowance);
        assert!(held() < MUCH);
    }

    #[test]
    fn an_allowance_applies_to_one_thread() {
        let _allowance = Allowance::new(0);
        let elsewhere = std::thread::spawn(|| take(1 << 30));
        assert!(elsewhere.join().unwrap());
        assert!(!take(1));
    }
}
