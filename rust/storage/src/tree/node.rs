//! The nodes of a tree in memory.

use std::sync::Arc;

use pingthings_types::{Points, Stat};

/// Exponent of the buckets of the root.
pub(crate) const ROOT_EXPONENT: u32 = 56;

/// A leaf holds at most this many points.
pub(crate) const MAX_LEAF: usize = 4_096;

/// A leaf with fewer points is joined with its neighbours when those are rewritten.
pub(crate) const SMALL_LEAF: u64 = 2_048;

/// Exponent of the buckets on the next lower level.
pub(crate) const fn below(exponent: u32) -> u32 {
    exponent.saturating_sub(6)
}

/// The location of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Number of the segment.
    pub segment: u32,
    /// Offset of its header in the segment.
    pub offset: u32,
    /// Length, including the header.
    pub length: u32,
}

/// The kind of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    Leaf,
    Inner,
    Run,
}

impl BlockKind {
    pub(crate) const fn is_leaf(self) -> bool {
        matches!(self, Self::Leaf)
    }

    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Self::Leaf => 1,
            Self::Inner => 2,
            Self::Run => 3,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Leaf),
            2 => Some(Self::Inner),
            3 => Some(Self::Run),
            _ => None,
        }
    }
}

/// A decoded block.
#[derive(Clone, Debug)]
pub(crate) enum Block {
    /// Points sorted by time.
    Leaf(Arc<Points>),
    Inner(Arc<Inner>),
    Run(Arc<Run>),
}

impl Block {
    /// Size in memory, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let own = match self {
            Self::Leaf(points) => (points.times.capacity() + points.values.capacity()) * 8,
            Self::Inner(inner) => {
                size_of_val(&*inner.stats) + inner.children.capacity() * size_of::<Child>()
            }
            Self::Run(run) => run.leaves.capacity() * size_of::<(Address, Stat)>(),
        };
        own + size_of::<Self>()
    }
}

/// A child of an inner node, which covers one or more neighbouring buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    /// First bucket, which is occupied.
    pub(crate) first: u8,
    /// Last bucket, which is occupied; only a leaf covers more than one.
    pub(crate) last: u8,
    pub(crate) kind: BlockKind,
    pub(crate) address: Address,
}

/// A node with 64 buckets.
#[derive(Debug)]
pub(crate) struct Inner {
    /// First nanosecond of the first bucket.
    pub(crate) start: i64,
    /// A bucket is 2^exponent ns wide.
    pub(crate) exponent: u32,
    /// Statistics of each bucket; one without points has no child.
    pub(crate) stats: Box<[Stat; 64]>,
    /// Ascending by bucket.
    pub(crate) children: Vec<Child>,
}

/// First nanosecond of a bucket of a node.
pub(crate) const fn bucket_start(start: i64, exponent: u32, bucket: u8) -> i64 {
    start + ((bucket as i64) << exponent)
}

/// The bucket that contains `time`; the first one for earlier times, the last one for later times.
pub(crate) fn bucket_of(start: i64, exponent: u32, time: i64) -> u8 {
    if time <= start {
        return 0;
    }
    u8::try_from(time.abs_diff(start) >> exponent).map_or(63, |bucket| bucket.min(63))
}

impl Inner {
    /// First nanosecond of a bucket.
    pub(crate) const fn bucket_start(&self, bucket: u8) -> i64 {
        bucket_start(self.start, self.exponent, bucket)
    }

    /// The nanosecond after the last one of a bucket.
    pub(crate) const fn bucket_end(&self, bucket: u8) -> i64 {
        bucket_start(self.start, self.exponent, bucket + 1)
    }

    /// Number of points below a child.
    pub(crate) fn count(&self, child: &Child) -> u64 {
        let buckets = usize::from(child.first)..=usize::from(child.last);
        self.stats[buckets].iter().map(|stat| stat.count).sum()
    }
}

/// A list of leaves for more points at one time than a single leaf holds.
#[derive(Debug)]
pub(crate) struct Run {
    /// The time of every point.
    pub(crate) time: i64,
    /// Its leaves in the order the points arrived.
    pub(crate) leaves: Vec<(Address, Stat)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingthings_types::{MAX_INSERT_TIME, MIN_TIME};

    #[test]
    fn buckets_divide_time() {
        assert_eq!(bucket_of(MIN_TIME, ROOT_EXPONENT, MIN_TIME), 0);
        assert_eq!(bucket_of(MIN_TIME, ROOT_EXPONENT, MAX_INSERT_TIME), 63);
        assert_eq!(bucket_of(MIN_TIME, ROOT_EXPONENT, 0), 16);
        assert_eq!(bucket_start(MIN_TIME, ROOT_EXPONENT, 16), 0);
        assert_eq!(bucket_of(100, 0, 99), 0);
        assert_eq!(bucket_of(100, 0, 103), 3);
    }

    #[test]
    fn levels_end_at_single_nanoseconds() {
        let mut exponent = ROOT_EXPONENT;
        let mut levels = vec![exponent];
        while exponent > 0 {
            exponent = below(exponent);
            levels.push(exponent);
        }
        assert_eq!(levels, [56, 50, 44, 38, 32, 26, 20, 14, 8, 2, 0]);
    }
}
