//! Files in memory that count reads.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use pingthings_storage::{Blocks, FileKind, FileName, MemoryBlocks};

/// Files in memory; every read of a segment is counted.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    files: MemoryBlocks,
    reads: AtomicU64,
}

impl Counting {
    /// The number of blocks read so far.
    pub(crate) fn count(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }
}

impl Blocks for Counting {
    fn list(&self) -> io::Result<Vec<FileName>> {
        self.files.list()
    }

    fn create(&self, name: FileName) -> io::Result<()> {
        self.files.create(name)
    }

    fn len(&self, name: FileName) -> io::Result<u64> {
        self.files.len(name)
    }

    fn read_at(&self, name: FileName, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        if name.kind == FileKind::Segment {
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
        self.files.read_at(name, offset, bytes)
    }

    fn write_at(&self, name: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.files.write_at(name, offset, bytes)
    }

    fn sync(&self, name: FileName) -> io::Result<()> {
        self.files.sync(name)
    }

    fn truncate(&self, name: FileName, length: u64) -> io::Result<()> {
        self.files.truncate(name, length)
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        self.files.remove(name)
    }
}
