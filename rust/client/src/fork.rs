//! In how many forks' child this process is: what another number was made for belongs to a parent.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the forks this process is the child of.
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// Tells every client of this process that it now lives in the child of a fork.
///
/// Connections belong to threads that did not come along, so each client opens new ones at its next
/// call. To be called in the child, before any other call.
pub fn forked() {
    EPOCH.fetch_add(1, Ordering::SeqCst);
}

/// In how many forks' child this is: what another number was made for belongs to a parent.
pub(crate) fn epoch() -> u64 {
    EPOCH.load(Ordering::SeqCst)
}
