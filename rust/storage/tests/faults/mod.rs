//! A simulated machine whose power fails at a chosen operation, or whose disk fails once or is
//! full.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use pingthings_storage::{Address, MemoryBlocks};
use pingthings_storage::{
    Blocks, Catalog, CatalogState, CollectionRetention, Commit, Error, FieldMerge, FileKind,
    FileName, ForgottenVersions, Head, Hole, NewStream, PropertyChange, Record, RecordKind,
    SegmentState, SqliteCatalog, StreamDescriptor, StreamQuery, StreamRetention,
};
use uuid::Uuid;

/// What fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The power, from this operation on.
    Power(usize),
    /// This operation fails, and the power fails the given number of operations later.
    Once(usize, usize),
    /// From this operation on, everything that needs space fails, until there is some.
    Full(usize),
    /// This operation panics.
    Panic(usize),
}

/// What the disk keeps of unsynced bytes when the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing.
    Everything,
    /// All of them.
    Nothing,
    /// The first half of those of each file.
    Half,
    /// The length of each file, with zeros instead of the bytes.
    Content,
    /// The last half of those of each file, after zeros.
    Late,
    /// All of them, and a truncation is undone.
    Cut,
}

impl Loss {
    pub(crate) const ALL: [Self; 6] = [
        Self::Everything,
        Self::Nothing,
        Self::Half,
        Self::Content,
        Self::Late,
        Self::Cut,
    ];

    /// Two of them, varying with `turn`; all of them if `STORAGE_LONG` is set.
    pub(crate) fn some(turn: usize) -> Vec<Self> {
        if std::env::var_os("STORAGE_LONG").is_some() {
            Self::ALL.to_vec()
        } else {
            [turn, turn + 3]
                .map(|at| Self::ALL[at % Self::ALL.len()])
                .to_vec()
        }
    }
}

/// A file, as this process sees it and as the disk has it.
#[derive(Clone, Debug, Default)]
struct File {
    /// The content that a reader sees; empty if it was only ever on the disk.
    written: Vec<u8>,
    /// Which of these bytes the next sync will write. The system drops bytes that a sync could not
    /// write, and later syncs succeed without them.
    is_dirty: Vec<bool>,
    /// The content that certainly survives a power failure; `None` if the file itself may be
    /// missing.
    synced: Option<Vec<u8>>,
    /// The content before a truncation: until a sync, the removed bytes may come back.
    uncut: Vec<u8>,
}

impl File {
    fn cut(&mut self, length: usize) {
        assert!(length <= self.written.len(), "the file is shorter");
        let mut uncut = self.written.clone();
        uncut.extend(self.uncut.iter().skip(uncut.len()));
        self.uncut = uncut;
        self.written.truncate(length);
        self.is_dirty.truncate(length);
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset <= self.written.len(), "a write beyond the end");
        let length = self.written.len().max(offset + bytes.len());
        self.written.resize(length, 0);
        self.is_dirty.resize(length, true);
        self.written[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.is_dirty[offset..offset + bytes.len()].fill(true);
    }

    fn sync(&mut self) {
        let old = self.synced.take().unwrap_or_default();
        let bytes = self.written.iter().zip(&self.is_dirty).enumerate();
        let bytes = bytes.map(|(at, (&byte, &is_dirty))| {
            let kept = old.get(at).copied().unwrap_or(0);
            if is_dirty { byte } else { kept }
        });
        self.synced = Some(bytes.collect());
        self.is_dirty.fill(false);
        self.uncut.clear();
    }

    /// The content after the next start of the machine.
    fn after(&self, loss: Loss) -> Option<Vec<u8>> {
        if loss == Loss::Everything {
            return self.synced.clone();
        }
        let synced = self.synced.as_deref().unwrap_or_default();
        let is_sure = |at: usize| synced.get(at) == Some(&self.written[at]);
        let all = (0..self.written.len()).filter(|&at| !is_sure(at)).count();
        let mut bytes = Vec::new();
        let mut unsure = 0;
        for (at, &byte) in self.written.iter().enumerate() {
            let old = synced.get(at).copied();
            unsure += usize::from(!is_sure(at));
            let is_first = unsure <= all / 2;
            bytes.push(match loss {
                _ if is_sure(at) => byte,
                Loss::Half if !is_first && old.is_none() => break,
                Loss::Half if !is_first => old.unwrap_or(0),
                Loss::Late if is_first => old.unwrap_or(0),
                Loss::Content => old.unwrap_or(0),
                _ => byte,
            });
        }
        if loss == Loss::Cut {
            bytes.extend(self.uncut.iter().skip(bytes.len()));
        }
        Some(bytes)
    }
}

type Disk = BTreeMap<FileName, File>;

/// What happens to a change of the catalog that is reported as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing.
    Gone,
    /// It is found when the catalog is opened again, unless a later change succeeded. This process
    /// does not see it.
    There,
    /// The same, but a power failure removes it.
    UntilPower,
    /// It is visible at once.
    Visible,
}

impl Outcome {
    pub(crate) const ALL: [Self; 4] = [Self::Gone, Self::There, Self::UntilPower, Self::Visible];
}

/// What happens to an operation.
enum Fate {
    Done,
    /// It fails, and may have been done in part.
    Fails,
    /// It is not started.
    Dead,
}

/// A failed change.
type Change = Box<dyn Fn(&SqliteCatalog) + Send>;

/// Counts the operations that change the disk, and injects faults.
pub(crate) struct Machine {
    fault: Fault,
    outcome: Outcome,
    count: AtomicUsize,
    has_space: AtomicBool,
    /// Whether a sync of a segment failed.
    has_lost: AtomicBool,
    has_failed_change: AtomicBool,
    disk: Mutex<Disk>,
    catalog: Arc<SqliteCatalog>,
    /// The failed change that may be found later.
    failed: Mutex<Option<Change>>,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

impl Machine {
    pub(crate) fn new(fault: Fault) -> Arc<Self> {
        Self::with_outcome(fault, Outcome::Gone)
    }

    /// A machine whose failed catalog changes have this outcome.
    pub(crate) fn with_outcome(fault: Fault, outcome: Outcome) -> Arc<Self> {
        Arc::new(Self {
            fault,
            outcome,
            count: AtomicUsize::new(0),
            has_space: AtomicBool::new(false),
            has_lost: AtomicBool::new(false),
            has_failed_change: AtomicBool::new(false),
            disk: Mutex::default(),
            catalog: Arc::new(SqliteCatalog::in_memory().unwrap()),
            failed: Mutex::default(),
        })
    }

    /// The number of operations so far.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Whether a change of the catalog failed that may have happened nevertheless.
    pub(crate) fn has_failed_change(&self) -> bool {
        self.has_failed_change.load(Ordering::SeqCst)
    }

    /// Frees space on a full disk.
    pub(crate) fn free_space(&self) {
        self.has_space.store(true, Ordering::SeqCst);
    }

    /// Whether a sync of a segment failed, so that the state of its bytes on the disk is unknown.
    pub(crate) fn has_lost(&self) -> bool {
        self.has_lost.load(Ordering::SeqCst)
    }

    fn fate(&self) -> Fate {
        let at = self.count.fetch_add(1, Ordering::SeqCst);
        let (fails, is_dead) = match self.fault {
            Fault::Power(from) => (at == from, at > from),
            Fault::Once(only, later) => (at == only, at >= only.saturating_add(later)),
            Fault::Panic(only) => {
                assert!(at != only, "a bug");
                (false, false)
            }
            Fault::Full(from) => (false, at >= from && !self.has_space.load(Ordering::SeqCst)),
        };
        match (fails, is_dead) {
            (true, _) => Fate::Fails,
            (_, true) => Fate::Dead,
            _ => Fate::Done,
        }
    }

    fn operate(&self) -> io::Result<()> {
        match self.fate() {
            Fate::Done => Ok(()),
            _ => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    /// Operations that free space also work on a full disk.
    fn operate_freeing(&self) -> io::Result<()> {
        match self.fault {
            Fault::Full(_) => Ok(()),
            _ => self.operate(),
        }
    }

    /// The files and catalog that the next start of the machine finds after a power failure.
    pub(crate) fn restart(&self, loss: Loss) -> (Arc<MemoryBlocks>, Arc<SqliteCatalog>) {
        if self.outcome == Outcome::There {
            self.find_failed();
        }
        let blocks = Arc::new(MemoryBlocks::default());
        for (name, file) in &*self.disk.lock() {
            if let Some(bytes) = file.after(loss) {
                blocks.create(*name).unwrap();
                blocks.write_at(*name, 0, &bytes).unwrap();
            }
        }
        (blocks, Arc::clone(&self.catalog))
    }

    /// The machine as the next process finds it after this one was killed: all written bytes are
    /// there, but unsynced ones are still not safe.
    pub(crate) fn next_process(&self, fault: Fault) -> Arc<Self> {
        if self.outcome != Outcome::Gone {
            self.find_failed();
        }
        let mut next = Self::with_outcome(fault, self.outcome);
        let own = Arc::get_mut(&mut next).unwrap();
        own.disk = Mutex::new(self.disk.lock().clone());
        own.catalog = Arc::clone(&self.catalog);
        next
    }

    /// Applies the failed change, as opening the catalog again would.
    fn find_failed(&self) {
        if let Some(change) = self.failed.lock().take() {
            change(&self.catalog);
        }
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl Blocks for Machine {
    fn list(&self) -> io::Result<Vec<FileName>> {
        Ok(self.disk.lock().keys().copied().collect())
    }

    fn create(&self, name: FileName) -> io::Result<()> {
        self.operate()?;
        self.disk.lock().entry(name).or_default().cut(0);
        Ok(())
    }

    fn len(&self, name: FileName) -> io::Result<u64> {
        let disk = self.disk.lock();
        Ok(disk.get(&name).ok_or_else(missing)?.written.len() as u64)
    }

    fn read_at(&self, name: FileName, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let disk = self.disk.lock();
        let file = disk.get(&name).ok_or_else(missing)?;
        let from = place(offset);
        let found = file
            .written
            .get(from..from + bytes.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(found);
        Ok(())
    }

    /// A failed write has written its first half.
    fn write_at(&self, name: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let result = self.operate();
        let count = result.as_ref().map_or(bytes.len() / 2, |()| bytes.len());
        let mut disk = self.disk.lock();
        let file = disk.get_mut(&name).ok_or_else(missing)?;
        file.write(place(offset), &bytes[..count]);
        result
    }

    fn sync(&self, name: FileName) -> io::Result<()> {
        let result = self.operate();
        let mut disk = self.disk.lock();
        let file = disk.get_mut(&name).ok_or_else(missing)?;
        if result.is_err() {
            file.is_dirty.fill(false);
            let is_segment = name.kind == FileKind::Segment;
            self.has_lost.fetch_or(is_segment, Ordering::SeqCst);
        } else {
            file.sync();
        }
        result
    }

    fn truncate(&self, name: FileName, length: u64) -> io::Result<()> {
        self.operate_freeing()?;
        let mut disk = self.disk.lock();
        disk.get_mut(&name).ok_or_else(missing)?.cut(place(length));
        Ok(())
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        self.operate_freeing()?;
        self.disk
            .lock()
            .remove(&name)
            .map(|_| ())
            .ok_or_else(missing)
    }
}

/// The catalog of a machine; its changes count as operations and fail like the others.
#[derive(Debug)]
pub(crate) struct MachineCatalog {
    machine: Arc<Machine>,
    /// The number of the next change.
    number: AtomicU64,
}

impl MachineCatalog {
    pub(crate) fn new(machine: &Arc<Machine>) -> Arc<Self> {
        Arc::new(Self {
            machine: Arc::clone(machine),
            number: AtomicU64::new(0),
        })
    }

    /// Makes a change, or fails and keeps it according to the outcome of the machine.
    fn operate<R>(
        &self,
        change: impl Fn(&SqliteCatalog) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let machine = &self.machine;
        let number = self.number.load(Ordering::SeqCst);
        let change = move |catalog: &SqliteCatalog| {
            catalog.set_change_number(number);
            change(catalog)
        };
        match machine.fate() {
            Fate::Done => {
                let done = change(&machine.catalog)?;
                // It overwrote the failed change.
                *machine.failed.lock() = None;
                return Ok(done);
            }
            Fate::Dead => {}
            Fate::Fails => {
                machine.has_failed_change.store(true, Ordering::SeqCst);
                let change = move |catalog: &SqliteCatalog| {
                    let _ = change(catalog);
                };
                match machine.outcome {
                    Outcome::Gone => {}
                    Outcome::Visible => change(&machine.catalog),
                    Outcome::There | Outcome::UntilPower => {
                        *machine.failed.lock() = Some(Box::new(change));
                    }
                }
            }
        }
        let code = match machine.fault {
            Fault::Full(_) => rusqlite::ffi::SQLITE_FULL,
            _ => rusqlite::ffi::SQLITE_IOERR_FSYNC,
        };
        Err(Error::Catalog {
            action: "change",
            source: Arc::new(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(code),
                None,
            )),
        })
    }
}

impl Catalog for MachineCatalog {
    fn uri(&self) -> &str {
        self.machine.catalog.uri()
    }

    fn state(&self) -> Result<CatalogState, Error> {
        self.machine.catalog.state()
    }

    fn set_change_number(&self, change: u64) {
        self.number.store(change, Ordering::SeqCst);
    }

    fn retention_clock(&self) -> Result<Option<i64>, Error> {
        self.machine.catalog.retention_clock()
    }

    fn set_retention_clock(&self, wall_ns: i64) -> Result<(), Error> {
        self.operate(move |catalog| catalog.set_retention_clock(wall_ns))
    }

    fn settle(&self) -> Result<(), Error> {
        self.operate(Catalog::settle)
    }

    fn is_uuid_retired(&self, uuid: Uuid) -> Result<bool, Error> {
        self.machine.catalog.is_uuid_retired(uuid)
    }

    fn is_unused(&self) -> Result<bool, Error> {
        self.machine.catalog.is_unused()
    }

    fn segments(&self) -> Result<BTreeMap<u32, SegmentState>, Error> {
        self.machine.catalog.segments()
    }

    fn commit(&self, commits: &[Commit], segments: &BTreeMap<u32, u64>) -> Result<(), Error> {
        let (commits, segments) = (commits.to_vec(), segments.clone());
        self.operate(move |catalog| catalog.commit(&commits, &segments))
    }

    fn create(&self, stream: &NewStream, wall_ns: i64) -> Result<(), Error> {
        let stream = stream.clone();
        self.operate(move |catalog| catalog.create(&stream, wall_ns))
    }

    fn obliterate(&self, uuid: Uuid) -> Result<(), Error> {
        self.operate(move |catalog| catalog.obliterate(uuid))
    }

    fn change_properties(
        &self,
        uuid: Uuid,
        change: &PropertyChange,
        wall_ns: i64,
    ) -> Result<u64, Error> {
        let change = change.clone();
        self.operate(move |catalog| catalog.change_properties(uuid, &change, wall_ns))
    }

    fn forget_versions(&self, stream: i64, wall_ns: i64) -> Result<usize, Error> {
        self.operate(move |catalog| catalog.forget_versions(stream, wall_ns))
    }

    fn drop_forgotten_versions(&self, stream: i64, last: u64, holes: &[Hole]) -> Result<(), Error> {
        let holes = holes.to_vec();
        self.operate(move |catalog| catalog.drop_forgotten_versions(stream, last, &holes))
    }

    fn set_generation(&self, segment: u32, generation: u32, holes: &[Hole]) -> Result<(), Error> {
        let holes = holes.to_vec();
        self.operate(move |catalog| catalog.set_generation(segment, generation, &holes))
    }

    fn remove_segment(&self, segment: u32) -> Result<(), Error> {
        self.operate(move |catalog| catalog.remove_segment(segment))
    }

    fn shrink(&self) -> Result<(), Error> {
        self.operate(Catalog::shrink)
    }

    fn streams_with_superseded_versions(&self, wall_ns: i64) -> Result<Vec<Uuid>, Error> {
        self.machine
            .catalog
            .streams_with_superseded_versions(wall_ns)
    }

    fn streams_with_forgotten_versions(&self) -> Result<Vec<i64>, Error> {
        self.machine.catalog.streams_with_forgotten_versions()
    }

    fn forgotten_versions(&self, stream: i64) -> Result<ForgottenVersions, Error> {
        self.machine.catalog.forgotten_versions(stream)
    }

    fn holes(&self) -> Result<Vec<Hole>, Error> {
        self.machine.catalog.holes()
    }

    fn set_stream_retention(&self, uuid: Uuid, keep_ns: Option<i64>) -> Result<(), Error> {
        self.operate(move |catalog| catalog.set_stream_retention(uuid, keep_ns))
    }

    fn set_collection_retention(
        &self,
        collection: &str,
        kept: CollectionRetention,
    ) -> Result<(), Error> {
        let collection = collection.to_owned();
        self.operate(move |catalog| catalog.set_collection_retention(&collection, kept))
    }

    fn stream_retention(&self, uuid: Uuid) -> Result<StreamRetention, Error> {
        self.machine.catalog.stream_retention(uuid)
    }

    fn collection_retention(&self, collection: &str) -> Result<CollectionRetention, Error> {
        self.machine.catalog.collection_retention(collection)
    }

    fn records(&self, kind: RecordKind) -> Result<Vec<Record>, Error> {
        self.machine.catalog.records(kind)
    }

    fn record(&self, kind: RecordKind, id: i64) -> Result<Record, Error> {
        self.machine.catalog.record(kind, id)
    }

    fn add_record(&self, kind: RecordKind, name: &str, fields: &str) -> Result<Record, Error> {
        let (name, fields) = (name.to_owned(), fields.to_owned());
        self.operate(move |catalog| catalog.add_record(kind, &name, &fields))
    }

    fn change_record(
        &self,
        kind: RecordKind,
        id: i64,
        name: Option<&str>,
        merge: FieldMerge<'_>,
    ) -> Result<Record, Error> {
        // The closure cannot be stored for later, so a failed change has no effect.
        self.operate(|_| Ok(()))?;
        let catalog = &self.machine.catalog;
        catalog.set_change_number(self.number.load(Ordering::SeqCst));
        catalog.change_record(kind, id, name, merge)
    }

    fn delete_record(&self, kind: RecordKind, id: i64) -> Result<(), Error> {
        self.operate(move |catalog| catalog.delete_record(kind, id))
    }

    fn annotation_usage(&self, prefix: &str) -> Result<Vec<(String, u64)>, Error> {
        self.machine.catalog.annotation_usage(prefix)
    }

    fn version_at(&self, stream: i64, wall_ns: i64) -> Result<Option<u64>, Error> {
        self.machine.catalog.version_at(stream, wall_ns)
    }

    fn streams_with_retention(&self) -> Result<Vec<(Uuid, i64)>, Error> {
        self.machine.catalog.streams_with_retention()
    }

    fn head(&self, uuid: Uuid) -> Result<Head, Error> {
        self.machine.catalog.head(uuid)
    }

    fn root(&self, stream: i64, major: u64) -> Result<Option<Option<Address>>, Error> {
        self.machine.catalog.root(stream, major)
    }

    fn descriptor(&self, uuid: Uuid) -> Result<StreamDescriptor, Error> {
        self.machine.catalog.descriptor(uuid)
    }

    fn lookup(&self, query: &StreamQuery) -> Result<Vec<StreamDescriptor>, Error> {
        self.machine.catalog.lookup(query)
    }

    fn collections(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.machine.catalog.collections(prefix)
    }
}
