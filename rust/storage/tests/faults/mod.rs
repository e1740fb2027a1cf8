//! A machine whose power fails at a chosen operation, or whose disk fails once or is full.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use pingthings_storage::{Address, MemoryBlocks};
use pingthings_storage::{
    Blocks, Catalog, CatalogState, CollectionRetention, Commit, Doomed, Error, FileKind, FileName,
    Head, Hole, Merge, NewStream, PropertyChange, Record, RecordKind, SegmentState, SqliteCatalog,
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
    /// This operation ends the thread that asked for it.
    Panic(usize),
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
    /// The last half of each file's, behind zeros.
    Late,
    /// All of it, and what was cut off a file is there again.
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

    /// Two of them in turn, or all where there is time.
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
    /// As a reader sees it; none if it was only ever on the disk.
    written: Vec<u8>,
    /// Which of these bytes the next sync will write. The system drops what a sync could not
    /// write: later ones succeed without it.
    is_dirty: Vec<bool>,
    /// As it certainly is after the power failed; none if it may not even be there.
    synced: Option<Vec<u8>>,
    /// As it was before it was cut: until a sync, what was cut off may come back.
    uncut: Vec<u8>,
}

impl File {
    fn cut(&mut self, length: usize) {
        assert!(length <= self.written.len(), "it is not that long");
        let mut uncut = self.written.clone();
        uncut.extend(self.uncut.iter().skip(uncut.len()));
        self.uncut = uncut;
        self.written.truncate(length);
        self.is_dirty.truncate(length);
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset <= self.written.len(), "a write behind the end");
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

    /// What the next start of the machine finds.
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

/// What comes of a change of the catalog that is reported as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing.
    Gone,
    /// It is there when the catalog is opened again, unless a later change succeeded. This process
    /// does not see it.
    There,
    /// The same, but the power takes it.
    UntilPower,
    /// It is there at once.
    Visible,
}

impl Outcome {
    pub(crate) const ALL: [Self; 4] = [Self::Gone, Self::There, Self::UntilPower, Self::Visible];
}

/// Whether an operation is done.
enum Fate {
    Done,
    /// It fails: some of it may be done.
    Fails,
    /// It is not even begun.
    Dead,
}

/// A change that failed.
type Change = Box<dyn Fn(&SqliteCatalog) + Send>;

/// Counts what changes the disk and lets it fail.
pub(crate) struct Machine {
    fault: Fault,
    outcome: Outcome,
    count: AtomicUsize,
    has_room: AtomicBool,
    /// Whether a sync of a segment failed.
    has_lost: AtomicBool,
    has_failed_change: AtomicBool,
    disk: Mutex<Disk>,
    catalog: Arc<SqliteCatalog>,
    /// The change that failed and may be there.
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

    /// One whose failed changes of the catalog come to this.
    pub(crate) fn with_outcome(fault: Fault, outcome: Outcome) -> Arc<Self> {
        Arc::new(Self {
            fault,
            outcome,
            count: AtomicUsize::new(0),
            has_room: AtomicBool::new(false),
            has_lost: AtomicBool::new(false),
            has_failed_change: AtomicBool::new(false),
            disk: Mutex::default(),
            catalog: Arc::new(SqliteCatalog::in_memory().unwrap()),
            failed: Mutex::default(),
        })
    }

    /// How many operations there were.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Whether a change of the catalog failed that may be there.
    pub(crate) fn has_failed_change(&self) -> bool {
        self.has_failed_change.load(Ordering::SeqCst)
    }

    /// A full disk is full no more.
    pub(crate) fn make_room(&self) {
        self.has_room.store(true, Ordering::SeqCst);
    }

    /// Whether a sync of a segment failed, so that nobody knows what of it is on the disk.
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
            Fault::Full(from) => (false, at >= from && !self.has_room.load(Ordering::SeqCst)),
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

    /// What gives room back works on a full disk too.
    fn give_back(&self) -> io::Result<()> {
        match self.fault {
            Fault::Full(_) => Ok(()),
            _ => self.operate(),
        }
    }

    /// What the next start of the machine finds after the power failed.
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

    /// The machine as the next process finds it after this one was killed: nothing that was
    /// written is gone, and nothing that was not synced is safe.
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

    /// The change that failed is in the catalog when that is opened again.
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

    /// A write that fails has written its first half.
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
        self.give_back()?;
        let mut disk = self.disk.lock();
        disk.get_mut(&name).ok_or_else(missing)?.cut(place(length));
        Ok(())
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        self.give_back()?;
        self.disk
            .lock()
            .remove(&name)
            .map(|_| ())
            .ok_or_else(missing)
    }
}

/// The catalog of a machine: its changes fail with the rest.
#[derive(Debug)]
pub(crate) struct MachineCatalog {
    machine: Arc<Machine>,
    /// The number that changes carry.
    number: AtomicU64,
}

impl MachineCatalog {
    pub(crate) fn new(machine: &Arc<Machine>) -> Arc<Self> {
        Arc::new(Self {
            machine: Arc::clone(machine),
            number: AtomicU64::new(0),
        })
    }

    /// Makes a change, or fails and leaves of it what the machine does.
    fn operate<R>(
        &self,
        change: impl Fn(&SqliteCatalog) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let machine = &self.machine;
        let number = self.number.load(Ordering::SeqCst);
        let change = move |catalog: &SqliteCatalog| {
            catalog.number(number);
            change(catalog)
        };
        match machine.fate() {
            Fate::Done => {
                let done = change(&machine.catalog)?;
                // It took the place of what failed before.
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

    fn number(&self, change: u64) {
        self.number.store(change, Ordering::SeqCst);
    }

    fn seen(&self) -> Result<Option<i64>, Error> {
        self.machine.catalog.seen()
    }

    fn see(&self, wall_ns: i64) -> Result<(), Error> {
        self.operate(move |catalog| catalog.see(wall_ns))
    }

    fn settle(&self) -> Result<(), Error> {
        self.operate(Catalog::settle)
    }

    fn is_burnt(&self, uuid: Uuid) -> Result<bool, Error> {
        self.machine.catalog.is_burnt(uuid)
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

    fn change(&self, uuid: Uuid, change: &PropertyChange, wall_ns: i64) -> Result<u64, Error> {
        let change = change.clone();
        self.operate(move |catalog| catalog.change(uuid, &change, wall_ns))
    }

    fn forget(&self, stream: i64, wall_ns: i64) -> Result<usize, Error> {
        self.operate(move |catalog| catalog.forget(stream, wall_ns))
    }

    fn bury(&self, stream: i64, last: u64, holes: &[Hole]) -> Result<(), Error> {
        let holes = holes.to_vec();
        self.operate(move |catalog| catalog.bury(stream, last, &holes))
    }

    fn rewritten(&self, segment: u32, generation: u32, holes: &[Hole]) -> Result<(), Error> {
        let holes = holes.to_vec();
        self.operate(move |catalog| catalog.rewritten(segment, generation, &holes))
    }

    fn removed(&self, segment: u32) -> Result<(), Error> {
        self.operate(move |catalog| catalog.removed(segment))
    }

    fn shrink(&self) -> Result<(), Error> {
        self.operate(Catalog::shrink)
    }

    fn forgettable(&self, wall_ns: i64) -> Result<Vec<Uuid>, Error> {
        self.machine.catalog.forgettable(wall_ns)
    }

    fn doomed_streams(&self) -> Result<Vec<i64>, Error> {
        self.machine.catalog.doomed_streams()
    }

    fn doomed(&self, stream: i64) -> Result<Doomed, Error> {
        self.machine.catalog.doomed(stream)
    }

    fn holes(&self) -> Result<Vec<Hole>, Error> {
        self.machine.catalog.holes()
    }

    fn keep_stream(&self, uuid: Uuid, keep_ns: Option<i64>) -> Result<(), Error> {
        self.operate(move |catalog| catalog.keep_stream(uuid, keep_ns))
    }

    fn keep_collection(&self, collection: &str, kept: CollectionRetention) -> Result<(), Error> {
        let collection = collection.to_owned();
        self.operate(move |catalog| catalog.keep_collection(&collection, kept))
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
        merge: Merge<'_>,
    ) -> Result<Record, Error> {
        // What merges cannot be kept for later, so one that fails comes to nothing.
        self.operate(|_| Ok(()))?;
        let catalog = &self.machine.catalog;
        catalog.number(self.number.load(Ordering::SeqCst));
        catalog.change_record(kind, id, name, merge)
    }

    fn delete_record(&self, kind: RecordKind, id: i64) -> Result<(), Error> {
        self.operate(move |catalog| catalog.delete_record(kind, id))
    }

    fn usage(&self, prefix: &str) -> Result<Vec<(String, u64)>, Error> {
        self.machine.catalog.usage(prefix)
    }

    fn version_at(&self, stream: i64, wall_ns: i64) -> Result<Option<u64>, Error> {
        self.machine.catalog.version_at(stream, wall_ns)
    }

    fn kept(&self) -> Result<Vec<(Uuid, i64)>, Error> {
        self.machine.catalog.kept()
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
