//! How many bytes a thread may still take.

use std::cell::Cell;
use std::marker::PhantomData;

/// What threads without an allowance have left.
const UNLIMITED: i64 = i64::MAX;

thread_local! {
    // Nothing to drop and nothing to set up: an allocator may ask at any time.
    static LEFT: Cell<i64> = const { Cell::new(UNLIMITED) };
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// Holds this thread to some bytes, until it is dropped.
///
/// What the thread frees counts in its favour, whoever took it.
#[derive(Debug)]
pub struct Allowance {
    /// It means the thread that made it.
    _thread: PhantomData<*const ()>,
}

impl Allowance {
    /// This thread may take `bytes` from now on. It takes the place of an allowance before.
    pub fn new(bytes: usize) -> Self {
        LEFT.set(signed(bytes).min(UNLIMITED - 1));
        REFUSED.set(false);
        Self {
            _thread: PhantomData,
        }
    }

    /// Whether anything was refused since it was made.
    pub fn was_refused(&self) -> bool {
        REFUSED.get()
    }

    /// The bytes that are left.
    pub fn left(&self) -> usize {
        usize::try_from(LEFT.get()).unwrap_or(0)
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        LEFT.set(UNLIMITED);
    }
}

/// Takes `bytes` for memory that `SQLite` knows nothing of. False if there are not as many left;
/// then none are taken.
#[must_use]
pub fn take(bytes: usize) -> bool {
    let is_left = has(bytes);
    if is_left {
        charge(bytes);
    }
    is_left
}

/// Gives back what [`take`] took.
pub fn give_back(bytes: usize) {
    let left = LEFT.get();
    if left != UNLIMITED {
        LEFT.set(left.saturating_add(signed(bytes)).min(UNLIMITED - 1));
    }
}

/// Whether `bytes` are left; if not, notes that they were refused.
pub(crate) fn has(bytes: usize) -> bool {
    let is_left = signed(bytes) <= LEFT.get();
    if !is_left {
        REFUSED.set(true);
    }
    is_left
}

/// Notes what was taken already, be it left or not.
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
    fn what_is_taken_is_missing_until_it_comes_back() {
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
    fn it_is_of_one_thread() {
        let _allowance = Allowance::new(0);
        let elsewhere = std::thread::spawn(|| take(1 << 30));
        assert!(elsewhere.join().unwrap());
        assert!(!take(1));
    }
}
