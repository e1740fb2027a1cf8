//! The storage engine: streams of (time, value) points, every committed version readable, and
//! statistics of any window in time proportional to the answer.
//!
//! An [`Engine`] owns a directory (or memory). Inserts are acknowledged once their journal record
//! is synced, wait in a buffer per stream, and are committed in batches into a 64-way
//! copy-on-write tree whose inner nodes carry the statistics of what lies below. A [`Snapshot`]
//! reads one version for as long as it lives.
//!
//! The crate is synchronous and knows nothing of the network.

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
mod clock;
mod columns;
mod compact;
mod doomed;
mod engine;
mod error;
mod format;
#[cfg(fuzzing)]
pub mod fuzzing;
mod generations;
mod group;
mod history;
mod journal;
mod ledger;
mod live;
mod lock;
mod manifest;
mod masks;
mod merge;
mod metadata;
mod options;
mod raw;
mod reclaim;
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
    Catalog, CatalogState, Commit, Doomed, Head, Hole, Merge, PropertyChange, SegmentState,
    SqliteCatalog,
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
