//! What an engine is opened with.

/// When an insert is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// After its journal record is on stable storage.
    #[default]
    Synced,
    /// After its journal record was handed to the operating system: a crash of the process loses
    /// nothing, a crash of the machine may lose the last moments.
    Relaxed,
}

/// What an engine is opened with; the default suits a server on a laptop.
#[derive(Clone, Debug)]
pub struct Options {
    /// When an insert is answered.
    pub durability: Durability,
    /// Upper bound, in bytes, of decoded blocks kept for later reads.
    pub cache_bytes: usize,
    /// A stream's buffer is committed when an insert brings it to this many points.
    pub buffer_points: usize,
    /// A stream's buffer is committed when its oldest point has waited this many nanoseconds.
    pub buffer_age_ns: i64,
    /// Length, in bytes, from which a segment is closed and the next one begun.
    pub segment_bytes: u64,
    /// Length, in bytes, from which a journal file is closed and the next one begun.
    pub journal_file_bytes: u64,
    /// How many journal files there may be before the buffers in the oldest are committed: this
    /// bounds the memory buffers take, and how long opening takes.
    pub journal_files: u32,
    /// Whether to open what is whole of a directory of which something is missing or damaged;
    /// [`crate::Engine::missing`] says what. Without it such a directory is refused.
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
