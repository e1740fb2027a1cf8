//! Which points a tree has at single instants, asked in ascending order.

use std::sync::Arc;

use pingthings_types::{MIN_TIME, Points};

use super::node::{Address, BlockKind, ROOT_EXPONENT, Run, below, bucket_of, bucket_start};
use crate::Error;
use crate::columns::Slice;
use crate::masks::Masks;
use crate::segment::Segments;

#[derive(Debug)]
enum Held {
    Nothing,
    Leaf(Arc<Points>),
    Run(Arc<Run>),
}

/// Looks up single instants; keeps the leaf it is in, so that neighbours cost a binary search.
#[derive(Debug)]
pub(crate) struct Probe<'a> {
    segments: &'a Segments,
    root: Option<Address>,
    masks: &'a Masks,
    /// The range `held` is all there is for.
    range: (i64, i64),
    held: Held,
}

impl<'a> Probe<'a> {
    /// A probe of a tree without what is masked.
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
            held: Held::Nothing,
        }
    }

    /// Whether there is a point at `time`.
    pub(crate) fn has(&mut self, time: i64) -> Result<bool, Error> {
        self.seek(time)?;
        Ok(match &self.held {
            _ if self.masks.around(time).is_some() => false,
            Held::Nothing => false,
            Held::Leaf(leaf) => leaf.times.binary_search(&time).is_ok(),
            Held::Run(run) => run.time == time,
        })
    }

    /// Hands over the values at `time`, in order of arrival.
    pub(crate) fn values_at(&mut self, time: i64, mut take: impl FnMut(f64)) -> Result<(), Error> {
        if !self.has(time)? {
            return Ok(());
        }
        match &self.held {
            Held::Nothing => {}
            Held::Leaf(leaf) => {
                let values = Slice::of(leaf).between(time, time + 1).values;
                values.iter().copied().for_each(take);
            }
            Held::Run(run) => {
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
            self.held = Held::Nothing;
            return Ok(());
        };
        let (mut start, mut exponent) = (MIN_TIME, ROOT_EXPONENT);
        // A node of single nanoseconds fills only the first of its buckets: the bucket above it
        // says where it ends.
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
                self.held = Held::Nothing;
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
                BlockKind::Leaf => self.held = Held::Leaf(self.segments.leaf(child.address)?),
                BlockKind::Run => self.held = Held::Run(self.segments.run(child.address)?),
            }
            self.range = range;
            return Ok(());
        }
    }
}
