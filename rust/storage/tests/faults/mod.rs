//! A machine whose power fails at a chosen operation, or whose disk fails once or is full.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use pingthings_storage::{Address, MemoryBlocks};
use pingthings_storage::{
    Blocks, Catalog, CollectionRetention, Commit, Doomed, Error, FileKind, FileName, Head, Hole,
    Merge, NewStream, PropertyChange, Record, RecordKind, SegmentState, SqliteCatalog,
    StreamDescriptor, StreamQuery, StreamRetention,
};
use uuid::Uuid;

/// What fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The power, from this operation on.
    Power(usize),
    /// This operation, and the power so many operations later.
    Once(usize, usize),
    /// From this operation on, whatever needs room, until there is some.
    Full(usize),
}

/// What the disk still has of what was written but not synced when the power failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing.
    Everything,
    /// All of it.
    Nothing,
    /// The first half of each file's.
    Half,
    /// The length of each file, filled with zeros.
    Content,
}

impl Loss {
    pub(crate) const ALL: [Self; 4] = [Self::Everything, Self::Nothing, Self::Half, Self::Content];
}

type Files = HashMap<FileName, Vec<u8>>;

#[derive(Debug, Default)]
struct Disk {
    /// As a reader sees the files.
    written: Files,
    /// As they certainly are after the power failed.
    synced: Files,
    /// Where the system dropped what a sync could not write: later syncs succeed without it.
    dropped: HashMap<FileName, Range<usize>>,
}

impl Disk {
    /// The file is about to be written anew from `length` on.
    fn cut(&mut self, name: FileName, length: usize) -> io::Result<&mut Vec<u8>> {
        if let Some(dropped) = self.dropped.get_mut(&name) {
            dropped.end = dropped.end.min(length);
        }
        let file = self.written.get_mut(&name).ok_or_else(missing)?;
        assert!(length <= file.len(), "a write behind the end of {name}");
        file.truncate(length);
        Ok(file)
    }
}

/// Counts what changes the disk and lets it fail.
#[derive(Debug)]
pub(crate) struct Machine {
    fault: Fault,
    count: AtomicUsize,
    has_room: AtomicBool,
    /// Whether a sync of a segment failed.
    has_lost: AtomicBool,
    disk: Mutex<Disk>,
    catalog: Arc<SqliteCatalog>,
}

impl Machine {
    pub(crate) fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            fault,
            count: AtomicUsize::new(0),
            has_room: AtomicBool::new(false),
            has_lost: AtomicBool::new(false),
            disk: Mutex::default(),
            catalog: Arc::new(SqliteCatalog::in_memory().unwrap()),
        })
    }

    /// How many operations there were.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// A full disk is full no more.
    pub(crate) fn make_room(&self) {
        self.has_room.store(true, Ordering::SeqCst);
    }

    /// Whether a sync of a segment failed, so that nobody knows what of it is on the disk.
    pub(crate) fn has_lost(&self) -> bool {
        self.has_lost.load(Ordering::SeqCst)
    }

    fn has_failed(&self) -> bool {
        let at = self.count.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::Power(from) => at >= from,
            Fault::Once(only, later) => at == only || at >= only.saturating_add(later),
            Fault::Full(from) => at >= from && !self.has_room.load(Ordering::SeqCst),
        }
    }

    fn operate(&self) -> io::Result<()> {
        if self.has_failed() {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    /// What gives room back works on a full disk too.
    fn give_back(&self) -> io::Result<()> {
        match self.fault {
            Fault::Full(_) => Ok(()),
            _ => self.operate(),
        }
    }

    /// What the next start of the machine finds.
    pub(crate) fn restart(&self, loss: Loss) -> (Arc<MemoryBlocks>, Arc<SqliteCatalog>) {
        let disk = self.disk.lock();
        let blocks = Arc::new(MemoryBlocks::default());
        let mut names: Vec<_> = disk.written.keys().chain(disk.synced.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let (written, synced) = (disk.written.get(name), disk.synced.get(name));
            let bytes = match (loss, written, synced) {
                (Loss::Everything, _, None) | (_, None, None) => continue,
                (Loss::Everything, _, Some(synced)) | (_, None, Some(synced)) => synced.clone(),
                (_, Some(written), synced) => {
                    let kept = synced.map_or(0, |synced| common(synced, written));
                    let mut bytes = written.clone();
                    match loss {
                        Loss::Half => bytes.truncate(kept + (written.len() - kept) / 2),
                        Loss::Content => bytes[kept..].fill(0),
                        _ => {}
                    }
                    bytes
                }
            };
            blocks.create(*name).unwrap();
            blocks.write_at(*name, 0, &bytes).unwrap();
        }
        (blocks, Arc::clone(&self.catalog))
    }
}

/// How many bytes two files have in common at their beginnings.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Blocks for Machine {
    fn list(&self) -> io::Result<Vec<FileName>> {
        Ok(self.disk.lock().written.keys().copied().collect())
    }

    fn create(&self, name: FileName) -> io::Result<()> {
        self.operate()?;
        let mut disk = self.disk.lock();
        disk.dropped.remove(&name);
        disk.written.insert(name, Vec::new());
        Ok(())
    }

    fn len(&self, name: FileName) -> io::Result<u64> {
        let disk = self.disk.lock();
        Ok(disk.written.get(&name).ok_or_else(missing)?.len() as u64)
    }

    fn read_at(&self, name: FileName, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let disk = self.disk.lock();
        let file = disk.written.get(&name).ok_or_else(missing)?;
        let from = usize::try_from(offset).unwrap();
        let found = file
            .get(from..from + bytes.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(found);
        Ok(())
    }

    /// A write that fails has written its first half.
    fn write_at(&self, name: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let result = self.operate();
        let count = result.as_ref().map_or(bytes.len() / 2, |()| bytes.len());
        let mut disk = self.disk.lock();
        let file = disk.cut(name, usize::try_from(offset).unwrap())?;
        file.extend_from_slice(&bytes[..count]);
        result
    }

    fn sync(&self, name: FileName) -> io::Result<()> {
        let result = self.operate();
        let mut disk = self.disk.lock();
        let mut bytes = disk.written.get(&name).ok_or_else(missing)?.clone();
        if let Err(error) = result {
            let safe = disk.synced.get(&name).map_or(0, |s| common(s, &bytes));
            disk.dropped.insert(name, safe..bytes.len());
            let is_segment = name.kind == FileKind::Segment;
            self.has_lost.fetch_or(is_segment, Ordering::SeqCst);
            return Err(error);
        }
        if let Some(dropped) = disk.dropped.get(&name).filter(|range| !range.is_empty()) {
            bytes[dropped.clone()].fill(0);
        }
        disk.synced.insert(name, bytes);
        Ok(())
    }

    fn truncate(&self, name: FileName, length: u64) -> io::Result<()> {
        self.give_back()?;
        let mut disk = self.disk.lock();
        disk.cut(name, usize::try_from(length).unwrap())?;
        Ok(())
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        self.give_back()?;
        let mut disk = self.disk.lock();
        disk.synced.remove(&name);
        disk.written.remove(&name).ok_or_else(missing)?;
        Ok(())
    }
}

/// The catalog of a machine: its commits fail with the rest.
#[derive(Debug)]
pub(crate) struct MachineCatalog(pub(crate) Arc<Machine>);

impl MachineCatalog {
    fn operate(&self) -> Result<&SqliteCatalog, Error> {
        if !self.0.has_failed() {
            Ok(&self.0.catalog)
        } else if matches!(self.0.fault, Fault::Full(_)) {
            let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
            Err(Error::Catalog {
                action: "write to",
                source: Arc::new(rusqlite::Error::SqliteFailure(full, None)),
            })
        } else {
            let problem = "the power failed".to_owned();
            Err(Error::CatalogDamaged { problem })
        }
    }
}

impl Catalog for MachineCatalog {
    fn uri(&self) -> &str {
        self.0.catalog.uri()
    }

    fn is_burnt(&self, uuid: Uuid) -> Result<bool, Error> {
        self.0.catalog.is_burnt(uuid)
    }

    fn is_unused(&self) -> Result<bool, Error> {
        self.0.catalog.is_unused()
    }

    fn segments(&self) -> Result<BTreeMap<u32, SegmentState>, Error> {
        self.0.catalog.segments()
    }

    fn commit(&self, commits: &[Commit], segments: &BTreeMap<u32, u64>) -> Result<(), Error> {
        self.operate()?.commit(commits, segments)
    }

    fn create(&self, stream: &NewStream, wall_ns: i64) -> Result<(), Error> {
        self.operate()?.create(stream, wall_ns)
    }

    fn obliterate(&self, uuid: Uuid) -> Result<(), Error> {
        self.operate()?.obliterate(uuid)
    }

    fn change(&self, uuid: Uuid, change: &PropertyChange, wall_ns: i64) -> Result<u64, Error> {
        self.operate()?.change(uuid, change, wall_ns)
    }

    fn forget(&self, stream: i64, wall_ns: i64) -> Result<usize, Error> {
        self.operate()?.forget(stream, wall_ns)
    }

    fn bury(&self, stream: i64, last: u64, holes: &[Hole]) -> Result<(), Error> {
        self.operate()?.bury(stream, last, holes)
    }

    fn rewritten(&self, segment: u32, generation: u32, holes: &[Hole]) -> Result<(), Error> {
        self.operate()?.rewritten(segment, generation, holes)
    }

    fn removed(&self, segment: u32) -> Result<(), Error> {
        self.operate()?.removed(segment)
    }

    fn shrink(&self) -> Result<(), Error> {
        self.operate()?.shrink()
    }

    fn forgettable(&self, wall_ns: i64) -> Result<Vec<Uuid>, Error> {
        self.0.catalog.forgettable(wall_ns)
    }

    fn doomed_streams(&self) -> Result<Vec<i64>, Error> {
        self.0.catalog.doomed_streams()
    }

    fn doomed(&self, stream: i64) -> Result<Doomed, Error> {
        self.0.catalog.doomed(stream)
    }

    fn holes(&self) -> Result<Vec<Hole>, Error> {
        self.0.catalog.holes()
    }

    fn keep_stream(&self, uuid: Uuid, keep_ns: Option<i64>) -> Result<(), Error> {
        self.operate()?.keep_stream(uuid, keep_ns)
    }

    fn keep_collection(&self, collection: &str, kept: CollectionRetention) -> Result<(), Error> {
        self.operate()?.keep_collection(collection, kept)
    }

    fn stream_retention(&self, uuid: Uuid) -> Result<StreamRetention, Error> {
        self.0.catalog.stream_retention(uuid)
    }

    fn collection_retention(&self, collection: &str) -> Result<CollectionRetention, Error> {
        self.0.catalog.collection_retention(collection)
    }

    fn records(&self, kind: RecordKind) -> Result<Vec<Record>, Error> {
        self.0.catalog.records(kind)
    }

    fn record(&self, kind: RecordKind, id: i64) -> Result<Record, Error> {
        self.0.catalog.record(kind, id)
    }

    fn add_record(&self, kind: RecordKind, name: &str, fields: &str) -> Result<Record, Error> {
        self.operate()?.add_record(kind, name, fields)
    }

    fn change_record(
        &self,
        kind: RecordKind,
        id: i64,
        name: Option<&str>,
        merge: Merge<'_>,
    ) -> Result<Record, Error> {
        self.operate()?.change_record(kind, id, name, merge)
    }

    fn delete_record(&self, kind: RecordKind, id: i64) -> Result<(), Error> {
        self.operate()?.delete_record(kind, id)
    }

    fn usage(&self, prefix: &str) -> Result<Vec<(String, u64)>, Error> {
        self.0.catalog.usage(prefix)
    }

    fn version_at(&self, stream: i64, wall_ns: i64) -> Result<Option<u64>, Error> {
        self.0.catalog.version_at(stream, wall_ns)
    }

    fn kept(&self) -> Result<Vec<(Uuid, i64)>, Error> {
        self.0.catalog.kept()
    }

    fn head(&self, uuid: Uuid) -> Result<Head, Error> {
        self.0.catalog.head(uuid)
    }

    fn root(&self, stream: i64, major: u64) -> Result<Option<Option<Address>>, Error> {
        self.0.catalog.root(stream, major)
    }

    fn descriptor(&self, uuid: Uuid) -> Result<StreamDescriptor, Error> {
        self.0.catalog.descriptor(uuid)
    }

    fn lookup(&self, query: &StreamQuery) -> Result<Vec<StreamDescriptor>, Error> {
        self.0.catalog.lookup(query)
    }

    fn collections(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.0.catalog.collections(prefix)
    }
}
