//! Versions that were doomed and are still read, and what else reclaiming remembers between steps.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::live::Hold;

/// What reclaiming needs to remember between its steps.
#[derive(Debug)]
pub(crate) struct Reclaim {
    /// What readers of doomed versions hold, by the number of the stream.
    holds: Mutex<HashMap<i64, Vec<Weak<Hold>>>>,
    /// Whether there may be holes that are still in a file.
    pub(crate) has_holes: AtomicBool,
    /// Locked by the thread that replaces segments. False once the catalog did not say whether
    /// one was replaced: only opening it anew will tell.
    pub(crate) may_replace: Mutex<bool>,
}

impl Default for Reclaim {
    fn default() -> Self {
        Self {
            holds: Mutex::default(),
            has_holes: AtomicBool::new(true),
            may_replace: Mutex::new(true),
        }
    }
}

impl Reclaim {
    pub(crate) fn hold(&self, stream: i64, hold: &Arc<Hold>) {
        let mut holds = self.holds.lock();
        let own = holds.entry(stream).or_default();
        own.push(Arc::downgrade(hold));
    }

    /// Whether a reader still has a doomed version of the stream open.
    pub(crate) fn is_held(&self, stream: i64) -> bool {
        let mut holds = self.holds.lock();
        let Some(own) = holds.get_mut(&stream) else {
            return false;
        };
        own.retain(|hold| hold.strong_count() > 0);
        let is_held = !own.is_empty();
        if !is_held {
            holds.remove(&stream);
        }
        is_held
    }
}
