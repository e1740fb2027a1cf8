//! Versions of a stream's data.

/// The version number on the wire for the latest data, which includes points that are not committed
/// yet.
pub const LATEST: u64 = 0;

/// The major version of a new, empty stream.
pub const FIRST_MAJOR: u64 = 10;

/// The state of a stream's data: the last committed version, and the number of points buffered on
/// top of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Number of the last committed version; it increases by one with each commit.
    pub major: u64,
    /// Number of points that were acknowledged since: durable, but not in a numbered version yet.
    pub minor: u64,
}
