//! The state of a stream in memory: what readers see, and the lock for writers.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use pingthings_types::Version;
use uuid::Uuid;

use crate::buffer::Buffer;
use crate::catalog::Head;
use crate::tree::Address;

/// Keeps the blocks of the versions that were readable when it was created from being reclaimed.
/// Readers share it through an `Arc` until they are done.
#[derive(Debug, Default)]
pub(crate) struct ReadGuard;

/// What readers of the latest version see; replaced as one value.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Replaced whenever versions are forgotten, so that readers from before can be distinguished.
    pub(crate) guard: Arc<ReadGuard>,
    /// Whether the stream was obliterated.
    pub(crate) is_gone: bool,
    pub(crate) major: u64,
    pub(crate) root: Option<Address>,
    pub(crate) buffer: Arc<Buffer>,
}

impl View {
    pub(crate) fn version(&self) -> Version {
        Version {
            major: self.major,
            minor: self.buffer.len() as u64,
        }
    }
}

/// State that only the thread that writes the stream accesses.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// The number of buffered inserts in each journal file.
    pub(crate) journal: Vec<(u32, usize)>,
    /// Wall-clock time at which the oldest buffered point arrived.
    pub(crate) since_ns: Option<i64>,
    /// Number of failed catalog changes when the stream was last compared with the catalog.
    pub(crate) failures: u64,
}

impl Writer {
    pub(crate) fn note(&mut self, file: u32, now_ns: i64) {
        match self.journal.last_mut() {
            Some((last, count)) if *last == file => *count += 1,
            _ => self.journal.push((file, 1)),
        }
        self.since_ns.get_or_insert(now_ns);
    }
}

/// A stream that was accessed since the engine was opened.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) uuid: Uuid,
    /// Its number in the catalog.
    pub(crate) id: i64,
    /// Held during a complete insert or commit, including its sync, so that the version the insert
    /// was made on is still the latest when it is acknowledged.
    pub(crate) writer: Mutex<Writer>,
    /// Locked only to copy or replace the view, never during I/O.
    view: RwLock<View>,
}

impl Stream {
    /// A stream with the state the catalog had after `failures` failed changes.
    pub(crate) fn new(uuid: Uuid, head: Head, failures: u64) -> Self {
        let view = View {
            guard: Arc::default(),
            is_gone: false,
            major: head.major,
            root: head.root,
            buffer: Arc::default(),
        };
        Self {
            uuid,
            id: head.stream,
            writer: Mutex::new(Writer {
                failures,
                ..Writer::default()
            }),
            view: RwLock::new(view),
        }
    }

    pub(crate) fn view(&self) -> View {
        self.view.read().clone()
    }

    pub(crate) fn publish(&self, view: View) {
        *self.view.write() = view;
    }
}
