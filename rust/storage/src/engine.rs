//! The engine: the only public entry.

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
use crate::retention::Trim;
use crate::store::Store;
use crate::watch::Watcher;
use crate::{Clock, Error, NewStream, Options, Snapshot, StreamDescriptor, StreamQuery};

/// A store of time series, open for reading and writing.
///
/// Every method takes `&self`; share it in an `Arc`. Dropping it commits what is buffered.
#[derive(Debug)]
pub struct Engine {
    pub(crate) store: Arc<Store>,
    background: Background,
    /// What was missing when it was opened.
    missing: Vec<Error>,
    /// Freed last: another process may open the directory from then on.
    _lock: Option<DirectoryLock>,
}

impl Engine {
    /// Opens what `blocks` and `catalog` hold; both must be used by nobody else.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the files are not what was written, [`Error::FormatVersion`] if
    /// another version of the format wrote them.
    pub fn open(
        blocks: Arc<dyn Blocks>,
        catalog: Arc<dyn Catalog>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, Error> {
        Self::start(blocks, catalog, clock, options, None)
    }

    /// Opens the directory at `path`, creating it where needed.
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

    /// What was missing or damaged when it was opened with [`Options::salvage`]; nothing otherwise.
    ///
    /// What was not whole has been copied into the folder `set-aside`.
    pub fn missing(&self) -> &[Error] {
        &self.missing
    }

    /// Creates a stream, empty, at version 10.
    ///
    /// # Errors
    /// [`Error::SameStream`], [`Error::ReusedUuid`] or [`Error::AmbiguousStream`] if the uuid or
    /// the collection with the tags is taken; otherwise what is wrong with a name or value.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "the caller has no more use for it, and another catalog may keep it"
    )]
    pub fn create(&self, stream: NewStream) -> Result<(), Error> {
        self.store.check_open()?;
        stream.check()?;
        let now = self.store.clock.now_ns();
        self.store
            .ledger
            .change(|catalog| catalog.create(&stream, now))
    }

    /// The description of a stream.
    pub fn stream(&self, uuid: Uuid) -> Result<StreamDescriptor, Error> {
        self.store.check_open()?;
        self.store.catalog.descriptor(uuid)
    }

    /// Where the data of a stream stand.
    pub fn version(&self, uuid: Uuid) -> Result<Version, Error> {
        self.store.check_open()?;
        let view = self.store.stream(uuid)?.view();
        if view.is_gone {
            return Err(Error::NoSuchStream { uuid });
        }
        Ok(view.version())
    }

    /// The streams that fit `query`, ordered by collection and name.
    pub fn lookup(&self, query: &StreamQuery) -> Result<Vec<StreamDescriptor>, Error> {
        self.store.check_open()?;
        self.store.catalog.lookup(query)
    }

    /// The collections whose names begin with `prefix` and that hold a stream, sorted.
    pub fn collections(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.store.check_open()?;
        self.store.catalog.collections(prefix)
    }

    /// Adds points, in any order; all of them or none.
    ///
    /// Returns when they are durable (see [`crate::Durability`]): the last committed version and
    /// how many points are buffered on top of it. An insert that fills the buffer commits it.
    ///
    /// # Errors
    /// [`Error::PointTime`] or [`Error::BadValue`] name the first point that cannot be stored.
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

    /// A view of one version: a committed one, or with 0 the latest with its buffered points.
    ///
    /// # Errors
    /// [`Error::VersionNotAvailable`] for a version that is not there yet, or no longer.
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
        Ok(Snapshot::of_version(segments, version, root, view.hold))
    }

    /// Does at once what the background thread does from time to time: commits buffers that have
    /// waited too long, trims what retention no longer keeps, and reclaims the room of it.
    pub fn maintain(&self) -> Result<(), Error> {
        self.store.check_open()?;
        self.store.journal.confirm()?;
        self.store.flush_old()?;
        self.store.trim(Trim::Exactly)?;
        self.store.sweep()?;
        self.store.compact_due()
    }

    /// What the background thread failed in the last time it had something to do, if it did.
    pub fn background_error(&self) -> Option<Error> {
        self.background.error()
    }

    /// Commits every buffer and closes; later calls fail with [`Error::Closed`].
    ///
    /// Snapshots go on reading.
    pub fn close(&self) -> Result<(), Error> {
        self.background.stop();
        self.store.close()
    }

    /// Has a watcher told of the points that are inserted into a stream from now on; gives the
    /// number by which [`Engine::unwatch`] ends it.
    ///
    /// # Errors
    /// [`Error::NoSuchStream`] if there is none. One that is obliterated later is just silent.
    pub fn watch(&self, uuid: Uuid, watcher: Arc<dyn Watcher>) -> Result<u64, Error> {
        self.version(uuid)?;
        Ok(self.store.watchers.add(uuid, watcher))
    }

    /// Ends what [`Engine::watch`] began.
    pub fn unwatch(&self, uuid: Uuid, number: u64) {
        self.store.watchers.remove(uuid, number);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // What cannot be committed stays in the journal, from where the next open takes it.
        let _ = self.close();
    }
}
