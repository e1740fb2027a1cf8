//! What the background thread waits for, and where it says what failed.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::Error;

/// How often to look whether something is due.
const PERIOD: Duration = Duration::from_secs(1);

/// Wakes the thread, and tells what became of its work.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
    error: Mutex<Option<Error>>,
}

#[derive(Debug, Default)]
struct State {
    is_stopped: bool,
    is_due: bool,
}

impl Signal {
    /// Has the thread look at once.
    pub(crate) fn wake(&self) {
        self.state.lock().is_due = true;
        self.changed.notify_all();
    }

    /// Waits until something may be due; false once the thread is to end.
    pub(crate) fn wait(&self) -> bool {
        let mut state = self.state.lock();
        if !state.is_stopped && !state.is_due {
            self.changed.wait_for(&mut state, PERIOD);
        }
        state.is_due = false;
        !state.is_stopped
    }

    /// Has the thread end.
    pub(crate) fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.changed.notify_all();
    }

    /// Keeps what failed the last time, if anything did.
    pub(crate) fn note(&self, error: Option<Error>) {
        *self.error.lock() = error;
    }

    /// What failed the last time.
    pub(crate) fn error(&self) -> Option<Error> {
        self.error.lock().clone()
    }
}
