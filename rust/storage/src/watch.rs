//! Notifying watchers of inserted points.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use pingthings_types::Points;
use uuid::Uuid;

/// Receives the points that are inserted into a stream.
pub trait Watcher: Send + Sync {
    /// Called with the points of one acknowledged insert, sorted by time, including those that the
    /// merge policy discarded.
    ///
    /// Inserts into one stream are reported in the order in which they were made. The stream is
    /// locked for writing during the call, so it must return quickly and must not call the engine.
    fn inserted(&self, uuid: Uuid, points: &Arc<Points>);
}

/// A watcher and the number that identifies it.
type Registration = (u64, Arc<dyn Watcher>);

/// The watchers of each stream.
#[derive(Default)]
pub(crate) struct Watchers {
    next: AtomicU64,
    by_stream: RwLock<HashMap<Uuid, Vec<Registration>>>,
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchers").finish_non_exhaustive()
    }
}

impl Watchers {
    /// A copy of the points for the watchers of the stream, if it has any.
    pub(crate) fn copy(&self, uuid: Uuid, points: &Points) -> Option<Arc<Points>> {
        let is_watched = self.by_stream.read().contains_key(&uuid);
        (is_watched && !points.is_empty()).then(|| Arc::new(points.clone()))
    }

    pub(crate) fn notify(&self, uuid: Uuid, points: &Arc<Points>) {
        for (_, watcher) in self.by_stream.read().get(&uuid).into_iter().flatten() {
            watcher.inserted(uuid, points);
        }
    }

    /// Adds a watcher of a stream, and returns its number.
    pub(crate) fn add(&self, uuid: Uuid, watcher: Arc<dyn Watcher>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut by_stream = self.by_stream.write();
        by_stream.entry(uuid).or_default().push((number, watcher));
        number
    }

    /// Removes the watcher with this number.
    pub(crate) fn remove(&self, uuid: Uuid, number: u64) {
        let mut by_stream = self.by_stream.write();
        if let Some(watchers) = by_stream.get_mut(&uuid) {
            watchers.retain(|(known, _)| *known != number);
            if watchers.is_empty() {
                by_stream.remove(&uuid);
            }
        }
    }
}
