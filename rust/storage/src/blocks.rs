//! The files below the engine: writing, syncing and reading them.

mod disk;
mod memory;
mod system;

use std::fmt;
use std::fmt::Debug;
use std::io;

pub use disk::DiskBlocks;
pub use memory::MemoryBlocks;
pub(crate) use system::sync_folder;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// Blocks of trees.
    Segment,
    /// Inserts that are not yet in a tree.
    Journal,
    /// Which files and which catalog change have to be present.
    Manifest,
    /// Bytes that nothing refers to, kept for some time.
    Aside,
}

impl FileKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Segment, Self::Journal, Self::Manifest, Self::Aside];

    /// The folder the files of this kind are in.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Segment => "segments",
            Self::Journal => "journal",
            Self::Manifest => "manifest",
            Self::Aside => "set-aside",
        }
    }
}

/// The identity of a file: its kind, number and generation. The combination is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    /// What the file is for.
    pub kind: FileKind,
    /// The number within the kind.
    pub number: u32,
    /// How often a segment was rewritten; 0 for other files.
    pub generation: u32,
}

impl FileName {
    const fn first(kind: FileKind, number: u32) -> Self {
        Self {
            kind,
            number,
            generation: 0,
        }
    }

    /// The segment with this number.
    pub const fn segment(number: u32) -> Self {
        Self::first(FileKind::Segment, number)
    }

    /// The journal file with this number.
    pub const fn journal(number: u32) -> Self {
        Self::first(FileKind::Journal, number)
    }

    /// The manifest file with this number.
    pub const fn manifest(number: u32) -> Self {
        Self::first(FileKind::Manifest, number)
    }

    /// The file set aside with this number.
    pub const fn aside(number: u32) -> Self {
        Self::first(FileKind::Aside, number)
    }

    /// Parses the name of a file in the folder of its kind.
    pub(crate) fn parse(kind: FileKind, text: &str) -> Option<Self> {
        let (number, generation) = text.split_once('.').unwrap_or((text, "0"));
        let name = Self {
            kind,
            number: number.parse().ok()?,
            generation: generation.parse().ok()?,
        };
        // A name in any other spelling was not written by the engine.
        (name.to_string().rsplit('/').next() == Some(text)).then_some(name)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:08}", self.kind.folder(), self.number)?;
        match self.generation {
            0 => Ok(()),
            generation => write!(f, ".{generation}"),
        }
    }
}

/// Files that grow at their end.
///
/// Synced bytes never change, so reading needs no lock. A failed write may have left anything in
/// the range it was to write; the engine writes that range again or truncates it.
pub trait Blocks: Send + Sync + Debug {
    /// Lists all files, in no particular order.
    fn list(&self) -> io::Result<Vec<FileName>>;

    /// Creates an empty file; it survives a crash once it was synced.
    fn create(&self, name: FileName) -> io::Result<()>;

    /// The length of a file in bytes.
    fn len(&self, name: FileName) -> io::Result<u64>;

    /// Fills `bytes` with the content from `offset` on, or fails.
    fn read_at(&self, name: FileName, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, which is not beyond the end of the file; content after
    /// them stays.
    fn write_at(&self, name: FileName, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns when everything written to the file is on stable storage.
    fn sync(&self, name: FileName) -> io::Result<()>;

    /// Cuts the file to `length` bytes.
    fn truncate(&self, name: FileName, length: u64) -> io::Result<()>;

    /// Removes the file durably: it does not come back after a crash.
    fn remove(&self, name: FileName) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_contract(blocks: &dyn Blocks) {
        let name = FileName::segment(7);
        assert!(blocks.len(name).is_err());
        blocks.create(name).unwrap();
        blocks.write_at(name, 0, b"hello").unwrap();
        blocks.write_at(name, 5, b" world").unwrap();
        blocks.write_at(name, 5, b", moon").unwrap();
        blocks.sync(name).unwrap();
        assert_eq!(blocks.len(name).unwrap(), 11);
        let mut bytes = [0; 4];
        blocks.read_at(name, 7, &mut bytes).unwrap();
        assert_eq!(&bytes, b"moon");
        blocks.write_at(name, 1, b"u").unwrap();
        blocks.read_at(name, 0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"hull");
        assert!(blocks.read_at(name, 8, &mut bytes).is_err());
        blocks.create(FileName::journal(1)).unwrap();
        let mut names = blocks.list().unwrap();
        names.sort();
        assert_eq!(names, [name, FileName::journal(1)]);
        blocks.truncate(name, 5).unwrap();
        assert_eq!(blocks.len(name).unwrap(), 5);
        blocks.remove(name).unwrap();
        assert_eq!(blocks.list().unwrap(), [FileName::journal(1)]);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let written = FileName {
            generation: 2,
            ..FileName::segment(7)
        };
        assert_eq!(written.to_string(), "segments/00000007.2");
        let read = |text| FileName::parse(FileKind::Segment, text);
        assert_eq!(read("00000007.2"), Some(written));
        assert_eq!(read("00000007"), Some(FileName::segment(7)));
        for other in [
            "7",
            "00000007.0",
            "00000007.02",
            "00000007.",
            "00000007.tmp",
            "",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn memory_and_disk_behave_alike() {
        check_contract(&MemoryBlocks::default());
        let directory = tempfile::tempdir().unwrap();
        check_contract(&DiskBlocks::open(directory.path()).unwrap());
        let again = DiskBlocks::open(directory.path()).unwrap();
        assert_eq!(again.list().unwrap(), [FileName::journal(1)]);
    }
}
