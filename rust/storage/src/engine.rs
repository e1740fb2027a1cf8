//! The engine: the only public entry.

use std::path::Path;
use std::sync::Arc;

use pingthings_types::{MergePolicy, Points, Version};
use uuid::Uuid;

use crate::{Clock, Error, NewStream, Options, Snapshot, StreamDescriptor, StreamQuery};

/// A store of time series, open for reading and writing.
///
/// Every method takes `&self`; share it in an `Arc`.
#[derive(Debug)]
pub struct Engine;

#[allow(
    clippy::todo,
    clippy::missing_const_for_fn,
    unused_variables,
    reason = "outline"
)]
impl Engine {
    /// Opens the directory at `path`, creating it where needed.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process has it open, [`Error::Damaged`] if its files are not
    /// what was written.
    pub fn open_directory(
        path: &Path,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, Error> {
        todo!()
    }

    /// Opens an empty store that lives as long as the engine.
    pub fn in_memory(clock: Arc<dyn Clock>, options: Options) -> Result<Self, Error> {
        todo!()
    }

    /// Creates a stream, empty, at version 10.
    pub fn create(&self, stream: NewStream) -> Result<(), Error> {
        todo!()
    }

    /// The description of a stream.
    pub fn stream(&self, uuid: Uuid) -> Result<StreamDescriptor, Error> {
        todo!()
    }

    /// Where the data of a stream stand.
    pub fn version(&self, uuid: Uuid) -> Result<Version, Error> {
        todo!()
    }

    /// The streams that fit `query`, ordered by collection and name.
    pub fn lookup(&self, query: &StreamQuery) -> Result<Vec<StreamDescriptor>, Error> {
        todo!()
    }

    /// The collections whose names begin with `prefix` and that hold a stream, sorted.
    pub fn collections(&self, prefix: &str) -> Result<Vec<String>, Error> {
        todo!()
    }

    /// Adds points, in any order; all of them or none.
    pub fn insert(
        &self,
        uuid: Uuid,
        points: Points,
        policy: MergePolicy,
    ) -> Result<Version, Error> {
        todo!()
    }

    /// Commits the buffered points of a stream, if there are any, as a new version.
    pub fn flush(&self, uuid: Uuid) -> Result<Version, Error> {
        todo!()
    }

    /// A view of one version: a committed one, or with 0 the latest with its buffered points.
    pub fn snapshot(&self, uuid: Uuid, version: u64) -> Result<Snapshot, Error> {
        todo!()
    }

    /// Commits every buffer and closes; later calls fail with [`Error::Closed`].
    pub fn close(&self) -> Result<(), Error> {
        todo!()
    }
}
