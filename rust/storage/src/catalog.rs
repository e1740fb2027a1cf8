//! The catalog: which streams there are, where the root of each version is, which segments count.

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

pub use records::Merge;
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
    /// The stream, by its number in the catalog.
    pub stream: i64,
    /// Number of the version.
    pub major: u64,
    /// Root of its tree; `None` if it has no points.
    pub root: Option<Address>,
    /// When it was committed, in nanoseconds since the Unix epoch, UTC.
    pub wall_ns: i64,
}

/// Where a stream's data stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The stream's number in the catalog.
    pub stream: i64,
    /// Its last committed version.
    pub major: u64,
    /// Root of that version's tree; `None` if it has no points.
    pub root: Option<Address>,
}

/// What is known of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentState {
    /// Its committed length, holes included.
    pub length: u64,
    /// How often it was written anew without its holes.
    pub generation: u32,
}

/// Which catalog this is, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatalogState {
    /// Made with the catalog: that of another directory has another one.
    pub id: Uuid,
    /// Number of its last change; 0 if nothing was changed since it was made.
    pub change: u64,
}

/// A range of a segment nothing leads to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hole {
    /// Number of the segment.
    pub segment: u32,
    /// Where it begins, in the segment as it was first written.
    pub offset: u32,
    /// How long it is.
    pub length: u64,
    /// Whether the present file of the segment is without it.
    pub is_gone: bool,
}

/// Versions of a stream nobody can ask for any more, whose blocks were not looked for yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// Number of the last of them.
    pub last: u64,
    /// Their roots.
    pub roots: Vec<Address>,
    /// Root of the oldest version that can be asked for: what it leads to is not theirs alone.
    pub oldest_kept: Option<Address>,
}

/// A change of a stream's collection, tags or annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertyChange {
    /// The property version the change is based on; 0 for whichever it is.
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

/// Small tables with transactions.
///
/// A call that changes something returns once the change is durable, and changes all or nothing.
/// After one that failed, whether its change is there is not known until a later one succeeded.
pub trait Catalog: Send + Sync + Debug {
    /// The URI by which `SQLite` in this process opens it for reading.
    fn uri(&self) -> &str;

    /// Whether no stream was ever created in it.
    fn is_unused(&self) -> Result<bool, Error>;

    /// Which catalog this is, and its last change.
    fn state(&self) -> Result<CatalogState, Error>;

    /// Sets the number that the changes from now on carry. A number is never used again, not even
    /// that of a change that failed.
    fn number(&self, change: u64);

    /// Changes nothing but the number of the last change.
    ///
    /// Once this has succeeded, what is read is what opening the catalog again would find, whatever
    /// failed before.
    fn settle(&self) -> Result<(), Error>;

    /// The latest time of the clock by which retention went; none before it did.
    fn seen(&self) -> Result<Option<i64>, Error>;

    /// Notes a time of the clock by which retention goes.
    fn see(&self, wall_ns: i64) -> Result<(), Error>;

    /// The segments that count.
    fn segments(&self) -> Result<BTreeMap<u32, SegmentState>, Error>;

    /// Adds versions, and the lengths of the segments their blocks are in.
    fn commit(&self, commits: &[Commit], segments: &BTreeMap<u32, u64>) -> Result<(), Error>;

    /// Adds a stream with its first version, made at `wall_ns`.
    fn create(&self, stream: &NewStream, wall_ns: i64) -> Result<(), Error>;

    /// Where a stream's data stand.
    fn head(&self, uuid: Uuid) -> Result<Head, Error>;

    /// Whether the uuid belonged to a stream that was obliterated.
    fn is_burnt(&self, uuid: Uuid) -> Result<bool, Error>;

    /// Root of a version; the outer `None` if there is no such version.
    fn root(&self, stream: i64, major: u64) -> Result<Option<Option<Address>>, Error>;

    /// The description of a stream.
    fn descriptor(&self, uuid: Uuid) -> Result<StreamDescriptor, Error>;

    /// The streams that fit `query`, ordered by collection and name.
    fn lookup(&self, query: &StreamQuery) -> Result<Vec<StreamDescriptor>, Error>;

    /// Removes a stream and burns its uuid; its versions are doomed.
    fn obliterate(&self, uuid: Uuid) -> Result<(), Error>;

    /// Changes a stream's collection, tags or annotations at `wall_ns`; gives the new property
    /// version.
    fn change(&self, uuid: Uuid, change: &PropertyChange, wall_ns: i64) -> Result<u64, Error>;

    /// How many streams of collections that begin with `prefix` have which annotation, by key.
    fn usage(&self, prefix: &str) -> Result<Vec<(String, u64)>, Error>;

    /// The last version committed at or before a time of the clock.
    fn version_at(&self, stream: i64, wall_ns: i64) -> Result<Option<u64>, Error>;

    /// How long a stream keeps its points, in nanoseconds; `None` for ever.
    fn keep_stream(&self, uuid: Uuid, keep_ns: Option<i64>) -> Result<(), Error>;

    /// How long a stream keeps its points, by its own policy and in effect.
    fn stream_retention(&self, uuid: Uuid) -> Result<StreamRetention, Error>;

    /// How long the streams of a collection keep their points.
    fn keep_collection(
        &self,
        collection: &str,
        retention: CollectionRetention,
    ) -> Result<(), Error>;

    /// What was set for a collection, whether or not there is such a collection.
    fn collection_retention(&self, collection: &str) -> Result<CollectionRetention, Error>;

    /// All records of a kind, by number.
    fn records(&self, kind: RecordKind) -> Result<Vec<Record>, Error>;

    /// The record with this number.
    fn record(&self, kind: RecordKind, id: i64) -> Result<Record, Error>;

    /// Adds a record and gives it a number.
    fn add_record(&self, kind: RecordKind, name: &str, fields: &str) -> Result<Record, Error>;

    /// Changes a record: its name where one is given, its fields to what `merge` makes of them.
    fn change_record(
        &self,
        kind: RecordKind,
        id: i64,
        name: Option<&str>,
        merge: Merge<'_>,
    ) -> Result<Record, Error>;

    /// Removes a record; its number is never given again.
    fn delete_record(&self, kind: RecordKind, id: i64) -> Result<(), Error>;

    /// The streams that do not keep their points for ever, and how long they do.
    fn kept(&self) -> Result<Vec<(Uuid, i64)>, Error>;

    /// The collections whose names begin with `prefix` and that hold a stream, sorted.
    fn collections(&self, prefix: &str) -> Result<Vec<String>, Error>;

    /// Dooms the versions of a stream that had a successor at a time of the clock; gives how many.
    fn forget(&self, stream: i64, wall_ns: i64) -> Result<usize, Error>;

    /// The streams with versions that had a successor at a time of the clock.
    fn forgettable(&self, wall_ns: i64) -> Result<Vec<Uuid>, Error>;

    /// The streams that have doomed versions, also those that were obliterated.
    fn doomed_streams(&self) -> Result<Vec<i64>, Error>;

    /// The doomed versions of a stream.
    fn doomed(&self, stream: i64) -> Result<Doomed, Error>;

    /// Drops the doomed versions of a stream up to `last`; `holes` are where their blocks were.
    fn bury(&self, stream: i64, last: u64, holes: &[Hole]) -> Result<(), Error>;

    /// All holes, by segment and offset.
    fn holes(&self) -> Result<Vec<Hole>, Error>;

    /// Notes that a segment is in a file of another generation now; `holes` are all it has.
    fn rewritten(&self, segment: u32, generation: u32, holes: &[Hole]) -> Result<(), Error>;

    /// Forgets a segment that holds nothing any more.
    fn removed(&self, segment: u32) -> Result<(), Error>;

    /// Gives back the room the catalog itself does not need any more.
    fn shrink(&self) -> Result<(), Error>;
}
