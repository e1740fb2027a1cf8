//! A stream as the engine holds it: what readers see, and the lock writers take.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use pingthings_types::Version;
use uuid::Uuid;

use crate::buffer::Buffer;
use crate::catalog::Head;
use crate::tree::Address;

/// Kept by readers for as long as they read.
#[derive(Debug, Default)]
pub(crate) struct Hold;

/// What readers of the latest version see; replaced as a whole.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Another one after versions were doomed, so that the readers from before can be told.
    pub(crate) hold: Arc<Hold>,
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

/// What only the thread that writes the stream touches.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// How many buffered inserts are in which journal file.
    pub(crate) journal: Vec<(u32, usize)>,
    /// When the oldest buffered point came, by the clock.
    pub(crate) since_ns: Option<i64>,
    /// How many changes of the catalog had failed when the stream was last compared with it.
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

/// A stream that was used since the engine was opened.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) uuid: Uuid,
    /// Its number in the catalog.
    pub(crate) id: i64,
    /// Held through a whole insert or commit, its sync included, so that what one insert found
    /// is still so when it is acknowledged.
    pub(crate) writer: Mutex<Writer>,
    /// Locked only to copy or replace it, never while anything is written or read.
    view: RwLock<View>,
}

impl Stream {
    /// A stream as the catalog has it after so many failures.
    pub(crate) fn new(uuid: Uuid, head: Head, failures: u64) -> Self {
        let view = View {
            hold: Arc::default(),
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
