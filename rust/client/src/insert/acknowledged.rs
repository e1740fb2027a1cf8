//! How far inserts have come, for whoever wants to know on the way.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// What servers have acknowledged of one or more inserts.
#[derive(Debug, Default)]
pub struct Acknowledged {
    points: AtomicUsize,
    stopped: AtomicBool,
    more: Notify,
}

impl Acknowledged {
    /// Points that are durable.
    pub fn points(&self) -> usize {
        self.points.load(Ordering::SeqCst)
    }

    /// Waits until there are more than when this was last asked, and says how many there are.
    pub async fn more(&self) -> usize {
        self.more.notified().await;
        self.points()
    }

    /// Has the inserts send nothing further; they end when what is under way is answered.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(crate) fn add(&self, points: usize) {
        self.points.fetch_add(points, Ordering::SeqCst);
        // Kept for somebody who asks later.
        self.more.notify_one();
    }
}
