//! The storage engine: streams of (time, value) points, every committed version readable, and
//! statistics of any window in time proportional to the answer.
//!
//! An [`Engine`] owns a directory, or lives in memory. An insert is acknowledged once its journal
//! record is synced. Its points then wait in a buffer of their stream until they are committed, in
//! batches, into a 64-way copy-on-write tree whose inner nodes carry the statistics of the points
//! below them. A [`Snapshot`] reads one version for as long as the snapshot lives.
//!
//! The crate is synchronous and does not know about the network.

#![cfg_attr(
    test,
    allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_wrap,
        clippy::cast_possible_truncation,
        reason = "numbers in tests are small"
    )
)]

mod aside;
mod background;
mod blocks;
mod buffer;
mod cache;
mod catalog;
mod catalog_writer;
mod clock;
mod columns;
mod compact;
mod engine;
mod error;
mod format;
#[cfg(fuzzing)]
pub mod fuzzing;
mod generations;
mod group;
mod history;
mod journal;
mod live;
mod lock;
mod manifest;
mod masks;
mod merge;
mod metadata;
mod options;
mod raw;
mod reclaim;
mod reclaim_state;
mod record;
mod records;
mod recover;
mod retention;
mod roll_forward;
mod segment;
mod signal;
mod snapshot;
mod store;
mod stream;
mod tree;
mod trim;
mod watch;
mod windows;

pub use blocks::{Blocks, DiskBlocks, FileKind, FileName, MemoryBlocks};
pub use catalog::{
    Catalog, CatalogState, Commit, FieldMerge, ForgottenVersions, Head, Hole, PropertyChange,
    SegmentState, SqliteCatalog,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use compact::Compaction;
pub use engine::Engine;
pub use error::Error;
pub use history::ChangeReader;
pub use options::{Durability, Options};
pub use raw::RawReader;
pub use record::{Record, RecordKind};
pub use retention::{CollectionRetention, StreamRetention};
pub use snapshot::Snapshot;
pub use stream::{MetadataUsage, NewStream, StreamDescriptor, StreamQuery};
pub use tree::Address;
pub use watch::Watcher;
pub use windows::WindowReader;
