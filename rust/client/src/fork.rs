//! The fork epoch of this process. State of another epoch belongs to a parent process.

use std::sync::atomic::{AtomicU64, Ordering};

/// Number of forks between the first process and this one.
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// Tells every client of this process that it now runs in the child of a fork.
///
/// Connections belong to threads of the parent, which do not exist in the child. So each client
/// opens new connections at its next call. Must be called in the child before any other call.
pub fn after_fork_in_child() {
    EPOCH.fetch_add(1, Ordering::SeqCst);
}

/// The current epoch. State that stores another number was created before a fork.
pub(crate) fn epoch() -> u64 {
    EPOCH.load(Ordering::SeqCst)
}
