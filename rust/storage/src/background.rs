//! The background thread: commits old buffers, applies retention and reclaims space.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Error, io_error};
use crate::retention::TrimPrecision;
use crate::store::Store;

/// How often the thread applies retention and reclaims space, which takes longer.
const SLOW_PERIOD: Duration = Duration::from_mins(1);

/// The handle of the background thread.
#[derive(Debug)]
pub(crate) struct Background {
    store: Arc<Store>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Background {
    /// Starts the thread.
    pub(crate) fn start(store: Arc<Store>) -> Result<Self, Error> {
        let own = Arc::clone(&store);
        let thread = thread::Builder::new()
            .name("storage-background".to_owned())
            .spawn(move || run(&own))
            .map_err(|e| io_error("start", "background thread", e))?;
        Ok(Self {
            store,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The error of the last run, if it failed.
    pub(crate) fn error(&self) -> Option<Error> {
        self.store.due.error()
    }

    /// Stops the thread and waits for it.
    pub(crate) fn stop(&self) {
        self.store.due.stop();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

fn run(store: &Store) {
    let mut last_slow_run = Instant::now();
    while store.due.wait() {
        let is_slow_run = last_slow_run.elapsed() >= SLOW_PERIOD;
        let settled = store.catalog_writer.settle();
        let confirmed = settled.and_then(|()| store.journal.confirm());
        let done = confirmed.and_then(|()| store.flush_old()).and_then(|()| {
            if !is_slow_run {
                return Ok(());
            }
            last_slow_run = Instant::now();
            store.trim(TrimPrecision::Coarsely)?;
            store.sweep()?;
            store.compact_due()
        });
        // A quick run that succeeds must not clear the error of a slow run.
        if done.is_err() || is_slow_run {
            store.due.note(done.err());
        }
    }
}
