//! The journal: inserts made durable before they are in a tree.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use pingthings_types::{MergePolicy, Points};
use uuid::Uuid;

use crate::blocks::{Blocks, FileName};
use crate::error::io_error;
use crate::format::{
    FILE_HEADER, FRAME_HEADER, Insert, Malformed, SYNCED_FRAME, check_file_header,
    decode_frame_header, decode_inserts, encode_insert, file_header, seal_frame,
};
use crate::group::Group;
use crate::segment::header_error;
use crate::{Durability, Error, Options};

#[derive(Debug)]
struct Tail {
    /// The file written to; its successor is begun with the next write once it is sealed.
    number: u32,
    length: u64,
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
    durability: Durability,
    file_bytes: u64,
    files: u32,
    group: Group<Vec<u8>, u32>,
    tail: Mutex<Tail>,
    /// Number of the file written to, so that asking for it does not wait for a sync.
    current: AtomicU32,
    /// For each file, how many of its inserts are not in a tree yet.
    waiting: Mutex<BTreeMap<u32, usize>>,
}

fn unwritable(problem: Malformed) -> Error {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, problem.0);
    io_error("write to", "journal", source)
}

impl Journal {
    /// A journal whose next file comes after `last`.
    pub(crate) fn new(blocks: Arc<dyn Blocks>, last: u32, options: &Options) -> Self {
        Self {
            blocks,
            durability: options.durability,
            file_bytes: options.journal_file_bytes,
            files: options.journal_files,
            group: Group::default(),
            tail: Mutex::new(Tail {
                number: last,
                length: 0,
                is_sealed: true,
                torn: None,
            }),
            current: AtomicU32::new(last),
            waiting: Mutex::default(),
        }
    }

    /// Writes an insert and returns once it is durable; gives the number of its file, in which it
    /// counts as waiting until released.
    pub(crate) fn insert(
        &self,
        uuid: Uuid,
        major: u64,
        policy: MergePolicy,
        points: &Points,
    ) -> Result<u32, Error> {
        let mut record = Vec::new();
        encode_insert(&mut record, uuid, major, policy, points).map_err(unwritable)?;
        self.group.submit(record, |records| self.write(&records))
    }

    fn write(&self, records: &[Vec<u8>]) -> Result<u32, Error> {
        let mut tail = self.tail.lock();
        self.cut(&mut tail)?;
        if tail.is_sealed || tail.length >= self.file_bytes {
            self.begin(&mut tail)?;
        }
        let name = FileName::journal(tail.number);
        let length = records.iter().map(Vec::len).sum::<usize>();
        let mut frame = Vec::with_capacity(FRAME_HEADER + length);
        frame.resize(FRAME_HEADER, 0);
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
            .and_then(|()| self.sync(name));
        if let Err(error) = written {
            tail.torn = Some(Cow::Owned(error.to_string()));
            let _ = self.cut(&mut tail);
            return Err(error);
        }
        tail.torn = None;
        tail.length += frame.len() as u64;
        *self.waiting.lock().entry(tail.number).or_default() += records.len();
        Ok(tail.number)
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
        let cut = if tail.length > FILE_HEADER as u64 {
            self.blocks
                .truncate(name, tail.length)
                .and_then(|()| self.blocks.sync(name))
        } else {
            // Not even the header was ever synced, and after a failure it may be lost.
            match self.blocks.remove(name) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => other,
            }
        };
        cut.map_err(|_| Error::JournalFailed {
            cause: cause.into_owned(),
        })?;
        if tail.length <= FILE_HEADER as u64 {
            self.waiting.lock().remove(&tail.number);
            tail.length = 0;
        }
        tail.torn = None;
        Ok(())
    }

    /// Begins the next file.
    fn begin(&self, tail: &mut Tail) -> Result<(), Error> {
        if self.durability == Durability::Relaxed && tail.length > 0 {
            // A file that is not the last one has to be whole whatever happens.
            let name = FileName::journal(tail.number);
            self.blocks
                .sync(name)
                .map_err(|e| io_error("sync", name, e))?;
        }
        let name = FileName::journal(tail.number + 1);
        self.blocks
            .create(name)
            .map_err(|e| io_error("create", name, e))?;
        self.blocks
            .write_at(name, 0, &file_header(name))
            .map_err(|e| io_error("write to", name, e))?;
        let previous = tail.number;
        *tail = Tail {
            number: name.number,
            length: FILE_HEADER as u64,
            is_sealed: false,
            torn: None,
        };
        let mut waiting = self.waiting.lock();
        self.current.store(name.number, Ordering::Release);
        waiting.insert(name.number, 0);
        if waiting.get(&previous) == Some(&0) {
            waiting.remove(&previous);
            self.remove(previous);
        }
        Ok(())
    }

    /// Removes a file nobody needs any more. If that fails it only takes room until the next start:
    /// what is in it is older than the versions of its streams.
    fn remove(&self, number: u32) {
        let _ = self.blocks.remove(FileName::journal(number));
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
            let current = self.current.load(Ordering::Acquire);
            for (number, count) in files {
                let Some(left) = waiting.get_mut(number) else {
                    continue;
                };
                *left = left.saturating_sub(*count);
                if *left == 0 && *number != current {
                    waiting.remove(number);
                    gone.push(*number);
                }
            }
        }
        for number in gone {
            self.remove(number);
        }
    }
}

/// What a journal file holds.
#[derive(Debug)]
pub(crate) struct Contents {
    /// Its inserts, in order.
    pub(crate) inserts: Vec<Insert>,
    /// Where its whole frames end; 0 if not even the header is whole.
    pub(crate) length: u64,
    /// Whether something follows that is not whole.
    pub(crate) is_torn: bool,
}

/// Reads a journal file.
///
/// Only the end of the last file may be incomplete: there the process was killed while writing
/// what it had not acknowledged. A synced frame behind a broken one proves that the broken one was
/// whole when it was acknowledged, so that is damage.
pub(crate) fn read_file(
    blocks: &dyn Blocks,
    name: FileName,
    is_last: bool,
) -> Result<Contents, Error> {
    let length = blocks.len(name).map_err(|e| io_error("look at", name, e))?;
    let mut contents = Contents {
        inserts: Vec::new(),
        length: 0,
        is_torn: true,
    };
    if let Err(error) = check_header(blocks, name, length) {
        let is_damage = !is_last
            || matches!(error, Error::FormatVersion { .. })
            || synced_frame_follows(blocks, name, 0, length)?;
        return if is_damage { Err(error) } else { Ok(contents) };
    }
    let damaged = |offset, problem: &str| Error::Damaged {
        file: name.to_string(),
        offset,
        problem: problem.to_owned(),
    };
    let mut offset = FILE_HEADER as u64;
    while offset < length {
        match read_frame(blocks, name, offset, length)? {
            Some(frame) => {
                let inserts = decode_inserts(&frame.payload).map_err(|e| damaged(offset, e.0))?;
                contents.inserts.extend(inserts);
                offset = frame.next;
            }
            None if is_last && !synced_frame_follows(blocks, name, offset, length)? => break,
            None => {
                let problem = "a frame is cut off or its checksum does not fit";
                return Err(damaged(offset, problem));
            }
        }
    }
    contents.length = offset;
    contents.is_torn = offset < length;
    Ok(contents)
}

fn check_header(blocks: &dyn Blocks, name: FileName, length: u64) -> Result<(), Error> {
    let mut header = [0; FILE_HEADER];
    let present = usize::try_from(length).map_or(FILE_HEADER, |length| length.min(FILE_HEADER));
    blocks
        .read_at(name, 0, &mut header[..present])
        .map_err(|e| io_error("read", name, e))?;
    check_file_header(name, &header[..present]).map_err(|problem| header_error(name, problem))
}

/// Whether a whole frame that was written to a synced journal begins behind `offset`.
fn synced_frame_follows(
    blocks: &dyn Blocks,
    name: FileName,
    offset: u64,
    length: u64,
) -> Result<bool, Error> {
    const STEP: usize = 1 << 16;
    const MAGIC: usize = SYNCED_FRAME.len();
    let mut from = offset + 1;
    while from + FRAME_HEADER as u64 <= length {
        let left = usize::try_from(length - from).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(STEP + MAGIC - 1)];
        blocks
            .read_at(name, from, &mut bytes)
            .map_err(|e| io_error("read", name, e))?;
        for (at, window) in bytes.windows(MAGIC).enumerate() {
            if window == SYNCED_FRAME
                && read_frame(blocks, name, from + at as u64, length)?.is_some()
            {
                return Ok(true);
            }
        }
        from += STEP as u64;
    }
    Ok(false)
}

/// A whole frame.
struct Frame {
    payload: Vec<u8>,
    /// Where the next one begins.
    next: u64,
}

/// The frame at `offset`; `None` if it is not whole.
fn read_frame(
    blocks: &dyn Blocks,
    name: FileName,
    offset: u64,
    length: u64,
) -> Result<Option<Frame>, Error> {
    let room = length - offset;
    if room < FRAME_HEADER as u64 {
        return Ok(None);
    }
    let mut header = [0; FRAME_HEADER];
    blocks
        .read_at(name, offset, &mut header)
        .map_err(|e| io_error("read", name, e))?;
    let Some(header) = decode_frame_header(&header) else {
        return Ok(None);
    };
    if u64::from(header.length) > room - FRAME_HEADER as u64 {
        return Ok(None);
    }
    let from = offset + FRAME_HEADER as u64;
    let mut payload = vec![0; header.length as usize];
    blocks
        .read_at(name, from, &mut payload)
        .map_err(|e| io_error("read", name, e))?;
    let next = from + u64::from(header.length);
    Ok(header
        .fits(name.number, offset, &payload)
        .then_some(Frame { payload, next }))
}
