//! The thread that does what is due without being asked.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::Error;
use crate::error::io_error;
use crate::store::Store;

/// How often to look whether something is due.
const PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Signal {
    is_stopped: Mutex<bool>,
    stopped: Condvar,
}

/// A thread that runs until stopped.
#[derive(Debug)]
pub(crate) struct Background {
    signal: Arc<Signal>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Background {
    /// Starts the thread.
    pub(crate) fn start(store: Arc<Store>) -> Result<Self, Error> {
        let signal = Arc::new(Signal::default());
        let own = Arc::clone(&signal);
        let thread = thread::Builder::new()
            .name("storage-background".to_owned())
            .spawn(move || run(&store, &own))
            .map_err(|e| io_error("start", "background thread", e))?;
        Ok(Self {
            signal,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Stops the thread and waits for it.
    pub(crate) fn stop(&self) {
        *self.signal.is_stopped.lock() = true;
        self.signal.stopped.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

fn run(store: &Store, signal: &Signal) {
    let mut is_stopped = signal.is_stopped.lock();
    while !*is_stopped {
        signal.stopped.wait_for(&mut is_stopped, PERIOD);
        if *is_stopped {
            return;
        }
        parking_lot::MutexGuard::unlocked(&mut is_stopped, || {
            // A failure will meet the next writer too; here nobody could be told.
            let _ = store.flush_old().and_then(|()| store.trim());
        });
    }
}
