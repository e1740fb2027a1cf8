//! Segments: append-only files of blocks.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pingthings_types::Points;

use crate::aside::set_aside;
use crate::blocks::{Blocks, FileKind, FileName};
use crate::cache::Cache;
use crate::catalog::{Hole, SegmentState};
use crate::error::io_error;
use crate::format::{
    BLOCK_HEADER, CommitRecord, FILE_HEADER, HeaderProblem, Malformed, check_file_header,
    decode_block, file_header, seal_commit,
};
use crate::generations::Generations;
use crate::tree::{Address, Block, Inner, Placer, PlanInner, Run};
use crate::{Error, Options};

/// From this length on, the reader checks that a block exists before it allocates memory for it.
const LARGE_BLOCK: u32 = 1 << 20;

#[derive(Debug)]
struct Tail {
    /// Number of the segment that is appended to.
    number: u32,
    /// Offset of the next block; 0 until the file exists.
    length: u64,
    /// The length of each segment, synced or not.
    lengths: BTreeMap<u32, u64>,
    /// Lengths of the segments written to since the last sync.
    unsynced: BTreeMap<u32, u64>,
    /// The error of the first sync that failed.
    failure: Option<String>,
}

impl Tail {
    const fn new(number: u32, length: u64) -> Self {
        Self {
            number,
            length,
            lengths: BTreeMap::new(),
            unsynced: BTreeMap::new(),
            failure: None,
        }
    }

    /// Fails once a sync has failed: the system may have dropped what it could not write, and a
    /// later sync would not report that.
    fn check(&self) -> Result<(), Error> {
        match &self.failure {
            Some(cause) => Err(Error::CommitsFailed {
                cause: cause.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// Held during a sync. Unless the sync succeeds, dropping it stops all further commits.
struct SyncGuard<'a> {
    tail: &'a Mutex<Tail>,
    failure: Option<String>,
}

impl Drop for SyncGuard<'_> {
    fn drop(&mut self) {
        if let Some(failure) = self.failure.take() {
            self.tail.lock().failure.get_or_insert(failure);
        }
    }
}

/// Lengths of synced segments. Unless they are recorded in the catalog, dropping this returns them
/// to the next sync.
pub(crate) struct SyncedLengths<'a> {
    segments: &'a Segments,
    lengths: BTreeMap<u32, u64>,
}

impl SyncedLengths<'_> {
    /// The lengths by segment.
    pub(crate) const fn get(&self) -> &BTreeMap<u32, u64> {
        &self.lengths
    }

    /// Notes that the catalog has recorded them.
    pub(crate) fn mark_recorded(mut self) {
        self.lengths.clear();
    }
}

impl Drop for SyncedLengths<'_> {
    fn drop(&mut self) {
        let mut tail = self.segments.tail.lock();
        for (number, length) in std::mem::take(&mut self.lengths) {
            tail.unsynced.entry(number).or_insert(length);
        }
    }
}

/// All segments: appends to the last one, reads from any.
#[derive(Debug)]
pub(crate) struct Segments {
    pub(crate) blocks: Arc<dyn Blocks>,
    pub(crate) generations: Generations,
    cache: Cache,
    segment_bytes: u64,
    tail: Mutex<Tail>,
}

impl Segments {
    /// Opens the segments that are `committed`, which have `holes`.
    ///
    /// Bytes beyond the committed lengths were never committed; they are set aside.
    pub(crate) fn open(
        blocks: Arc<dyn Blocks>,
        committed: &BTreeMap<u32, SegmentState>,
        holes: &[Hole],
        options: &Options,
        missing: &mut Vec<Error>,
        now_ns: i64,
    ) -> Result<Self, Error> {
        let generations = Generations::new(committed, holes);
        // Checks everything before it changes anything.
        for (&number, state) in committed {
            let (name, length) = generations
                .locate(number, state.length)
                .unwrap_or((FileName::segment(number), state.length));
            match check_segment(&*blocks, name, length) {
                Err(error @ Error::Damaged { .. }) if options.salvage => missing.push(error),
                other => other?,
            }
        }
        let is_current = missing.is_empty();
        let next = set_uncommitted_aside(&*blocks, committed, &generations, is_current, now_ns)?;
        let mut tail = match committed.last_key_value() {
            Some((
                &number,
                &SegmentState {
                    length,
                    generation: 0,
                },
            )) if next == number + 1 => Tail::new(number, length),
            _ => Tail::new(next, 0),
        };
        tail.lengths = committed
            .iter()
            .map(|(&number, state)| (number, state.length))
            .collect();
        Ok(Self {
            blocks,
            generations,
            cache: Cache::new(options.cache_bytes),
            segment_bytes: options.segment_bytes,
            tail: Mutex::new(tail),
        })
    }

    /// Writes the new blocks of a tree. They become effective once synced and committed.
    pub(crate) fn append(&self, root: &PlanInner) -> Result<Address, Error> {
        let mut tail = self.tail.lock();
        tail.check()?;
        if tail.length >= self.segment_bytes {
            tail.number += 1;
            tail.length = 0;
        }
        self.create_file(&mut tail)?;
        let mut placer = Placer::new(tail.number, tail.length);
        let address = placer
            .place_inner(root)
            .map_err(|problem| self.unwritable(problem))?;
        self.write(&mut tail, &placer.into_bytes())?;
        drop(tail);
        Ok(address)
    }

    /// Creates the file of the current segment if it does not exist.
    fn create_file(&self, tail: &mut Tail) -> Result<(), Error> {
        if tail.length == 0 {
            let name = FileName::segment(tail.number);
            self.blocks
                .create(name)
                .map_err(|e| io_error("create", name, e))?;
            self.blocks
                .write_at(name, 0, &file_header(name))
                .map_err(|e| io_error("write", name, e))?;
            tail.length = FILE_HEADER as u64;
        }
        Ok(())
    }

    fn write(&self, tail: &mut Tail, bytes: &[u8]) -> Result<(), Error> {
        let name = FileName::segment(tail.number);
        self.blocks
            .write_at(name, tail.length, bytes)
            .map_err(|e| io_error("write", name, e))?;
        tail.length += bytes.len() as u64;
        let (number, length) = (tail.number, tail.length);
        tail.unsynced.insert(number, length);
        tail.lengths.insert(number, length);
        Ok(())
    }

    /// Appends the record of a commit, which lists the lengths of the segments with its blocks.
    fn append_record(&self, tail: &mut Tail, mut record: CommitRecord) -> Result<(), Error> {
        self.create_file(tail)?;
        record.segments.clone_from(&tail.unsynced);
        record.segments.insert(tail.number, 0);
        let unwritable = |problem| self.unwritable(problem);
        let length = record.encode().map_err(unwritable)?.len();
        let end = tail.length + (BLOCK_HEADER + length) as u64;
        record.segments.insert(tail.number, end);
        let offset = u32::try_from(tail.length)
            .map_err(|_| unwritable(Malformed("a segment cannot be longer than 4 GiB")))?;
        let mut bytes = Vec::new();
        let payload = record.encode().map_err(unwritable)?;
        seal_commit(&mut bytes, tail.number, offset, &payload).map_err(unwritable)?;
        self.write(tail, &bytes)
    }

    /// Appends `record`, syncs everything appended so far, and returns the lengths of the segments
    /// that were synced.
    pub(crate) fn sync(&self, record: CommitRecord) -> Result<SyncedLengths<'_>, Error> {
        let unsynced = {
            let mut tail = self.tail.lock();
            tail.check()?;
            self.append_record(&mut tail, record)?;
            std::mem::take(&mut tail.unsynced)
        };
        let mut guard = SyncGuard {
            tail: &self.tail,
            failure: Some("a thread panicked while syncing".to_owned()),
        };
        for &number in unsynced.keys() {
            let name = FileName::segment(number);
            if let Err(e) = self.blocks.sync(name) {
                let error = io_error("sync", name, e);
                guard.failure = Some(error.to_string());
                return Err(error);
            }
        }
        guard.failure = None;
        Ok(SyncedLengths {
            segments: self,
            lengths: unsynced,
        })
    }

    /// The length of a segment that is no longer appended to.
    pub(crate) fn sealed_length(&self, number: u32) -> Option<u64> {
        let tail = self.tail.lock();
        let length = tail.lengths.get(&number).copied();
        length.filter(|_| number != tail.number)
    }

    /// Appends nothing more to the current segment.
    pub(crate) fn seal(&self) {
        let mut tail = self.tail.lock();
        if tail.length > 0 {
            tail.number += 1;
            tail.length = 0;
        }
    }

    fn block(&self, address: Address) -> Result<Block, Error> {
        if let Some(block) = self.cache.get(address) {
            return Ok(block);
        }
        let block = self.decode(address)?;
        self.cache.put(address, block.clone());
        Ok(block)
    }

    /// The block at `address`, without adding it to the cache.
    pub(crate) fn peek(&self, address: Address) -> Result<Block, Error> {
        match self.cache.get(address) {
            Some(block) => Ok(block),
            None => self.decode(address),
        }
    }

    fn decode(&self, address: Address) -> Result<Block, Error> {
        let bytes = self.read(address)?;
        decode_block(address, &bytes).map_err(|problem| damaged(address, problem))
    }

    /// The bytes at `address`.
    pub(crate) fn read(&self, address: Address) -> Result<Vec<u8>, Error> {
        loop {
            let location = self
                .generations
                .locate(address.segment, u64::from(address.offset));
            let (name, offset) =
                location.ok_or_else(|| damaged(address, Malformed("this range was reclaimed")))?;
            match self.read_from(name, offset, address) {
                // The segment was rewritten after its location was looked up.
                Err(Error::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound
                        && self.generations.name(address.segment) != name => {}
                other => return other,
            }
        }
    }

    fn read_from(&self, name: FileName, offset: u64, address: Address) -> Result<Vec<u8>, Error> {
        if address.length > LARGE_BLOCK {
            // A damaged address must not cause a huge allocation.
            let length = self.blocks.len(name);
            let length = length.map_err(|e| io_error("look at", name, e))?;
            if length < offset + u64::from(address.length) {
                let problem = Malformed("the block would reach beyond the end of the file");
                return Err(damaged(address, problem));
            }
        }
        let mut bytes = vec![0; address.length as usize];
        self.blocks
            .read_at(name, offset, &mut bytes)
            .map_err(|e| io_error("read", name, e))?;
        Ok(bytes)
    }

    /// The leaf at `address`.
    pub(crate) fn leaf(&self, address: Address) -> Result<Arc<Points>, Error> {
        match self.block(address)? {
            Block::Leaf(leaf) => Ok(leaf),
            _ => Err(damaged(address, Malformed("a leaf was expected here"))),
        }
    }

    /// The inner node at `address`, which begins at `start` and has buckets of 2^`exponent` ns.
    pub(crate) fn inner_at(
        &self,
        address: Address,
        start: i64,
        exponent: u32,
    ) -> Result<Arc<Inner>, Error> {
        match self.block(address)? {
            Block::Inner(inner) if (inner.start, inner.exponent) == (start, exponent) => Ok(inner),
            _ => Err(damaged(
                address,
                Malformed("another inner node was expected here"),
            )),
        }
    }

    /// The run at `address`.
    pub(crate) fn run(&self, address: Address) -> Result<Arc<Run>, Error> {
        match self.block(address)? {
            Block::Run(run) => Ok(run),
            _ => Err(damaged(address, Malformed("a run was expected here"))),
        }
    }

    /// The error for data that do not fit the format of a segment.
    #[allow(
        clippy::unused_self,
        reason = "a method, because the error concerns the segments"
    )]
    pub(crate) fn unwritable(&self, problem: Malformed) -> Error {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, problem.0);
        io_error("write a block to", "segments", source)
    }
}

pub(crate) fn damaged(address: Address, problem: Malformed) -> Error {
    Error::Damaged {
        file: FileName::segment(address.segment).to_string(),
        offset: u64::from(address.offset),
        problem: problem.0.to_owned(),
    }
}

/// Sets aside everything in the segments that the catalog does not list, because it was never
/// committed. Returns the number of the first segment without a file.
fn set_uncommitted_aside(
    blocks: &dyn Blocks,
    committed: &BTreeMap<u32, SegmentState>,
    generations: &Generations,
    is_current: bool,
    now_ns: i64,
) -> Result<u32, Error> {
    let names = blocks.list().map_err(|e| io_error("list", "segments", e))?;
    let mut last = committed.last_key_value().map_or(0, |(&number, _)| number);
    for name in names
        .into_iter()
        .filter(|name| name.kind == FileKind::Segment)
    {
        let state = committed.get(&name.number);
        let kept = match state {
            Some(state) if generations.name(name.number) == name => {
                generations.locate(name.number, state.length)
            }
            _ => None,
        };
        let kept = kept.map_or(0, |(_, length)| length);
        let length = blocks.len(name).map_err(|e| io_error("look at", name, e))?;
        if kept > 0 && length <= kept {
            continue;
        }
        // A file of another generation contains only copies.
        if state.is_none() || kept > 0 || !is_current {
            let excess = usize::try_from(length - kept).unwrap_or(usize::MAX);
            let mut bytes = vec![0; excess];
            blocks
                .read_at(name, kept, &mut bytes)
                .map_err(|e| io_error("read", name, e))?;
            if !bytes.is_empty() && set_aside(blocks, now_ns, (name, kept), &bytes).is_err() {
                // The disk may be full. Leaving the bytes where they are loses nothing.
                last = last.max(name.number + u32::from(kept > 0));
                continue;
            }
        }
        if kept > 0 {
            blocks
                .truncate(name, kept)
                .map_err(|e| io_error("truncate", name, e))?;
        } else {
            blocks
                .remove(name)
                .map_err(|e| io_error("remove", name, e))?;
        }
    }
    Ok(last + 1)
}

fn check_segment(blocks: &dyn Blocks, name: FileName, length: u64) -> Result<(), Error> {
    let damaged = |offset, problem: String| Error::Damaged {
        file: name.to_string(),
        offset,
        problem,
    };
    let found = match blocks.len(name) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged(0, "it is missing".to_owned()));
        }
        other => other.map_err(|e| io_error("look at", name, e))?,
    };
    if found < length {
        return Err(damaged(
            found,
            format!("it is cut off: {length} bytes were written"),
        ));
    }
    let mut header = [0; FILE_HEADER];
    blocks
        .read_at(name, 0, &mut header)
        .map_err(|e| io_error("read", name, e))?;
    check_file_header(name, &header)
        .map(|_| ())
        .map_err(|problem| header_error(name, problem))
}

/// The error for a file with an invalid header.
pub(crate) fn header_error(name: FileName, problem: HeaderProblem) -> Error {
    match problem {
        HeaderProblem::Damaged(problem) => Error::Damaged {
            file: name.to_string(),
            offset: 0,
            problem: problem.to_owned(),
        },
        HeaderProblem::Version(found) => Error::FormatVersion {
            file: name.to_string(),
            found,
            supported: crate::format::FORMAT_VERSION,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryBlocks;

    #[test]
    fn no_memory_is_allocated_for_a_block_beyond_the_end() {
        let blocks = Arc::new(MemoryBlocks::default());
        let name = FileName::segment(1);
        blocks.create(name).unwrap();
        blocks.write_at(name, 0, &file_header(name)).unwrap();
        let state = SegmentState {
            length: FILE_HEADER as u64,
            generation: 0,
        };
        let states = BTreeMap::from([(1, state)]);
        let segments = Segments::open(
            blocks,
            &states,
            &[],
            &Options::default(),
            &mut Vec::new(),
            0,
        )
        .unwrap();
        let address = Address {
            segment: 1,
            offset: 16,
            length: 4_000_000_000,
        };
        let error = segments.peek(address).unwrap_err();
        assert!(error.to_string().contains("beyond the end"), "{error}");
    }
}
