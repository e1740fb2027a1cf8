//! The engine: the public entry point of the crate.

use std::path::Path;
use std::sync::Arc;

use pingthings_types::{FIRST_MAJOR, LATEST, MergePolicy, Points, Version};
use uuid::Uuid;

use crate::background::Background;
use crate::blocks::{Blocks, DiskBlocks, MemoryBlocks};
use crate::catalog::{Catalog, SqliteCatalog};
use crate::error::io_error;
use crate::lock::DirectoryLock;
use crate::recover;
use crate::retention::TrimPrecision;
use crate::store::Store;
use crate::watch::Watcher;
use crate::{Clock, Error, NewStream, Options, Snapshot, StreamDescriptor, StreamQuery};

/// A store of time series, open for reading and writing.
///
/// Every method takes `&self`; share the engine in an `Arc`. Dropping it commits the buffered
/// points.
#[derive(Debug)]
pub struct Engine {
    pub(crate) store: Arc<Store>,
    background: Background,
    /// What salvage found missing or damaged on opening.
    missing: Vec<Error>,
    /// Dropped last: from then on another process may open the directory.
    _lock: Option<DirectoryLock>,
}

impl Engine {
    /// Opens the store in `blocks` and `catalog`; nobody else may use either of them.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the files do not contain what was written, [`Error::FormatVersion`] if
    /// they have a format version that this build does not read.
    pub fn open(
        blocks: Arc<dyn Blocks>,
        catalog: Arc<dyn Catalog>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, Error> {
        Self::start(blocks, catalog, clock, options, None)
    }

    /// Opens the directory at `path`, and creates it if it does not exist.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process has it open; otherwise as [`Engine::open`].
    pub fn open_directory(
        path: &Path,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, Error> {
        std::fs::create_dir_all(path).map_err(|e| io_error("create", path.display(), e))?;
        let lock = DirectoryLock::take(path)?;
        let blocks = DiskBlocks::open(path).map_err(|e| io_error("open", path.display(), e))?;
        let catalog = SqliteCatalog::open(&path.join("catalog.sqlite"))?;
        Self::start(
            Arc::new(blocks),
            Arc::new(catalog),
            clock,
            options,
            Some(lock),
        )
    }

    /// Opens an empty store that lives as long as the engine.
    pub fn in_memory(clock: Arc<dyn Clock>, options: Options) -> Result<Self, Error> {
        let catalog = Arc::new(SqliteCatalog::in_memory()?);
        Self::start(
            Arc::new(MemoryBlocks::default()),
            catalog,
            clock,
            options,
            None,
        )
    }

    fn start(
        blocks: Arc<dyn Blocks>,
        catalog: Arc<dyn Catalog>,
        clock: Arc<dyn Clock>,
        options: Options,
        lock: Option<DirectoryLock>,
    ) -> Result<Self, Error> {
        let (store, missing) = recover::open(blocks, catalog, clock, options)?;
        let store = Arc::new(store);
        let background = Background::start(Arc::clone(&store))?;
        Ok(Self {
            store,
            background,
            missing,
            _lock: lock,
        })
    }

    /// What was missing or damaged when the engine was opened with [`Options::salvage`]; empty
    /// otherwise.
    ///
    /// Damaged files were copied to the folder `set-aside` first.
    pub fn missing(&self) -> &[Error] {
        &self.missing
    }

    /// Creates an empty stream, at version 10.
    ///
    /// # Errors
    /// [`Error::SameStream`], [`Error::ReusedUuid`] or [`Error::AmbiguousStream`] if the uuid or
    /// the collection with the tags is taken; otherwise what is wrong with a name or value.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "callers have no further use for it, and another catalog may store it"
    )]
    pub fn create(&self, stream: NewStream) -> Result<(), Error> {
        self.store.check_open()?;
        stream.check()?;
        let now = self.store.clock.now_ns();
        self.store
            .catalog_writer
            .change(|catalog| catalog.create(&stream, now))
    }

    /// The description of a stream.
    pub fn stream(&self, uuid: Uuid) -> Result<StreamDescriptor, Error> {
        self.store.check_open()?;
        self.store.catalog.descriptor(uuid)
    }

    /// The latest version of a stream, and how many points are buffered on top of it.
    pub fn version(&self, uuid: Uuid) -> Result<Version, Error> {
        self.store.check_open()?;
        let view = self.store.stream(uuid)?.view();
        if view.is_gone {
            return Err(Error::NoSuchStream { uuid });
        }
        Ok(view.version())
    }

    /// The streams that match `query`, ordered by collection and name.
    pub fn lookup(&self, query: &StreamQuery) -> Result<Vec<StreamDescriptor>, Error> {
        self.store.check_open()?;
        self.store.catalog.lookup(query)
    }

    /// The collections whose names begin with `prefix` and that hold a stream, sorted.
    pub fn collections(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.store.check_open()?;
        self.store.catalog.collections(prefix)
    }

    /// Adds points, in any order; either all of them are stored or none.
    ///
    /// Returns when they are durable (see [`crate::Durability`]), with the last committed version
    /// and the number of points buffered on top of it. An insert that fills the buffer commits it.
    ///
    /// # Errors
    /// [`Error::PointTime`] or [`Error::BadValue`], which name the first point that cannot be
    /// stored.
    pub fn insert(
        &self,
        uuid: Uuid,
        points: Points,
        policy: MergePolicy,
    ) -> Result<Version, Error> {
        self.store.check_open()?;
        self.store.insert(uuid, points, policy)
    }

    /// Commits the buffered points of a stream, if there are any, as a new version.
    pub fn flush(&self, uuid: Uuid) -> Result<Version, Error> {
        self.store.check_open()?;
        self.store.flush(&*self.store.stream(uuid)?)
    }

    /// A view of one version: a committed one, or with 0 the latest one and its buffered points.
    ///
    /// # Errors
    /// [`Error::VersionNotAvailable`] if the version does not exist yet, or was forgotten.
    pub fn snapshot(&self, uuid: Uuid, version: u64) -> Result<Snapshot, Error> {
        self.store.check_open()?;
        let stream = self.store.stream(uuid)?;
        let view = stream.view();
        if view.is_gone {
            return Err(Error::NoSuchStream { uuid });
        }
        let segments = Arc::clone(&self.store.segments);
        if version == LATEST {
            return Ok(Snapshot::of_view(segments, &view));
        }
        let root = if version == view.major {
            view.root
        } else if version <= FIRST_MAJOR {
            None
        } else {
            let latest = view.major;
            let known = if version < latest {
                self.store.catalog.root(stream.id, version)?
            } else {
                None
            };
            known.ok_or(Error::VersionNotAvailable {
                uuid,
                version,
                latest,
            })?
        };
        Ok(Snapshot::of_version(segments, version, root, view.guard))
    }

    /// Runs the work of the background thread once, now: commits buffers that have waited too long,
    /// deletes points older than their retention, and reclaims their disk space.
    pub fn maintain(&self) -> Result<(), Error> {
        self.store.check_open()?;
        self.store.journal.confirm()?;
        self.store.flush_old()?;
        self.store.trim(TrimPrecision::Exactly)?;
        self.store.sweep()?;
        self.store.compact_due()
    }

    /// The error of the last run of the background thread, if that run failed.
    pub fn background_error(&self) -> Option<Error> {
        self.background.error()
    }

    /// Commits every buffer and closes the engine; later calls fail with [`Error::Closed`].
    ///
    /// Open snapshots can still be read.
    pub fn close(&self) -> Result<(), Error> {
        self.background.stop();
        self.store.close()
    }

    /// Notifies `watcher` of all points inserted into a stream from now on. Returns the number with
    /// which [`Engine::unwatch`] ends that.
    ///
    /// # Errors
    /// [`Error::NoSuchStream`] if the stream does not exist. If it is obliterated later, the
    /// watcher simply receives nothing more.
    pub fn watch(&self, uuid: Uuid, watcher: Arc<dyn Watcher>) -> Result<u64, Error> {
        self.version(uuid)?;
        Ok(self.store.watchers.add(uuid, watcher))
    }

    /// Stops notifying the watcher registered by [`Engine::watch`] with this number.
    pub fn unwatch(&self, uuid: Uuid, number: u64) {
        self.store.watchers.remove(uuid, number);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Points that cannot be committed stay in the journal; the next open replays them.
        let _ = self.close();
    }
}
