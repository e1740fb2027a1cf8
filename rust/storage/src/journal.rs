//! The journal: inserts made durable before they are in a tree.

mod read;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;
use pingthings_types::{MergePolicy, Points};
use uuid::Uuid;

use crate::blocks::{Blocks, FileName};
use crate::error::io_error;
use crate::format::{
    FRAME_HEADER, JOURNAL_HEADER, Malformed, encode_insert, encode_mark, file_header, mark_offset,
    seal_frame,
};
use crate::group::Group;
use crate::manifest::Manifest;
use crate::{Durability, Error, Options};

pub(crate) use read::{Contents, Reading, read_file};

#[derive(Debug)]
struct Tail {
    /// The file written to; its successor is begun with the next write once it is sealed.
    number: u32,
    length: u64,
    /// How many frames it has.
    frames: u64,
    /// How many of them its marks say are on stable storage.
    marked: u64,
    is_sealed: bool,
    /// Why a write behind `length` failed, until what it left is cut off.
    torn: Option<Cow<'static, str>>,
}

/// Why a write failed that did not come to its end.
const PANICKED: &str = "a thread panicked while writing";

/// Inserts in files of frames, one frame for each sync.
#[derive(Debug)]
pub(crate) struct Journal {
    blocks: Arc<dyn Blocks>,
    manifest: Arc<Manifest>,
    /// The last change of the catalog.
    change: Arc<AtomicU64>,
    durability: Durability,
    file_bytes: u64,
    files: u32,
    group: Group<Vec<u8>, u32>,
    tail: Mutex<Tail>,
    /// Number of the last file, so that asking for it does not wait for a sync.
    current: AtomicU32,
    /// Number of the file written to; 0 before one is begun.
    written: AtomicU32,
    /// For each file, how many of its inserts are not in a tree yet.
    waiting: Mutex<BTreeMap<u32, usize>>,
}

fn unwritable(problem: Malformed) -> Error {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, problem.0);
    io_error("write to", "journal", source)
}

/// An insert as the journal keeps it.
#[derive(Debug)]
pub(crate) struct InsertRecord(Vec<u8>);

impl InsertRecord {
    pub(crate) fn new(
        uuid: Uuid,
        major: u64,
        policy: MergePolicy,
        points: &Points,
    ) -> Result<Self, Error> {
        let mut record = Vec::new();
        encode_insert(&mut record, uuid, major, policy, points).map_err(unwritable)?;
        Ok(Self(record))
    }
}

impl Journal {
    /// A journal whose next file comes after `last`; its frames say what `change` was.
    pub(crate) fn new(
        blocks: Arc<dyn Blocks>,
        manifest: Arc<Manifest>,
        change: Arc<AtomicU64>,
        last: u32,
        options: &Options,
    ) -> Self {
        Self {
            blocks,
            manifest,
            change,
            durability: options.durability,
            file_bytes: options.journal_file_bytes,
            files: options.journal_files,
            group: Group::default(),
            tail: Mutex::new(Tail {
                number: last,
                length: 0,
                frames: 0,
                marked: 0,
                is_sealed: true,
                torn: None,
            }),
            current: AtomicU32::new(last),
            written: AtomicU32::new(0),
            waiting: Mutex::default(),
        }
    }

    /// Writes an insert and returns once it is durable; gives the number of its file, in which it
    /// counts as waiting until released.
    pub(crate) fn insert(&self, record: InsertRecord) -> Result<u32, Error> {
        self.group.submit(record.0, |records| self.write(&records))
    }

    fn write(&self, records: &[Vec<u8>]) -> Result<u32, Error> {
        let mut tail = self.tail.lock();
        self.cut(&mut tail)?;
        if tail.is_sealed || tail.length >= self.file_bytes.saturating_add(JOURNAL_HEADER as u64) {
            self.begin(&mut tail)?;
        }
        let name = FileName::journal(tail.number);
        let length = records.iter().map(Vec::len).sum::<usize>();
        let mut frame = Vec::with_capacity(FRAME_HEADER + 8 + length);
        frame.resize(FRAME_HEADER, 0);
        frame.extend_from_slice(&self.change.load(Ordering::Acquire).to_le_bytes());
        for record in records {
            frame.extend_from_slice(record);
        }
        seal_frame(&mut frame, self.durability, tail.number, tail.length).map_err(unwritable)?;
        // What of the frame is on the disk is unknown until all of it is.
        tail.torn = Some(Cow::Borrowed(PANICKED));
        let written = self
            .blocks
            .write_at(name, tail.length, &frame)
            .map_err(|e| io_error("write to", name, e))
            .and_then(|()| match self.durability {
                // The same sync makes both safe: what the mark speaks of was so before.
                Durability::Synced => self.mark(name, tail.frames),
                Durability::Relaxed => Ok(()),
            })
            .and_then(|()| self.sync(name));
        if let Err(error) = written {
            tail.torn = Some(Cow::Owned(error.to_string()));
            let _ = self.cut(&mut tail);
            return Err(error);
        }
        tail.torn = None;
        if self.durability == Durability::Synced {
            tail.marked = tail.frames;
        }
        tail.frames += 1;
        tail.length += frame.len() as u64;
        *self.waiting.lock().entry(tail.number).or_default() += records.len();
        Ok(tail.number)
    }

    /// Says in the file that so many frames are on stable storage, once that is synced.
    fn mark(&self, name: FileName, frames: u64) -> Result<(), Error> {
        let offset = mark_offset(frames);
        self.blocks
            .write_at(name, offset, &encode_mark(name.number, offset, frames))
            .map_err(|e| io_error("write to", name, e))
    }

    /// Makes sure of every frame there is, and that none of them can go missing unnoticed: without
    /// that, the last one looks like one that was never acknowledged.
    pub(crate) fn confirm(&self) -> Result<(), Error> {
        let mut tail = self.tail.lock();
        if tail.is_sealed || tail.torn.is_some() || tail.marked == tail.frames {
            return Ok(());
        }
        let name = FileName::journal(tail.number);
        let sync = || {
            self.blocks
                .sync(name)
                .map_err(|e| io_error("sync", name, e))
        };
        if self.durability == Durability::Relaxed {
            sync()?;
        }
        self.mark(name, tail.frames)?;
        sync()?;
        tail.marked = tail.frames;
        drop(tail);
        Ok(())
    }

    fn sync(&self, name: FileName) -> Result<(), Error> {
        match self.durability {
            Durability::Synced => self
                .blocks
                .sync(name)
                .map_err(|e| io_error("sync", name, e)),
            Durability::Relaxed => Ok(()),
        }
    }

    /// Cuts off what a failed write left: only the last file may end in something not whole, so
    /// no other file is begun before this has succeeded.
    fn cut(&self, tail: &mut Tail) -> Result<(), Error> {
        let Some(cause) = tail.torn.clone() else {
            return Ok(());
        };
        // Never written behind again: a later sync need not bring what an earlier one did not.
        tail.is_sealed = true;
        let name = FileName::journal(tail.number);
        self.blocks
            .truncate(name, tail.length)
            .and_then(|()| self.blocks.sync(name))
            .map_err(|_| Error::JournalFailed {
                cause: cause.into_owned(),
            })?;
        tail.torn = None;
        Ok(())
    }

    /// Begins the next file.
    fn begin(&self, tail: &mut Tail) -> Result<(), Error> {
        let previous = (tail.length > 0).then_some(tail.number);
        if let Some(previous) = previous.filter(|_| self.durability == Durability::Relaxed) {
            // A file that is not the last one has to be whole whatever happens.
            let name = FileName::journal(previous);
            self.blocks
                .sync(name)
                .map_err(|e| io_error("sync", name, e))?;
        }
        let name = FileName::journal(tail.number + 1);
        self.blocks
            .create(name)
            .map_err(|e| io_error("create", name, e))?;
        let mut header = file_header(name).to_vec();
        header.resize(JOURNAL_HEADER, 0);
        self.blocks
            .write_at(name, 0, &header)
            .map_err(|e| io_error("write to", name, e))?;
        self.blocks
            .sync(name)
            .map_err(|e| io_error("sync", name, e))?;
        // Its first frame is only acknowledged once it is known that the file has to be there.
        self.manifest.write(|content| {
            content.last_journal = name.number;
            content.journal.insert(name.number, None);
            if let Some(previous) = previous {
                content.journal.insert(previous, Some(tail.length));
            }
        })?;
        *tail = Tail {
            number: name.number,
            length: JOURNAL_HEADER as u64,
            frames: 0,
            marked: 0,
            is_sealed: false,
            torn: None,
        };
        let is_over = {
            let mut waiting = self.waiting.lock();
            self.current.store(name.number, Ordering::Release);
            self.written.store(name.number, Ordering::Release);
            waiting.insert(name.number, 0);
            previous.filter(|previous| {
                let is_over = waiting.get(previous) == Some(&0);
                if is_over {
                    waiting.remove(previous);
                }
                is_over
            })
        };
        if let Some(previous) = is_over {
            self.remove(&[previous]);
        }
        Ok(())
    }

    /// Removes files nobody needs any more. If that fails they only take room until the next
    /// start: what is in them is older than the versions of its streams.
    fn remove(&self, numbers: &[u32]) {
        let listed = self.manifest.write(|content| {
            for number in numbers {
                content.journal.remove(number);
            }
        });
        // One that has to be there must not be missing.
        if listed.is_ok() {
            for &number in numbers {
                let _ = self.blocks.remove(FileName::journal(number));
            }
        }
    }

    /// Number of the last file.
    pub(crate) fn last(&self) -> u32 {
        self.current.load(Ordering::Acquire)
    }

    /// The last file that has to go: with it the journal would be longer than it may be.
    pub(crate) fn horizon(&self) -> u32 {
        let last = self.current.load(Ordering::Acquire);
        last.saturating_sub(self.files)
    }

    /// Counts inserts of a file found on opening as waiting.
    pub(crate) fn recovered(&self, number: u32) {
        *self.waiting.lock().entry(number).or_default() += 1;
    }

    /// Whether a file has inserts that are not in a tree yet.
    pub(crate) fn is_waiting(&self, number: u32) -> bool {
        self.waiting
            .lock()
            .get(&number)
            .is_some_and(|count| *count > 0)
    }

    /// Inserts are in a tree now: files all of whose inserts are, go.
    pub(crate) fn release(&self, files: &[(u32, usize)]) {
        let mut gone = Vec::new();
        {
            let mut waiting = self.waiting.lock();
            let written = self.written.load(Ordering::Acquire);
            for (number, count) in files {
                let Some(left) = waiting.get_mut(number) else {
                    continue;
                };
                *left = left.saturating_sub(*count);
                if *left == 0 && *number != written {
                    waiting.remove(number);
                    gone.push(*number);
                }
            }
        }
        if !gone.is_empty() {
            self.remove(&gone);
        }
    }
}
