//! Telling others of points as they are inserted.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use pingthings_types::Points;
use uuid::Uuid;

/// Somebody who is told of inserted points.
pub trait Watcher: Send + Sync {
    /// Points of one insert were acknowledged, sorted by time; those that the merge policy then
    /// left out are among them.
    ///
    /// Inserts into one stream are told in the order they were made. The stream cannot be written
    /// to meanwhile, so this must not take long nor call the engine.
    fn inserted(&self, uuid: Uuid, points: &Arc<Points>);
}

/// A watcher and what it is known by.
type Numbered = (u64, Arc<dyn Watcher>);

/// Who is told of which stream.
#[derive(Default)]
pub(crate) struct Watchers {
    next: AtomicU64,
    of: RwLock<HashMap<Uuid, Vec<Numbered>>>,
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchers").finish_non_exhaustive()
    }
}

impl Watchers {
    /// A copy of the points for those who watch the stream, if anybody does.
    pub(crate) fn copy(&self, uuid: Uuid, points: &Points) -> Option<Arc<Points>> {
        let is_watched = self.of.read().contains_key(&uuid);
        (is_watched && !points.is_empty()).then(|| Arc::new(points.clone()))
    }

    pub(crate) fn tell(&self, uuid: Uuid, points: &Arc<Points>) {
        for (_, watcher) in self.of.read().get(&uuid).into_iter().flatten() {
            watcher.inserted(uuid, points);
        }
    }

    /// Adds a watcher of a stream; gives its number.
    pub(crate) fn add(&self, uuid: Uuid, watcher: Arc<dyn Watcher>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut of = self.of.write();
        of.entry(uuid).or_default().push((number, watcher));
        number
    }

    /// Removes the watcher with this number.
    pub(crate) fn remove(&self, uuid: Uuid, number: u64) {
        let mut of = self.of.write();
        if let Some(watchers) = of.get_mut(&uuid) {
            watchers.retain(|(known, _)| *known != number);
            if watchers.is_empty() {
                of.remove(&uuid);
            }
        }
    }
}
