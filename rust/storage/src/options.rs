//! Options of an engine.

/// When an insert is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// After its journal record is on stable storage.
    #[default]
    Synced,
    /// After its journal record was passed to the operating system: a crash of the process loses
    /// nothing, but a crash of the machine may lose the last moments.
    Relaxed,
}

/// Options of an engine; the default suits a server on a laptop.
#[derive(Clone, Debug)]
pub struct Options {
    /// When an insert is acknowledged.
    pub durability: Durability,
    /// Upper bound of the memory for decoded blocks that are kept for later reads, in bytes.
    pub cache_bytes: usize,
    /// A stream's buffer is committed when an insert brings it to this many points.
    pub buffer_points: usize,
    /// A stream's buffer is committed when its oldest point has waited this many nanoseconds.
    pub buffer_age_ns: i64,
    /// Length, in bytes, from which a segment is closed and the next one begun.
    pub segment_bytes: u64,
    /// Length, in bytes, from which a journal file is closed and the next one begun.
    pub journal_file_bytes: u64,
    /// Number of journal files beyond which the buffers in the oldest file are committed. This
    /// bounds the memory of buffers and the time that opening takes.
    pub journal_files: u32,
    /// Whether to open a directory of which something is missing or damaged, with whatever is
    /// intact; [`crate::Engine::missing`] lists what is not. Without it such a directory is
    /// refused.
    pub salvage: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Synced,
            cache_bytes: 256 << 20,
            buffer_points: 32_768,
            buffer_age_ns: 8 * 3_600 * 1_000_000_000,
            segment_bytes: 64 << 20,
            journal_file_bytes: 16 << 20,
            journal_files: 4,
            salvage: false,
        }
    }
}
