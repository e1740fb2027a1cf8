//! The journal: inserts made durable before they are in a tree.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use pingthings_types::{MergePolicy, Points};
use uuid::Uuid;

use crate::blocks::{Blocks, FileName};
use crate::error::io_error;
use crate::format::{
    FILE_HEADER, FRAME_HEADER, Insert, Malformed, check_file_header, decode_frame_header,
    decode_inserts, encode_insert, file_header, seal_frame,
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
}

/// Inserts in files of frames, one frame for each sync.
#[derive(Debug)]
pub(crate) struct Journal {
    blocks: Arc<dyn Blocks>,
    durability: Durability,
    file_bytes: u64,
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
            file_bytes: options.segment_bytes,
            group: Group::default(),
            tail: Mutex::new(Tail {
                number: last,
                length: 0,
                is_sealed: true,
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
        seal_frame(&mut frame, tail.number, tail.length).map_err(unwritable)?;
        let written = self
            .blocks
            .write_at(name, tail.length, &frame)
            .map_err(|e| io_error("write to", name, e))
            .and_then(|()| self.sync(name));
        if let Err(error) = written {
            // What of the frame is on disk is unknown: cut it off and never write behind it.
            tail.is_sealed = true;
            let _ = self.blocks.truncate(name, tail.length);
            return Err(error);
        }
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

    /// Begins the next file.
    fn begin(&self, tail: &mut Tail) -> Result<(), Error> {
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
        };
        let mut waiting = self.waiting.lock();
        self.current.store(name.number, Ordering::Release);
        waiting.insert(name.number, 0);
        if waiting.get(&previous) == Some(&0) {
            waiting.remove(&previous);
            self.remove(previous)?;
        }
        Ok(())
    }

    fn remove(&self, number: u32) -> Result<(), Error> {
        let name = FileName::journal(number);
        self.blocks
            .remove(name)
            .map_err(|e| io_error("remove", name, e))
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
    pub(crate) fn release(&self, files: &[(u32, usize)]) -> Result<(), Error> {
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
        gone.into_iter().try_for_each(|number| self.remove(number))
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
/// what it had not acknowledged.
pub(crate) fn read_file(
    blocks: &dyn Blocks,
    name: FileName,
    is_last: bool,
) -> Result<Contents, Error> {
    let length = blocks.len(name).map_err(|e| io_error("look at", name, e))?;
    if length < FILE_HEADER as u64 && is_last {
        return Ok(Contents {
            inserts: Vec::new(),
            length: 0,
            is_torn: true,
        });
    }
    let mut header = [0; FILE_HEADER];
    blocks
        .read_at(name, 0, &mut header)
        .map_err(|e| io_error("read", name, e))?;
    check_file_header(name, &header).map_err(|problem| header_error(name, problem))?;
    let damaged = |offset, problem: &str| Error::Damaged {
        file: name.to_string(),
        offset,
        problem: problem.to_owned(),
    };
    let mut inserts = Vec::new();
    let mut offset = FILE_HEADER as u64;
    while offset < length {
        match read_frame(blocks, name, offset, length)? {
            Some((frame, next)) => {
                inserts.extend(decode_inserts(&frame).map_err(|e| damaged(offset, e.0))?);
                offset = next;
            }
            None if is_last => break,
            None => {
                let problem = "a frame is cut off or its checksum does not fit";
                return Err(damaged(offset, problem));
            }
        }
    }
    Ok(Contents {
        inserts,
        length: offset,
        is_torn: offset < length,
    })
}

/// The payload of the frame at `offset` and where the next one begins; `None` if it is not whole.
fn read_frame(
    blocks: &dyn Blocks,
    name: FileName,
    offset: u64,
    length: u64,
) -> Result<Option<(Vec<u8>, u64)>, Error> {
    let room = length - offset;
    if room < FRAME_HEADER as u64 {
        return Ok(None);
    }
    let mut header = [0; FRAME_HEADER];
    blocks
        .read_at(name, offset, &mut header)
        .map_err(|e| io_error("read", name, e))?;
    let Some(frame) = decode_frame_header(&header) else {
        return Ok(None);
    };
    if u64::from(frame.length) > room - FRAME_HEADER as u64 {
        return Ok(None);
    }
    let from = offset + FRAME_HEADER as u64;
    let mut payload = vec![0; frame.length as usize];
    blocks
        .read_at(name, from, &mut payload)
        .map_err(|e| io_error("read", name, e))?;
    let next = from + u64::from(frame.length);
    Ok(frame
        .fits(name.number, offset, &payload)
        .then_some((payload, next)))
}
