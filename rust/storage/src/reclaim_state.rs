//! The state that reclaiming keeps between its steps, such as readers of forgotten versions.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::live::ReadGuard;

/// State that reclaiming keeps between its steps.
#[derive(Debug)]
pub(crate) struct ReclaimState {
    /// The guards of readers that may have a forgotten version open, by stream number.
    guards: Mutex<HashMap<i64, Vec<Weak<ReadGuard>>>>,
    /// Whether some file may still contain holes.
    pub(crate) has_holes: AtomicBool,
    /// Held by the thread that replaces segments. False once a replacement failed in the catalog,
    /// so that its outcome is unknown: only reopening the directory tells.
    pub(crate) may_replace: Mutex<bool>,
}

impl Default for ReclaimState {
    fn default() -> Self {
        Self {
            guards: Mutex::default(),
            has_holes: AtomicBool::new(true),
            may_replace: Mutex::new(true),
        }
    }
}

impl ReclaimState {
    pub(crate) fn add_guard(&self, stream: i64, guard: &Arc<ReadGuard>) {
        let mut guards = self.guards.lock();
        let own = guards.entry(stream).or_default();
        own.push(Arc::downgrade(guard));
    }

    /// Whether a reader may still have a forgotten version of the stream open.
    pub(crate) fn has_readers(&self, stream: i64) -> bool {
        let mut guards = self.guards.lock();
        let Some(own) = guards.get_mut(&stream) else {
            return false;
        };
        own.retain(|guard| guard.strong_count() > 0);
        let has_readers = !own.is_empty();
        if !has_readers {
            guards.remove(&stream);
        }
        has_readers
    }
}
