//! The progress of inserts, for a caller that watches or stops them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How many points of one or more inserts were acknowledged.
#[derive(Debug, Default)]
pub struct InsertProgress {
    points: AtomicUsize,
    stopped: AtomicBool,
    changed: Notify,
}

impl InsertProgress {
    /// Number of acknowledged points, which are durable.
    pub fn points(&self) -> usize {
        self.points.load(Ordering::SeqCst)
    }

    /// Waits until more points were acknowledged since the last call, and returns their total
    /// number.
    pub async fn more(&self) -> usize {
        self.changed.notified().await;
        self.points()
    }

    /// Stops the inserts. They send nothing more and end when the parts in flight are answered.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(crate) fn add(&self, points: usize) {
        self.points.fetch_add(points, Ordering::SeqCst);
        // The notification is stored if nothing waits for it yet.
        self.changed.notify_one();
    }
}
