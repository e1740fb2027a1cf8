//! The thread that does what is due without being asked.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::Error;
use crate::error::io_error;
use crate::retention::Trim;
use crate::store::Store;

/// How often to look whether something is due.
const PERIOD: Duration = Duration::from_secs(1);

/// How many periods lie between two looks at what takes longer.
const SELDOM: u32 = 60;

#[derive(Debug, Default)]
struct Signal {
    is_stopped: Mutex<bool>,
    stopped: Condvar,
    error: Mutex<Option<Error>>,
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

    /// What failed the last time.
    pub(crate) fn error(&self) -> Option<Error> {
        self.signal.error.lock().clone()
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
    let mut period = 0;
    while !*is_stopped {
        signal.stopped.wait_for(&mut is_stopped, PERIOD);
        if *is_stopped {
            return;
        }
        period = (period + 1) % SELDOM;
        parking_lot::MutexGuard::unlocked(&mut is_stopped, || {
            let done = store.flush_old().and_then(|()| {
                if period > 0 {
                    return Ok(());
                }
                store.trim(Trim::Coarsely)?;
                store.sweep()?;
                store.compact_due()
            });
            // What failed seldom is not forgotten because what is done often succeeds.
            if done.is_err() || period == 0 {
                *signal.error.lock() = done.err();
            }
        });
    }
}
