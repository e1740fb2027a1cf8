//! Where two trees differ.

use std::sync::Arc;

use pingthings_types::{MIN_TIME, PointWidth, Points};

use super::node::{Address, BlockKind, Inner, ROOT_EXPONENT, below, bucket_start};
use crate::Error;
use crate::columns::Slice;
use crate::segment::Segments;

/// One of two trees at a node that at least one of them has.
#[derive(Debug)]
enum Side {
    Nothing,
    Node(Arc<Inner>),
    /// A leaf above the node: this tree is not divided as far down as the other.
    Leaf(Arc<Points>),
}

/// What one of two trees has in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Below {
    Nothing,
    Child(BlockKind, Address),
    /// Points of the leaf above.
    Covered,
}

impl Side {
    fn below(&self, bucket: u8, start: i64, end: i64) -> Below {
        match self {
            Self::Nothing => Below::Nothing,
            Self::Leaf(leaf) if Slice::of(leaf).between(start, end).is_empty() => Below::Nothing,
            Self::Leaf(_) => Below::Covered,
            Self::Node(inner) => {
                let at = inner.children.partition_point(|child| child.last < bucket);
                let is_occupied = inner.stats[usize::from(bucket)].count > 0;
                let child = inner.children.get(at).filter(|_| is_occupied);
                child.map_or(Below::Nothing, |child| {
                    Below::Child(child.kind, child.address)
                })
            }
        }
    }
}

/// A node of which the buckets before `bucket` were compared.
#[derive(Debug)]
struct Frame {
    sides: [Side; 2],
    start: i64,
    /// Where it ends: one of single nanoseconds fills only the first of its buckets.
    end: i64,
    exponent: u32,
    bucket: u8,
}

/// The ranges in which two trees of a stream differ, one by one.
///
/// A version shares every block with the one before that it did not change, so equal addresses
/// mean equal points, and the work is that of the commits between.
#[derive(Debug)]
pub(crate) struct Changes {
    segments: Arc<Segments>,
    /// Nothing smaller is told apart.
    resolution: PointWidth,
    roots: Option<[Option<Address>; 2]>,
    stack: Vec<Frame>,
    /// The leaf of each side read last: neighbouring buckets often share it.
    held: [Option<(Address, Arc<Points>)>; 2],
}

impl Changes {
    /// A comparison of the trees at two roots.
    pub(crate) fn new(
        segments: Arc<Segments>,
        roots: [Option<Address>; 2],
        resolution: PointWidth,
    ) -> Self {
        Self {
            segments,
            resolution,
            roots: Some(roots),
            stack: Vec::new(),
            held: [None, None],
        }
    }

    /// The first and the last instant of the next range that does not end before `from`.
    ///
    /// Ranges ascend and are apart. What ends before `from` is not looked at.
    pub(crate) fn next(&mut self, from: i64) -> Result<Option<(i64, i64)>, Error> {
        if let Some(roots) = self.roots.take() {
            let roots = roots.map(|root| {
                root.map_or(Below::Nothing, |root| Below::Child(BlockKind::Inner, root))
            });
            if roots[0] != roots[1] {
                let end = bucket_start(MIN_TIME, ROOT_EXPONENT, 64);
                self.enter(roots, (MIN_TIME, end), ROOT_EXPONENT)?;
            }
        }
        while let Some(frame) = self.stack.last_mut() {
            let (bucket, exponent) = (frame.bucket, frame.exponent);
            let start = bucket_start(frame.start, exponent, bucket);
            if start >= frame.end {
                self.stack.pop();
                continue;
            }
            frame.bucket += 1;
            let end = bucket_start(start, exponent, 1);
            if end <= from {
                continue;
            }
            let sides = [0, 1].map(|side| frame.sides[side].below(bucket, start, end));
            if sides[0] == sides[1] {
                continue;
            }
            let has = |kind| {
                let is = |side: &Below| matches!(side, Below::Child(found, _) if *found == kind);
                sides.iter().any(is)
            };
            let is_coarse = exponent <= self.resolution.exponent();
            // One tree has points here, the other has none: where exactly makes no difference.
            let is_all_told = is_coarse && sides.contains(&Below::Nothing);
            if has(BlockKind::Inner) && !is_coarse {
                self.enter(sides, (start, end), below(exponent))?;
            } else if has(BlockKind::Inner) || has(BlockKind::Run) || is_all_told {
                return Ok(Some((start, end - 1)));
            } else {
                let (old, new) = (self.leaf(0, sides[0])?, self.leaf(1, sides[1])?);
                let cut = |leaf| Slice::of(leaf).between(start.max(from), end);
                if let Some(found) = difference(cut(&old), cut(&new)) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Begins to compare the nodes of a range.
    fn enter(
        &mut self,
        sides: [Below; 2],
        (start, end): (i64, i64),
        exponent: u32,
    ) -> Result<(), Error> {
        let mut entered = [Side::Nothing, Side::Nothing];
        for (at, side) in sides.into_iter().enumerate() {
            entered[at] = match side {
                Below::Nothing => Side::Nothing,
                Below::Child(BlockKind::Inner, address) => {
                    Side::Node(self.segments.inner_at(address, start, exponent)?)
                }
                Below::Child(..) | Below::Covered => Side::Leaf(self.leaf(at, side)?),
            };
        }
        self.stack.push(Frame {
            sides: entered,
            start,
            end,
            exponent,
            bucket: 0,
        });
        Ok(())
    }

    /// The leaf of a side of the bucket that is compared; of nothing, one without points.
    fn leaf(&mut self, side: usize, below: Below) -> Result<Arc<Points>, Error> {
        match below {
            Below::Nothing => Ok(Arc::default()),
            Below::Child(_, address) => match &self.held[side] {
                Some((held, leaf)) if *held == address => Ok(Arc::clone(leaf)),
                _ => {
                    let leaf = self.segments.leaf(address)?;
                    self.held[side] = Some((address, Arc::clone(&leaf)));
                    Ok(leaf)
                }
            },
            Below::Covered => match self.stack.last().map(|frame| &frame.sides[side]) {
                Some(Side::Leaf(leaf)) => Ok(Arc::clone(leaf)),
                _ => Ok(Arc::default()),
            },
        }
    }
}

/// The first and the last time at which two sorted lists differ.
fn difference(old: Slice<'_>, new: Slice<'_>) -> Option<(i64, i64)> {
    let point = |list: Slice<'_>, at: usize| (list.times[at], list.values[at].to_bits());
    let shorter = old.len().min(new.len());
    let same_first = (0..shorter)
        .take_while(|&at| point(old, at) == point(new, at))
        .count();
    if same_first == old.len() && same_first == new.len() {
        return None;
    }
    let same_last = (0..shorter - same_first)
        .take_while(|&at| point(old, old.len() - 1 - at) == point(new, new.len() - 1 - at))
        .count();
    let differing = [old, new].map(|list| list.range(same_first, list.len() - same_last).times);
    let first = differing.iter().filter_map(|times| times.first()).min()?;
    let last = differing.iter().filter_map(|times| times.last()).max()?;
    Some((*first, *last))
}
