//! Versions of a stream's data.

/// On the wire: the newest data, with points that are not yet in a committed version.
pub const LATEST: u64 = 0;

/// The major version of a new, empty stream.
pub const FIRST_MAJOR: u64 = 10;

/// Where a stream's data stand: the last committed version and what is buffered on top of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Number of the last committed version; each commit adds one.
    pub major: u64,
    /// Points acknowledged since, durable but not yet in a numbered version.
    pub minor: u64,
}
