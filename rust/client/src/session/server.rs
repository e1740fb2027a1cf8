//! What a client remembers of its server, so that it need not find it out again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What is known about the server so far.
#[derive(Debug)]
pub(crate) struct Server {
    lacks_arrow: AtomicBool,
    points_per_call: AtomicUsize,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            lacks_arrow: AtomicBool::new(false),
            points_per_call: AtomicUsize::new(usize::MAX),
        }
    }
}

impl Server {
    pub(crate) fn has_arrow(&self) -> bool {
        !self.lacks_arrow.load(Ordering::Relaxed)
    }

    /// The most points it is known to take in one insert.
    pub(crate) fn points_per_call(&self) -> usize {
        self.points_per_call.load(Ordering::Relaxed)
    }

    /// Remembers that it refused more.
    pub(crate) fn lower_points_per_call(&self, points: usize) {
        self.points_per_call.fetch_min(points, Ordering::Relaxed);
    }

    /// Remembers that the server answers in points only.
    pub(crate) fn forgo_arrow(&self) {
        self.lacks_arrow.store(true, Ordering::Relaxed);
    }
}
