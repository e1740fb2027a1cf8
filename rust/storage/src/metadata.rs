//! Metadata of streams: changing and counting them, obliterating streams, and retention.

use std::time::Duration;

use uuid::Uuid;

use crate::retention::{CollectionRetention, StreamRetention, check_retention};
use crate::stream::{TAG_KEYS, check_annotation, check_collection, check_tag};
use crate::{Engine, Error, MetadataUsage, PropertyChange};

impl Engine {
    /// Changes a stream's collection, tags or annotations, and returns the new property version.
    ///
    /// # Errors
    /// [`Error::PropertyVersion`] if the metadata do not have the expected version,
    /// [`Error::AmbiguousStream`] if another stream has the collection and tags.
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
            .catalog_writer
            .change(|catalog| catalog.change_properties(uuid, change, now))
    }

    /// The URI with which `SQLite` in this process opens the catalog for reading.
    pub fn catalog_uri(&self) -> &str {
        self.store.catalog.uri()
    }

    /// Which tags and annotations are in use by the streams whose collections begin with `prefix`.
    pub fn metadata_usage(&self, prefix: &str) -> Result<MetadataUsage, Error> {
        self.store.check_open()?;
        Ok(MetadataUsage {
            tags: TAG_KEYS.map(|key| (key.to_owned(), 0)).to_vec(),
            annotations: self.store.catalog.annotation_usage(prefix)?,
        })
    }

    /// Removes a stream and its data at once. Its collection and tags become free; its uuid can
    /// never be used again.
    pub fn obliterate(&self, uuid: Uuid) -> Result<(), Error> {
        self.store.check_open()?;
        self.store.obliterate(uuid)
    }

    // --- retention ---------------------------------------------------------------------------

    /// How far the retention clock is behind the wall clock; zero if it is not behind.
    ///
    /// It falls behind if the wall clock advances further than time has passed, and then catches up
    /// four times as fast as time passes. Correct the wall clock if it is wrong.
    pub fn retention_behind(&self) -> Duration {
        self.store.pace.behind()
    }

    /// Sets for how many nanoseconds a stream keeps its points; with `None` the retention of its
    /// collection applies.
    ///
    /// A point is deleted once it is older than that by the wall clock, at the latest after another
    /// 64th of the retention has passed. Earlier versions still contain it until they themselves
    /// were superseded that long ago: then they are forgotten and their space is reclaimed.
    pub fn set_stream_retention(&self, uuid: Uuid, keep_ns: Option<i64>) -> Result<(), Error> {
        self.store.check_open()?;
        check_retention(keep_ns)?;
        self.store
            .catalog_writer
            .change(|catalog| catalog.set_stream_retention(uuid, keep_ns))
    }

    /// How long a stream keeps its points.
    pub fn stream_retention(&self, uuid: Uuid) -> Result<StreamRetention, Error> {
        self.store.check_open()?;
        self.store.catalog.stream_retention(uuid)
    }

    /// Sets how long the streams of a collection keep their points, including streams that join it
    /// later.
    ///
    /// A stream with a retention of its own uses that, unless the collection overrides it.
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
            .catalog_writer
            .change(|catalog| catalog.set_collection_retention(collection, retention))
    }

    /// The retention set for a collection; by default points are kept for ever.
    pub fn collection_retention(&self, collection: &str) -> Result<CollectionRetention, Error> {
        self.store.check_open()?;
        self.store.catalog.collection_retention(collection)
    }
}
