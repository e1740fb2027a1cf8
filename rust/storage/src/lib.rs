//! The storage engine: streams of (time, value) points, every committed version readable, and
//! statistics of any window in time proportional to the answer.
//!
//! An [`Engine`] owns a directory (or memory). Inserts are acknowledged once their journal record
//! is synced, wait in a buffer per stream, and are committed in batches into a 64-way
//! copy-on-write tree whose inner nodes carry the statistics of what lies below. A [`Snapshot`]
//! reads one version for as long as it lives.
//!
//! The crate is synchronous and knows nothing of the network.

mod clock;
mod engine;
mod error;
mod options;
mod snapshot;
mod stream;

pub use clock::{Clock, ManualClock, SystemClock};
pub use engine::Engine;
pub use error::Error;
pub use options::{Durability, Options};
pub use snapshot::{RawReader, Snapshot, WindowReader};
pub use stream::{NewStream, StreamDescriptor, StreamQuery};
