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
    /// A leaf above the node: this tree is not divided down to this level.
    Leaf(Arc<Points>),
}

/// What one of the two trees contains in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BucketContent {
    Nothing,
    Child(BlockKind, Address),
    /// Points in a leaf above this node.
    Covered,
}

impl Side {
    fn below(&self, bucket: u8, start: i64, end: i64) -> BucketContent {
        match self {
            Self::Nothing => BucketContent::Nothing,
            Self::Leaf(leaf) if Slice::of(leaf).between(start, end).is_empty() => {
                BucketContent::Nothing
            }
            Self::Leaf(_) => BucketContent::Covered,
            Self::Node(inner) => {
                let at = inner.children.partition_point(|child| child.last < bucket);
                let is_occupied = inner.stats[usize::from(bucket)].count > 0;
                let child = inner.children.get(at).filter(|_| is_occupied);
                child.map_or(BucketContent::Nothing, |child| {
                    BucketContent::Child(child.kind, child.address)
                })
            }
        }
    }
}

/// A node under comparison; the buckets before `bucket` were compared.
#[derive(Debug)]
struct Frame {
    sides: [Side; 2],
    start: i64,
    /// Where it ends: a node of single nanoseconds uses only the first of its buckets.
    end: i64,
    exponent: u32,
    bucket: u8,
}

/// Iterates over the ranges in which two trees of a stream differ.
///
/// A version shares every unchanged block with the version before it. Equal addresses therefore
/// mean equal points, and the cost is proportional to the commits between the two versions.
#[derive(Debug)]
pub(crate) struct Changes {
    segments: Arc<Segments>,
    /// Differences are not located more precisely than this.
    resolution: PointWidth,
    roots: Option<[Option<Address>; 2]>,
    stack: Vec<Frame>,
    /// The last leaf read from each side: neighbouring buckets often share it.
    cached: [Option<(Address, Arc<Points>)>; 2],
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
            cached: [None, None],
        }
    }

    /// The first and last instant of the next range that does not end before `from`.
    ///
    /// Ranges are ascending and disjoint. Parts of the trees that end before `from` are skipped.
    pub(crate) fn next(&mut self, from: i64) -> Result<Option<(i64, i64)>, Error> {
        if let Some(roots) = self.roots.take() {
            let roots = roots.map(|root| {
                root.map_or(BucketContent::Nothing, |root| {
                    BucketContent::Child(BlockKind::Inner, root)
                })
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
                let is = |side: &BucketContent| matches!(side, BucketContent::Child(found, _) if *found == kind);
                sides.iter().any(is)
            };
            let is_coarse = exponent <= self.resolution.exponent();
            // Only one of the trees has points here, so their exact times make no difference.
            let is_settled = is_coarse && sides.contains(&BucketContent::Nothing);
            if has(BlockKind::Inner) && !is_coarse {
                self.enter(sides, (start, end), below(exponent))?;
            } else if has(BlockKind::Inner) || has(BlockKind::Run) || is_settled {
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

    /// Starts to compare the nodes of a range.
    fn enter(
        &mut self,
        sides: [BucketContent; 2],
        (start, end): (i64, i64),
        exponent: u32,
    ) -> Result<(), Error> {
        let mut entered = [Side::Nothing, Side::Nothing];
        for (at, side) in sides.into_iter().enumerate() {
            entered[at] = match side {
                BucketContent::Nothing => Side::Nothing,
                BucketContent::Child(BlockKind::Inner, address) => {
                    Side::Node(self.segments.inner_at(address, start, exponent)?)
                }
                BucketContent::Child(..) | BucketContent::Covered => {
                    Side::Leaf(self.leaf(at, side)?)
                }
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

    /// The leaf of one side in the compared bucket; for an empty bucket, a leaf without points.
    fn leaf(&mut self, side: usize, below: BucketContent) -> Result<Arc<Points>, Error> {
        match below {
            BucketContent::Nothing => Ok(Arc::default()),
            BucketContent::Child(_, address) => match &self.cached[side] {
                Some((cached, leaf)) if *cached == address => Ok(Arc::clone(leaf)),
                _ => {
                    let leaf = self.segments.leaf(address)?;
                    self.cached[side] = Some((address, Arc::clone(&leaf)));
                    Ok(leaf)
                }
            },
            BucketContent::Covered => match self.stack.last().map(|frame| &frame.sides[side]) {
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
