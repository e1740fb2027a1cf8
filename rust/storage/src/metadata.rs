//! Metadata of streams: changing, counting and forgetting them.

use uuid::Uuid;

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
}
