//! The memory allowance of a thread.

use std::cell::Cell;
use std::marker::PhantomData;

/// The allowance of threads without a limit.
const UNLIMITED: i64 = i64::MAX;

thread_local! {
    // Constant and without a destructor, so an allocator may use it at any time.
    static LEFT: Cell<i64> = const { Cell::new(UNLIMITED) };
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
        LEFT.set(signed(bytes).min(UNLIMITED - 1));
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
        LEFT.set(UNLIMITED);
    }
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
        LEFT.set(left.saturating_add(signed(bytes)).min(UNLIMITED - 1));
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
        LEFT.set(left.saturating_sub(signed(bytes)));
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

    #[test]
    fn an_allowance_applies_to_one_thread() {
        let _allowance = Allowance::new(0);
        let elsewhere = std::thread::spawn(|| take(1 << 30));
        assert!(elsewhere.join().unwrap());
        assert!(!take(1));
    }
}
