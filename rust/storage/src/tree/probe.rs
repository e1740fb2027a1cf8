//! Lookups of single instants in a tree, in ascending order of time.

use std::sync::Arc;

use pingthings_types::{MIN_TIME, Points};

use super::node::{Address, BlockKind, ROOT_EXPONENT, Run, below, bucket_of, bucket_start};
use crate::Error;
use crate::columns::Slice;
use crate::masks::Masks;
use crate::segment::Segments;

#[derive(Debug)]
enum FoundBlock {
    Nothing,
    Leaf(Arc<Points>),
    Run(Arc<Run>),
}

/// Looks up single instants. It keeps the leaf of the last lookup, so the next one nearby costs a
/// binary search.
#[derive(Debug)]
pub(crate) struct Probe<'a> {
    segments: &'a Segments,
    root: Option<Address>,
    masks: &'a Masks,
    /// The range in which `found` is the only block.
    range: (i64, i64),
    found: FoundBlock,
}

impl<'a> Probe<'a> {
    /// A probe of a tree, without the masked points.
    pub(crate) const fn new(
        segments: &'a Segments,
        root: Option<Address>,
        masks: &'a Masks,
    ) -> Self {
        Self {
            segments,
            root,
            masks,
            range: (0, 0),
            found: FoundBlock::Nothing,
        }
    }

    /// Whether there is a point at `time`.
    pub(crate) fn has(&mut self, time: i64) -> Result<bool, Error> {
        self.seek(time)?;
        Ok(match &self.found {
            _ if self.masks.containing(time).is_some() => false,
            FoundBlock::Nothing => false,
            FoundBlock::Leaf(leaf) => leaf.times.binary_search(&time).is_ok(),
            FoundBlock::Run(run) => run.time == time,
        })
    }

    /// Calls `take` with each value at `time`, in order of arrival.
    pub(crate) fn values_at(&mut self, time: i64, mut take: impl FnMut(f64)) -> Result<(), Error> {
        if !self.has(time)? {
            return Ok(());
        }
        match &self.found {
            FoundBlock::Nothing => {}
            FoundBlock::Leaf(leaf) => {
                let values = Slice::of(leaf).between(time, time + 1).values;
                values.iter().copied().for_each(take);
            }
            FoundBlock::Run(run) => {
                for (address, _) in &run.leaves {
                    self.segments
                        .leaf(*address)?
                        .values
                        .iter()
                        .copied()
                        .for_each(&mut take);
                }
            }
        }
        Ok(())
    }

    fn seek(&mut self, time: i64) -> Result<(), Error> {
        if self.range.0 <= time && time < self.range.1 {
            return Ok(());
        }
        let Some(mut address) = self.root else {
            self.range = (i64::MIN, i64::MAX);
            self.found = FoundBlock::Nothing;
            return Ok(());
        };
        let (mut start, mut exponent) = (MIN_TIME, ROOT_EXPONENT);
        // A node of single nanoseconds uses only the first of its buckets, so its end comes from
        // the bucket above it.
        let mut end = bucket_start(start, exponent, 64);
        loop {
            let inner = self.segments.inner_at(address, start, exponent)?;
            let bucket = bucket_of(start, exponent, time);
            let next = inner.children.partition_point(|child| child.last < bucket);
            let Some(child) = inner
                .children
                .get(next)
                .filter(|child| child.first <= bucket)
            else {
                let previous = next.checked_sub(1).and_then(|at| inner.children.get(at));
                let from = previous.map_or(start, |child| inner.bucket_end(child.last));
                let following = inner.children.get(next);
                let to = following.map_or(end, |child| inner.bucket_start(child.first));
                self.range = (from, to);
                self.found = FoundBlock::Nothing;
                return Ok(());
            };
            let range = (
                inner.bucket_start(child.first),
                inner.bucket_end(child.last),
            );
            match child.kind {
                BlockKind::Inner => {
                    (address, exponent) = (child.address, below(exponent));
                    (start, end) = range;
                    continue;
                }
                BlockKind::Leaf => {
                    self.found = FoundBlock::Leaf(self.segments.leaf(child.address)?);
                }
                BlockKind::Run => self.found = FoundBlock::Run(self.segments.run(child.address)?),
            }
            self.range = range;
            return Ok(());
        }
    }
}
