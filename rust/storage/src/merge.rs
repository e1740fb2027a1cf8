//! Merge policies: which points of an insert are added, and which existing points they replace.

use std::collections::HashSet;
use std::sync::Arc;

use pingthings_types::{MergePolicy, Points};

use crate::Error;
use crate::buffer::Buffer;
use crate::columns::Slice;
use crate::segment::Segments;
use crate::tree::{Address, Probe};

/// The points of a stream before an insert.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MergeBase<'a> {
    pub(crate) segments: &'a Segments,
    pub(crate) root: Option<Address>,
    pub(crate) buffer: &'a Buffer,
}

/// The buffer after an insert of sorted points; `None` if the insert changes nothing.
pub(crate) fn apply(
    existing: MergeBase<'_>,
    points: Points,
    policy: MergePolicy,
) -> Result<Option<Buffer>, Error> {
    if points.is_empty() {
        return Ok(None);
    }
    if policy == MergePolicy::Never {
        return Ok(Some(existing.buffer.with(points)));
    }
    let mut merger = Merger {
        probe: Probe::new(existing.segments, existing.root, existing.buffer.masks()),
        buffered: existing.buffer.points(),
        kept: Points::default(),
        replaced_stored: Vec::new(),
        replaced_buffered: Vec::new(),
    };
    let mut rest = Slice::of(&points);
    while let Some(&time) = rest.times.first() {
        let (group, later) = rest.split_before(time + 1);
        rest = later;
        match policy {
            MergePolicy::Never => group.append_to(&mut merger.kept),
            MergePolicy::Equal => merger.equal(time, group)?,
            MergePolicy::Retain => merger.retain(time, group)?,
            MergePolicy::Replace => merger.replace(time, group)?,
        }
    }
    Ok(merger.finish(existing.buffer))
}

struct Merger<'a> {
    probe: Probe<'a>,
    buffered: Arc<Points>,
    kept: Points,
    replaced_stored: Vec<i64>,
    replaced_buffered: Vec<i64>,
}

impl Merger<'_> {
    fn buffered_at(&self, time: i64) -> Slice<'_> {
        Slice::of(&self.buffered).between(time, time + 1)
    }

    fn is_there(&mut self, time: i64) -> Result<bool, Error> {
        Ok(!self.buffered_at(time).is_empty() || self.probe.has(time)?)
    }

    /// Values are the same if their bits are: 0 and -0 are both kept.
    fn equal(&mut self, time: i64, group: Slice<'_>) -> Result<(), Error> {
        let mut present: HashSet<u64> = HashSet::new();
        self.probe.values_at(time, |value| {
            present.insert(value.to_bits());
        })?;
        present.extend(
            self.buffered_at(time)
                .values
                .iter()
                .map(|value| value.to_bits()),
        );
        for &value in group.values {
            if present.insert(value.to_bits()) {
                self.kept.times.push(time);
                self.kept.values.push(value);
            }
        }
        Ok(())
    }

    fn retain(&mut self, time: i64, group: Slice<'_>) -> Result<(), Error> {
        if !self.is_there(time)? {
            group.range(0, 1).append_to(&mut self.kept);
        }
        Ok(())
    }

    fn replace(&mut self, time: i64, group: Slice<'_>) -> Result<(), Error> {
        if self.probe.has(time)? {
            self.replaced_stored.push(time);
        }
        if !self.buffered_at(time).is_empty() {
            self.replaced_buffered.push(time);
        }
        group
            .range(group.len() - 1, group.len())
            .append_to(&mut self.kept);
        Ok(())
    }

    fn finish(self, buffer: &Buffer) -> Option<Buffer> {
        if self.kept.is_empty() {
            return None;
        }
        if self.replaced_stored.is_empty() && self.replaced_buffered.is_empty() {
            return Some(buffer.with(self.kept));
        }
        let masks = buffer.masks().with_instants(&self.replaced_stored);
        let mut remaining = Points::with_capacity(self.buffered.len());
        let mut replaced = self.replaced_buffered.iter().peekable();
        for point in self.buffered.iter() {
            while replaced.next_if(|&&time| time < point.time).is_some() {}
            if replaced.peek() != Some(&&point.time) {
                remaining.push(point);
            }
        }
        Some(Buffer::of(remaining, masks).with(self.kept))
    }
}
