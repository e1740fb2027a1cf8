//! Metadata of streams: changing, counting and forgetting them, and how long points are kept.

use std::time::Duration;

use uuid::Uuid;

use crate::retention::{CollectionRetention, StreamRetention, check_retention};
use crate::stream::{TAG_KEYS, check_annotation, check_collection, check_tag};
use crate::{Engine, Error, MetadataUsage, PropertyChange};

impl Engine {
    /// Changes a stream's collection, tags or annotations; gives the new property version.
    ///
    /// # Errors
    /// [`Error::PropertyVersion`] if the metadata are not at the expected version,
    /// [`Error::AmbiguousStream`] if the collection and tags are taken.
    pub fn set_properties(&self, uuid: Uuid, change: &PropertyChange) -> Result<u64, Error> {
        self.store.check_open()?;
        if let Some(collection) = &change.collection {
            check_collection(collection)?;
        }
        for (key, value) in &change.tags {
            check_tag(key, value.as_deref())?;
        }
        for (key, value) in &change.annotations {
            check_annotation(key, value.as_deref())?;
        }
        let now = self.store.clock.now_ns();
        self.store
            .ledger
            .change(|catalog| catalog.change(uuid, change, now))
    }

    /// The URI by which `SQLite` in this process opens the catalog for reading.
    pub fn catalog_uri(&self) -> &str {
        self.store.catalog.uri()
    }

    /// Which metadata the streams have whose collections begin with `prefix`.
    pub fn metadata_usage(&self, prefix: &str) -> Result<MetadataUsage, Error> {
        self.store.check_open()?;
        Ok(MetadataUsage {
            tags: TAG_KEYS.map(|key| (key.to_owned(), 0)).to_vec(),
            annotations: self.store.catalog.usage(prefix)?,
        })
    }

    /// Forgets a stream at once: its collection and tags are free again, its uuid never is.
    pub fn obliterate(&self, uuid: Uuid) -> Result<(), Error> {
        self.store.check_open()?;
        self.store.obliterate(uuid)
    }

    // --- retention ---------------------------------------------------------------------------

    /// How far retention is behind the clock, which went further than time has passed; zero if it
    /// is not.
    ///
    /// It follows four times as fast as time passes. Correct the clock if it is wrong.
    pub fn retention_behind(&self) -> Duration {
        self.store.pace.behind()
    }

    /// Sets for how many nanoseconds a stream keeps its points; `None` leaves it to its
    /// collection.
    ///
    /// A point goes once its own time lies further back than that by the clock, at the latest
    /// when a 64th more has passed. Past versions still show it, until they themselves were
    /// replaced that long ago: then they are forgotten, and their room is reclaimed.
    pub fn set_stream_retention(&self, uuid: Uuid, keep_ns: Option<i64>) -> Result<(), Error> {
        self.store.check_open()?;
        check_retention(keep_ns)?;
        self.store
            .ledger
            .change(|catalog| catalog.keep_stream(uuid, keep_ns))
    }

    /// How long a stream keeps its points.
    pub fn stream_retention(&self, uuid: Uuid) -> Result<StreamRetention, Error> {
        self.store.check_open()?;
        self.store.catalog.stream_retention(uuid)
    }

    /// Sets how long the streams of a collection keep their points, those that will be in it
    /// included.
    ///
    /// A stream with a retention of its own goes by that, unless the collection overrides it.
    pub fn set_collection_retention(
        &self,
        collection: &str,
        retention: impl Into<CollectionRetention>,
    ) -> Result<(), Error> {
        self.store.check_open()?;
        check_collection(collection)?;
        let retention = retention.into();
        check_retention(retention.keep_ns)?;
        self.store
            .ledger
            .change(|catalog| catalog.keep_collection(collection, retention))
    }

    /// What was set for a collection; nothing is for ever.
    pub fn collection_retention(&self, collection: &str) -> Result<CollectionRetention, Error> {
        self.store.check_open()?;
        self.store.catalog.collection_retention(collection)
    }
}
