//! Memory that an insert borrows from its caller.

use std::sync::atomic::{AtomicBool, Ordering};

/// The caller's memory that the inserts of one call borrow.
///
/// A cancelled call may still be sending for a moment, while its caller uses the memory for
/// something else. Points that are read after [`MemoryBorrow::end`] are never stored.
#[derive(Debug, Default)]
pub struct MemoryBorrow(AtomicBool);

impl MemoryBorrow {
    /// Ends the borrow: the memory may change from now on.
    pub fn end(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the borrow has ended, so that the memory may have changed.
    pub fn is_ended(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
