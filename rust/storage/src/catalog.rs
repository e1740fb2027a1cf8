//! The catalog: which streams exist, the root of each version, and the committed lengths of
//! segments.

mod checksum;
mod descriptors;
mod properties;
mod reclaim;
mod records;
mod schema;
mod sqlite;
mod values;

use std::collections::BTreeMap;
use std::fmt::Debug;

use uuid::Uuid;

pub use records::FieldMerge;
#[cfg(test)]
pub(crate) use schema::SCHEMA_VERSION;
pub use sqlite::SqliteCatalog;

use crate::tree::Address;
use crate::{
    CollectionRetention, Error, NewStream, Record, RecordKind, StreamDescriptor, StreamQuery,
    StreamRetention,
};

/// A new version of a stream's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The number of the stream in the catalog.
    pub stream: i64,
    /// Number of the version.
    pub major: u64,
    /// Root of its tree; `None` if it has no points.
    pub root: Option<Address>,
    /// The wall-clock time of the commit, in nanoseconds since the Unix epoch, UTC.
    pub wall_ns: i64,
}

/// The latest committed version of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The stream's number in the catalog.
    pub stream: i64,
    /// Its last committed version.
    pub major: u64,
    /// Root of that version's tree; `None` if it has no points.
    pub root: Option<Address>,
}

/// The state of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentState {
    /// Its committed length, including holes.
    pub length: u64,
    /// How often it was rewritten without its holes.
    pub generation: u32,
}

/// The identity of a catalog, and its last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatalogState {
    /// A random id, created with the catalog.
    pub id: Uuid,
    /// Number of its last change; 0 if there was none.
    pub change: u64,
}

/// A range of a segment that nothing refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hole {
    /// Number of the segment.
    pub segment: u32,
    /// Its offset in the segment as that was first written.
    pub offset: u32,
    /// Its length.
    pub length: u64,
    /// Whether the present file of the segment does not contain it.
    pub is_gone: bool,
}

/// Forgotten versions of a stream, whose blocks have not been found yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgottenVersions {
    /// Number of the last of them.
    pub last: u64,
    /// Their roots.
    pub roots: Vec<Address>,
    /// Root of the oldest version that can be opened; its blocks are still needed.
    pub oldest_kept: Option<Address>,
}

/// A change of a stream's collection, tags or annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertyChange {
    /// The property version that the change is based on; 0 to accept any.
    pub expected: u64,
    /// The collection to move to.
    pub collection: Option<String>,
    /// Tags to set; one without a value becomes empty.
    pub tags: BTreeMap<String, Option<String>>,
    /// Annotations to set; one without a value becomes null.
    pub annotations: BTreeMap<String, Option<String>>,
    /// Annotations to remove; unknown ones are ignored.
    pub removed: Vec<String>,
}

/// A small transactional database.
///
/// A call that changes something returns once the change is durable, and changes everything or
/// nothing. After a failed call, it is unknown whether its change has happened, until a later one
/// has succeeded.
pub trait Catalog: Send + Sync + Debug {
    /// The URI with which `SQLite` in this process opens the catalog for reading.
    fn uri(&self) -> &str;

    /// Whether no stream was ever created in it.
    fn is_unused(&self) -> Result<bool, Error>;

    /// The identity of the catalog, and its last change.
    fn state(&self) -> Result<CatalogState, Error>;

    /// Sets the number of the next changes. A number is never reused, not even that of a failed
    /// change.
    fn set_change_number(&self, change: u64);

    /// Makes a change that only sets the number of the last change.
    ///
    /// Once this has succeeded, what is read is what opening the catalog again would find, whatever
    /// failed before.
    fn settle(&self) -> Result<(), Error>;

    /// The stored retention clock; `None` if retention has never run.
    fn retention_clock(&self) -> Result<Option<i64>, Error>;

    /// Stores the retention clock.
    fn set_retention_clock(&self, wall_ns: i64) -> Result<(), Error>;

    /// The committed segments.
    fn segments(&self) -> Result<BTreeMap<u32, SegmentState>, Error>;

    /// Adds versions, and updates the lengths of the segments that contain their blocks.
    fn commit(&self, commits: &[Commit], segments: &BTreeMap<u32, u64>) -> Result<(), Error>;

    /// Adds a stream with its first version, created at `wall_ns`.
    fn create(&self, stream: &NewStream, wall_ns: i64) -> Result<(), Error>;

    /// The latest committed version of a stream.
    fn head(&self, uuid: Uuid) -> Result<Head, Error>;

    /// Whether the uuid belonged to a stream that was obliterated.
    fn is_uuid_retired(&self, uuid: Uuid) -> Result<bool, Error>;

    /// Root of a version; the outer `None` if the version does not exist.
    fn root(&self, stream: i64, major: u64) -> Result<Option<Option<Address>>, Error>;

    /// The description of a stream.
    fn descriptor(&self, uuid: Uuid) -> Result<StreamDescriptor, Error>;

    /// The streams that match `query`, ordered by collection and name.
    fn lookup(&self, query: &StreamQuery) -> Result<Vec<StreamDescriptor>, Error>;

    /// Removes a stream, forgets its versions, and excludes its uuid from reuse.
    fn obliterate(&self, uuid: Uuid) -> Result<(), Error>;

    /// Changes a stream's collection, tags or annotations at `wall_ns`, and returns the new
    /// property version.
    fn change_properties(
        &self,
        uuid: Uuid,
        change: &PropertyChange,
        wall_ns: i64,
    ) -> Result<u64, Error>;

    /// For each annotation key, the number of streams that have it, in collections that begin with
    /// `prefix`.
    fn annotation_usage(&self, prefix: &str) -> Result<Vec<(String, u64)>, Error>;

    /// The last version committed at or before a wall-clock time.
    fn version_at(&self, stream: i64, wall_ns: i64) -> Result<Option<u64>, Error>;

    /// Sets how long a stream keeps its points, in nanoseconds; `None` if its collection determines
    /// it.
    fn set_stream_retention(&self, uuid: Uuid, keep_ns: Option<i64>) -> Result<(), Error>;

    /// The own and the effective retention of a stream.
    fn stream_retention(&self, uuid: Uuid) -> Result<StreamRetention, Error>;

    /// Sets how long the streams of a collection keep their points.
    fn set_collection_retention(
        &self,
        collection: &str,
        retention: CollectionRetention,
    ) -> Result<(), Error>;

    /// The retention set for a collection, whether or not the collection exists.
    fn collection_retention(&self, collection: &str) -> Result<CollectionRetention, Error>;

    /// All records of a kind, by number.
    fn records(&self, kind: RecordKind) -> Result<Vec<Record>, Error>;

    /// The record with this number.
    fn record(&self, kind: RecordKind, id: i64) -> Result<Record, Error>;

    /// Adds a record, and assigns its number.
    fn add_record(&self, kind: RecordKind, name: &str, fields: &str) -> Result<Record, Error>;

    /// Changes a record: its name, if one is given, and its fields with `merge`.
    fn change_record(
        &self,
        kind: RecordKind,
        id: i64,
        name: Option<&str>,
        merge: FieldMerge<'_>,
    ) -> Result<Record, Error>;

    /// Removes a record; its number is never reused.
    fn delete_record(&self, kind: RecordKind, id: i64) -> Result<(), Error>;

    /// The streams with a retention, and its length in nanoseconds.
    fn streams_with_retention(&self) -> Result<Vec<(Uuid, i64)>, Error>;

    /// The collections whose names begin with `prefix` and that hold a stream, sorted.
    fn collections(&self, prefix: &str) -> Result<Vec<String>, Error>;

    /// Forgets the versions of a stream that were superseded at or before a wall-clock time, and
    /// returns how many there were.
    fn forget_versions(&self, stream: i64, wall_ns: i64) -> Result<usize, Error>;

    /// The streams with versions that were superseded at or before a wall-clock time.
    fn streams_with_superseded_versions(&self, wall_ns: i64) -> Result<Vec<Uuid>, Error>;

    /// The streams with forgotten versions, including obliterated streams.
    fn streams_with_forgotten_versions(&self) -> Result<Vec<i64>, Error>;

    /// The forgotten versions of a stream.
    fn forgotten_versions(&self, stream: i64) -> Result<ForgottenVersions, Error>;

    /// Drops the forgotten versions of a stream up to `last`, and adds `holes`, the ranges of their
    /// blocks.
    fn drop_forgotten_versions(&self, stream: i64, last: u64, holes: &[Hole]) -> Result<(), Error>;

    /// All holes, by segment and offset.
    fn holes(&self) -> Result<Vec<Hole>, Error>;

    /// Records that a segment is in a file of another generation now, with `holes` as all of its
    /// holes.
    fn set_generation(&self, segment: u32, generation: u32, holes: &[Hole]) -> Result<(), Error>;

    /// Removes a segment in which nothing is in use.
    fn remove_segment(&self, segment: u32) -> Result<(), Error>;

    /// Returns unused space of the catalog itself to the file system.
    fn shrink(&self) -> Result<(), Error>;
}
