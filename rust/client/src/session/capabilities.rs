//! What the client has learned about the capabilities of its server.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The known capabilities of the server.
#[derive(Debug)]
pub(crate) struct Capabilities {
    lacks_arrow: AtomicBool,
    max_points_per_call: AtomicUsize,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            lacks_arrow: AtomicBool::new(false),
            max_points_per_call: AtomicUsize::new(usize::MAX),
        }
    }
}

impl Capabilities {
    pub(crate) fn supports_arrow(&self) -> bool {
        !self.lacks_arrow.load(Ordering::Relaxed)
    }

    /// The maximum number of points that the server accepts in one insert, as far as it is known.
    pub(crate) fn max_points_per_call(&self) -> usize {
        self.max_points_per_call.load(Ordering::Relaxed)
    }

    /// Records that the server refused more points than this.
    pub(crate) fn lower_max_points_per_call(&self, points: usize) {
        self.max_points_per_call
            .fetch_min(points, Ordering::Relaxed);
    }

    /// Records that the server does not support Arrow.
    pub(crate) fn mark_without_arrow(&self) {
        self.lacks_arrow.store(true, Ordering::Relaxed);
    }
}
