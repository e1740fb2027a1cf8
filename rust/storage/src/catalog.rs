//! The catalog: which streams there are, where the root of each version is, which segments count.

mod descriptors;
mod properties;
mod sqlite;

use std::collections::BTreeMap;
use std::fmt::Debug;

use uuid::Uuid;

pub use sqlite::SqliteCatalog;

use crate::tree::Address;
use crate::{Error, NewStream, StreamDescriptor, StreamQuery};

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
pub trait Catalog: Send + Sync + Debug {
    /// Whether no stream was ever created in it.
    fn is_unused(&self) -> Result<bool, Error>;

    /// The committed length of each segment.
    fn segments(&self) -> Result<BTreeMap<u32, u64>, Error>;

    /// Adds versions, and the lengths of the segments their blocks are in.
    fn commit(&self, commits: &[Commit], segments: &BTreeMap<u32, u64>) -> Result<(), Error>;

    /// Adds a stream with its first version, made at `wall_ns`.
    fn create(&self, stream: &NewStream, wall_ns: i64) -> Result<(), Error>;

    /// Where a stream's data stand.
    fn head(&self, uuid: Uuid) -> Result<Head, Error>;

    /// Root of a version; the outer `None` if there is no such version.
    fn root(&self, stream: i64, major: u64) -> Result<Option<Option<Address>>, Error>;

    /// The description of a stream.
    fn descriptor(&self, uuid: Uuid) -> Result<StreamDescriptor, Error>;

    /// The streams that fit `query`, ordered by collection and name.
    fn lookup(&self, query: &StreamQuery) -> Result<Vec<StreamDescriptor>, Error>;

    /// Removes a stream with all its versions, and burns its uuid.
    fn obliterate(&self, uuid: Uuid) -> Result<(), Error>;

    /// Changes a stream's collection, tags or annotations; gives the new property version.
    fn change(&self, uuid: Uuid, change: &PropertyChange) -> Result<u64, Error>;

    /// How many streams of collections that begin with `prefix` have which annotation, by key.
    fn usage(&self, prefix: &str) -> Result<Vec<(String, u64)>, Error>;

    /// The last version committed at or before a time of the clock.
    fn version_at(&self, stream: i64, wall_ns: i64) -> Result<Option<u64>, Error>;

    /// How long a stream keeps its points, in nanoseconds; `None` for ever.
    fn keep_stream(&self, uuid: Uuid, keep_ns: Option<i64>) -> Result<(), Error>;

    /// How long the streams of a collection that say nothing themselves keep their points.
    fn keep_collection(&self, collection: &str, keep_ns: Option<i64>) -> Result<(), Error>;

    /// The streams that do not keep their points for ever, and how long they do.
    fn kept(&self) -> Result<Vec<(Uuid, i64)>, Error>;

    /// The collections whose names begin with `prefix` and that hold a stream, sorted.
    fn collections(&self, prefix: &str) -> Result<Vec<String>, Error>;
}
