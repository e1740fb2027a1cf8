//! The journal: the write-ahead log of inserts that are not in a tree yet.

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

pub(crate) use read::{Contents, ReadOptions, read_file};

#[derive(Debug)]
struct Tail {
    /// The file written to. Once it is sealed, the next write starts its successor.
    number: u32,
    length: u64,
    /// Number of frames in it.
    frames: u64,
    /// Number of frames that its marks declare to be on stable storage.
    marked: u64,
    is_sealed: bool,
    /// Set if a write at `length` failed, until its remains are cut off; says why.
    torn: Option<Cow<'static, str>>,
}

/// The cause reported for a write that panicked.
const PANICKED: &str = "a thread panicked while writing";

/// Files of frames; a frame contains the inserts of one sync.
#[derive(Debug)]
pub(crate) struct Journal {
    blocks: Arc<dyn Blocks>,
    manifest: Arc<Manifest>,
    /// Number of the last change of the catalog.
    change: Arc<AtomicU64>,
    durability: Durability,
    file_bytes: u64,
    files: u32,
    group: Group<Vec<u8>, u32>,
    tail: Mutex<Tail>,
    /// Number of the last file, kept here so that reading it does not wait for a sync.
    current: AtomicU32,
    /// Number of the file written to; 0 before there is one.
    written: AtomicU32,
    /// For each file, the number of its inserts that are not in a tree yet.
    waiting: Mutex<BTreeMap<u32, usize>>,
}

fn unwritable(problem: Malformed) -> Error {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, problem.0);
    io_error("write to", "journal", source)
}

/// The encoded journal record of an insert.
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
    /// A journal whose next file comes after `last`; its frames carry the value of `change`.
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

    /// Writes an insert and waits until it is durable. Returns the number of its file, in which it
    /// counts as waiting until it is released.
    pub(crate) fn insert(&self, record: InsertRecord) -> Result<u32, Error> {
        self.group.submit(record.0, |records| self.write(&records))
    }

    fn write(&self, records: &[Vec<u8>]) -> Result<u32, Error> {
        let mut tail = self.tail.lock();
        self.cut_off_torn_frame(&mut tail)?;
        if tail.is_sealed || tail.length >= self.file_bytes.saturating_add(JOURNAL_HEADER as u64) {
            self.start_file(&mut tail)?;
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
        // Until the write has succeeded, any part of the frame may be on the disk.
        tail.torn = Some(Cow::Borrowed(PANICKED));
        let written = self
            .blocks
            .write_at(name, tail.length, &frame)
            .map_err(|e| io_error("write to", name, e))
            .and_then(|()| match self.durability {
                // One sync makes the frame and the mark durable: the frames that the mark counts
                // already were.
                Durability::Synced => self.mark(name, tail.frames),
                Durability::Relaxed => Ok(()),
            })
            .and_then(|()| self.sync(name));
        if let Err(error) = written {
            tail.torn = Some(Cow::Owned(error.to_string()));
            let _ = self.cut_off_torn_frame(&mut tail);
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

    /// Writes a mark, which declares the first `frames` frames durable once it is synced.
    fn mark(&self, name: FileName, frames: u64) -> Result<(), Error> {
        let offset = mark_offset(frames);
        self.blocks
            .write_at(name, offset, &encode_mark(name.number, offset, frames))
            .map_err(|e| io_error("write to", name, e))
    }

    /// Syncs all frames and marks the last one. An unmarked last frame could get lost unnoticed,
    /// because it looks like a write that was never acknowledged.
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

    /// Cuts off the remains of a failed write. Only the last file may end in an incomplete frame,
    /// so no other file is started before this has succeeded.
    fn cut_off_torn_frame(&self, tail: &mut Tail) -> Result<(), Error> {
        let Some(cause) = tail.torn.clone() else {
            return Ok(());
        };
        // Nothing is appended to this file again: a later sync need not write what an earlier one
        // failed to write.
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

    /// Creates the next file.
    fn start_file(&self, tail: &mut Tail) -> Result<(), Error> {
        let previous = (tail.length > 0).then_some(tail.number);
        if let Some(previous) = previous.filter(|_| self.durability == Durability::Relaxed) {
            // Only the last file may be incomplete after a power failure.
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
        // The manifest lists the file before its first frame is acknowledged, so that a missing
        // file is noticed.
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
        let finished = {
            let mut waiting = self.waiting.lock();
            self.current.store(name.number, Ordering::Release);
            self.written.store(name.number, Ordering::Release);
            waiting.insert(name.number, 0);
            previous.filter(|previous| {
                let is_finished = waiting.get(previous) == Some(&0);
                if is_finished {
                    waiting.remove(previous);
                }
                is_finished
            })
        };
        if let Some(previous) = finished {
            self.remove(&[previous]);
        }
        Ok(())
    }

    /// Removes files without waiting inserts. A file that cannot be removed only takes space until
    /// the next start: its inserts are older than the versions of their streams, so they are not
    /// replayed.
    fn remove(&self, numbers: &[u32]) {
        let listed = self.manifest.write(|content| {
            for number in numbers {
                content.journal.remove(number);
            }
        });
        // A listed file must not be missing.
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

    /// The last file that exceeds the allowed length of the journal; its inserts have to be
    /// committed.
    pub(crate) fn horizon(&self) -> u32 {
        let last = self.current.load(Ordering::Acquire);
        last.saturating_sub(self.files)
    }

    /// Counts an insert of a file found on opening as waiting.
    pub(crate) fn add_waiting(&self, number: u32) {
        *self.waiting.lock().entry(number).or_default() += 1;
    }

    /// Whether a file has inserts that are not in a tree yet.
    pub(crate) fn is_waiting(&self, number: u32) -> bool {
        self.waiting
            .lock()
            .get(&number)
            .is_some_and(|count| *count > 0)
    }

    /// Subtracts inserts that are in a tree now, and removes files without waiting inserts.
    pub(crate) fn release(&self, files: &[(u32, usize)]) {
        let mut finished = Vec::new();
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
                    finished.push(*number);
                }
            }
        }
        if !finished.is_empty() {
            self.remove(&finished);
        }
    }
}
