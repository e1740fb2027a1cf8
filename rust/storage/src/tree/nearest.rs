//! The last point before an instant.

use pingthings_types::{MIN_TIME, RawPoint};

use super::node::{Address, BlockKind, Child, Inner, ROOT_EXPONENT, below};
use crate::Error;
use crate::masks::{Cover, Masks};
use crate::segment::Segments;

/// The last point with a time less than `time` that is not masked.
pub(crate) fn last_before(
    segments: &Segments,
    root: Option<Address>,
    masks: &Masks,
    time: i64,
) -> Result<Option<RawPoint>, Error> {
    match root {
        Some(root) => Search {
            segments,
            masks,
            time,
        }
        .node(root, MIN_TIME, ROOT_EXPONENT),
        None => Ok(None),
    }
}

struct Search<'a> {
    segments: &'a Segments,
    masks: &'a Masks,
    time: i64,
}

impl Search<'_> {
    fn node(&self, address: Address, start: i64, exponent: u32) -> Result<Option<RawPoint>, Error> {
        let inner = self.segments.inner_at(address, start, exponent)?;
        for child in inner.children.iter().rev() {
            if inner.bucket_start(child.first) < self.time
                && let Some(point) = self.child(&inner, child)?
            {
                return Ok(Some(point));
            }
        }
        Ok(None)
    }

    fn child(&self, inner: &Inner, child: &Child) -> Result<Option<RawPoint>, Error> {
        let start = inner.bucket_start(child.first);
        let end = inner.bucket_end(child.last).min(self.time);
        if self.masks.cover(start, end) == Cover::All {
            return Ok(None);
        }
        match child.kind {
            BlockKind::Inner => self.node(child.address, start, below(inner.exponent)),
            BlockKind::Leaf => self.leaf(child.address),
            BlockKind::Run => {
                let run = self.segments.run(child.address)?;
                match run.leaves.last() {
                    Some((address, _)) => self.leaf(*address),
                    None => Ok(None),
                }
            }
        }
    }

    fn leaf(&self, address: Address) -> Result<Option<RawPoint>, Error> {
        let leaf = self.segments.leaf(address)?;
        let mut count = leaf.times.partition_point(|&time| time < self.time);
        while let Some(index) = count.checked_sub(1) {
            let time = leaf.times[index];
            match self.masks.containing(time) {
                Some((start, _)) => count = leaf.times.partition_point(|&time| time < start),
                None => {
                    return Ok(Some(RawPoint {
                        time,
                        value: leaf.values[index],
                    }));
                }
            }
        }
        Ok(None)
    }
}
