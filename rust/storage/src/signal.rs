//! The signal that wakes the background thread, and that holds the error of its last run.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::Error;

/// How often the thread runs.
const PERIOD: Duration = Duration::from_secs(1);

/// Wakes the background thread, and holds the error of its last run.
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
    /// Wakes the thread now.
    pub(crate) fn wake(&self) {
        self.state.lock().is_due = true;
        self.changed.notify_all();
    }

    /// Waits for the next run; returns false once the thread has to end.
    pub(crate) fn wait(&self) -> bool {
        let mut state = self.state.lock();
        if !state.is_stopped && !state.is_due {
            self.changed.wait_for(&mut state, PERIOD);
        }
        state.is_due = false;
        !state.is_stopped
    }

    /// Stops the thread.
    pub(crate) fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.changed.notify_all();
    }

    /// Stores the result of the last run.
    pub(crate) fn note(&self, error: Option<Error>) {
        *self.error.lock() = error;
    }

    /// The error of the last run, if it failed.
    pub(crate) fn error(&self) -> Option<Error> {
        self.error.lock().clone()
    }
}
