//! Where two trees differ.

use pingthings_types::{MAX_TIME, MIN_TIME, PointWidth, Points};

use super::node::{Address, BlockKind, Child, Inner, ROOT_EXPONENT, below};
use crate::Error;
use crate::columns::Slice;
use crate::segment::Segments;

/// Collects the ranges in which two trees of a stream differ.
///
/// A version shares every block with the one before that it did not change, so equal addresses
/// mean equal points, and the work is that of the commits between.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    segments: &'a Segments,
    resolution: PointWidth,
    found: Vec<(i64, i64)>,
}

impl<'a> Changes<'a> {
    /// Nothing yet; ranges will have borders at multiples of `resolution`.
    pub(crate) const fn new(segments: &'a Segments, resolution: PointWidth) -> Self {
        Self {
            segments,
            resolution,
            found: Vec::new(),
        }
    }

    /// Adds the range from `first` to `last`, both included.
    pub(crate) fn add(&mut self, first: i64, last: i64) {
        let width = self.resolution;
        let start = width.floor(first).max(MIN_TIME);
        let end = width
            .floor(last)
            .saturating_add_unsigned(width.nanoseconds())
            .min(MAX_TIME);
        match self.found.last_mut() {
            Some(previous) if start >= previous.0 && start <= previous.1 => {
                previous.1 = previous.1.max(end);
            }
            _ => self.found.push((start, end)),
        }
    }

    /// The ranges, ascending and apart.
    pub(crate) fn finish(mut self) -> Vec<(i64, i64)> {
        self.found.sort_unstable();
        let mut joined: Vec<(i64, i64)> = Vec::new();
        for (start, end) in self.found {
            match joined.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => joined.push((start, end)),
            }
        }
        joined
    }

    /// Adds the ranges in which the trees differ.
    pub(crate) fn compare(
        &mut self,
        old: Option<Address>,
        new: Option<Address>,
    ) -> Result<(), Error> {
        self.nodes(old, new, MIN_TIME, ROOT_EXPONENT)
    }

    fn nodes(
        &mut self,
        old: Option<Address>,
        new: Option<Address>,
        start: i64,
        exponent: u32,
    ) -> Result<(), Error> {
        if old == new {
            return Ok(());
        }
        let read = |address: Option<Address>| {
            address
                .map(|address| self.segments.inner_at(address, start, exponent))
                .transpose()
        };
        let (old, new) = (read(old)?, read(new)?);
        for bucket in 0..64 {
            self.bucket(
                side(old.as_deref(), bucket),
                side(new.as_deref(), bucket),
                bucket,
            )?;
        }
        Ok(())
    }

    fn bucket(
        &mut self,
        old: Option<(&Inner, Child)>,
        new: Option<(&Inner, Child)>,
        bucket: u8,
    ) -> Result<(), Error> {
        let Some((inner, _)) = old.or(new) else {
            return Ok(());
        };
        let address = |side: Option<(&Inner, Child)>| side.map(|(_, child)| child.address);
        if address(old) == address(new) {
            return Ok(());
        }
        let (start, end) = (inner.bucket_start(bucket), inner.bucket_end(bucket));
        let kinds = [old, new].map(|side| side.map(|(_, child)| child.kind));
        let are_all = |kind| kinds.iter().all(|k| k.is_none_or(|k| k == kind));
        if inner.exponent > self.resolution.exponent() && are_all(BlockKind::Inner) {
            return self.nodes(address(old), address(new), start, below(inner.exponent));
        }
        if are_all(BlockKind::Leaf) {
            return self.leaves(address(old), address(new), start, end);
        }
        self.add(start, end - 1);
        Ok(())
    }

    /// Adds the range from the first to the last difference of a bucket.
    fn leaves(
        &mut self,
        old: Option<Address>,
        new: Option<Address>,
        start: i64,
        end: i64,
    ) -> Result<(), Error> {
        let read = |address: Option<Address>| match address {
            Some(address) => self.segments.leaf(address),
            None => Ok(std::sync::Arc::new(Points::default())),
        };
        let (old, new) = (read(old)?, read(new)?);
        let old = Slice::of(&old).between(start, end);
        let new = Slice::of(&new).between(start, end);
        if let Some((first, last)) = difference(old, new) {
            self.add(first, last);
        }
        Ok(())
    }
}

fn side(inner: Option<&Inner>, bucket: u8) -> Option<(&Inner, Child)> {
    let inner = inner?;
    if inner.stats[usize::from(bucket)].count == 0 {
        return None;
    }
    let at = inner.children.partition_point(|child| child.last < bucket);
    inner.children.get(at).map(|child| (inner, *child))
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
