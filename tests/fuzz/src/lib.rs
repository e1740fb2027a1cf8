//! What the fuzz targets share: bytes taken one by one, a store they fill, and a limit to what
//! may be allocated at once.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;

use pingthings_storage::{
    Blocks, Catalog, Engine, Error, FileName, ManualClock, MemoryBlocks, NewStream, Options,
    Snapshot, SqliteCatalog,
};
use pingthings_types::{PreciseWindows, TimeRange};
use uuid::Uuid;

/// More than any input is worth: it was allocated because a length was believed.
const LIMIT: usize = 16 << 20;

struct Limited;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LIMIT {
            std::process::abort();
        }
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Limited = Limited;

/// The stream all of it is about.
pub const STREAM: Uuid = Uuid::nil();

/// Bytes that become numbers; zeros once they are used up.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn number<const N: usize>(&mut self) -> u64 {
        let mut bytes = [0; 8];
        let taken = self.take(N);
        bytes[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(bytes)
    }

    pub fn byte(&mut self) -> u8 {
        self.number::<1>() as u8
    }

    /// As many bytes as the next two say.
    pub fn part(&mut self) -> &'a [u8] {
        let length = self.number::<2>() as usize;
        self.take(length)
    }
}

/// Files and a catalog that outlive an engine.
pub struct Store {
    pub blocks: Arc<MemoryBlocks>,
    pub catalog: Arc<SqliteCatalog>,
    pub clock: Arc<ManualClock>,
}

impl Store {
    /// Empty, but for the stream.
    pub fn new() -> Self {
        let catalog = SqliteCatalog::in_memory().unwrap();
        let stream = NewStream {
            uuid: STREAM,
            collection: "fuzz".to_owned(),
            ..NewStream::default()
        };
        catalog.create(&stream, 0).unwrap();
        Self {
            blocks: Arc::default(),
            catalog: Arc::new(catalog),
            clock: Arc::new(ManualClock::new(0)),
        }
    }

    /// Makes a file of these bytes.
    pub fn put(&self, name: FileName, bytes: &[u8]) {
        self.blocks.create(name).unwrap();
        self.blocks.write_at(name, 0, bytes).unwrap();
    }

    pub fn open(&self, options: Options) -> Result<Engine, Error> {
        Engine::open(
            Arc::clone(&self.blocks) as _,
            Arc::clone(&self.catalog) as _,
            Arc::clone(&self.clock) as _,
            options,
        )
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

/// All points of a snapshot, as bits, ascending by time.
pub fn read(snapshot: &Snapshot) -> Result<Vec<(i64, u64)>, Error> {
    let mut reader = snapshot.raw(TimeRange::ALL);
    let mut found = Vec::new();
    while let Some(points) = reader.next_batch(1_000)? {
        assert!(points.times.is_sorted());
        found.extend(points.iter().map(|p| (p.time, p.value.to_bits())));
    }
    assert!(found.is_sorted_by_key(|pair| pair.0));
    Ok(found)
}

/// Asks a snapshot everything, about a range and a width; the answers may be errors.
pub fn question(snapshot: &Snapshot, range: TimeRange, width: u64) -> Result<(), Error> {
    if let Ok(Some(windows)) = PreciseWindows::new(range, width) {
        let mut reader = snapshot.windows(windows);
        for _ in 0..3 {
            reader.next_batch(100)?;
        }
    }
    snapshot.count(range)?;
    snapshot.nearest(range.start(), false)?;
    snapshot.nearest(range.end(), true)?;
    Ok(())
}
