//! Memory that is lent for an insert.

use std::sync::atomic::{AtomicBool, Ordering};

/// The memory of one call's inserts, lent by whoever made the call.
///
/// A call that is cancelled may be sending for a moment longer, while its caller takes the memory for
/// something else. What is read after [`Loan::take_back`] is never stored.
#[derive(Debug, Default)]
pub struct Loan(AtomicBool);

impl Loan {
    /// Says that the memory may change from now on.
    pub fn take_back(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the memory may have changed.
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
