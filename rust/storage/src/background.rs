//! The thread that does what is due without being asked.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Error, io_error};
use crate::retention::Trim;
use crate::store::Store;

/// How often to look at what takes longer.
const SELDOM: Duration = Duration::from_mins(1);

/// A thread that runs until stopped.
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

    /// What failed the last time.
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
    let mut seldom = Instant::now();
    while store.due.wait() {
        let is_seldom = seldom.elapsed() >= SELDOM;
        let settled = store.ledger.settle();
        let confirmed = settled.and_then(|()| store.journal.confirm());
        let done = confirmed.and_then(|()| store.flush_old()).and_then(|()| {
            if !is_seldom {
                return Ok(());
            }
            seldom = Instant::now();
            store.trim(Trim::Coarsely)?;
            store.sweep()?;
            store.compact_due()
        });
        // What failed seldom is not forgotten because what is done often succeeds.
        if done.is_err() || is_seldom {
            store.due.note(done.err());
        }
    }
}
