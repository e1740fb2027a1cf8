//! Applying new points and masks to a tree, which determines the blocks to be written.

use pingthings_types::{MIN_TIME, Points, Stat};

use super::node::{
    Address, BlockKind, Child, Inner, MAX_LEAF, ROOT_EXPONENT, SMALL_LEAF, below, bucket_of,
    bucket_start,
};
use super::plan::{Plan, PlanChild, PlanInner, PlannedBlock};
use crate::Error;
use crate::columns::{Slice, merge_into};
use crate::format::encode_leaf;
use crate::masks::{Cover, Masks};
use crate::segment::Segments;

/// Compression level of `pco` for writing: higher levels cost several times as much for a few per
/// cent.
const WRITE_LEVEL: usize = 4;

/// A change of a tree: stored points under the masks are removed, then the points are added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edit<'a> {
    /// Sorted by time.
    pub(crate) points: Slice<'a>,
    pub(crate) masks: &'a Masks,
}

/// The tree at `root` after `edit`.
pub(crate) fn edit_root(
    segments: &Segments,
    root: Option<Address>,
    edit: Edit<'_>,
) -> Result<Plan, Error> {
    let editor = Editor {
        segments,
        masks: edit.masks,
    };
    editor.node(root, MIN_TIME, ROOT_EXPONENT, edit.points)
}

struct Editor<'a> {
    segments: &'a Segments,
    masks: &'a Masks,
}

impl Editor<'_> {
    /// The node over the 64 buckets of 2^`exponent` ns from `start` on, after the edit.
    fn node(
        &self,
        existing: Option<Address>,
        start: i64,
        exponent: u32,
        points: Slice<'_>,
    ) -> Result<Option<PlanInner>, Error> {
        let existing = match existing {
            Some(address) => Some(self.segments.inner_at(address, start, exponent)?),
            None => None,
        };
        let mut draft = Draft::new(self, start, exponent);
        let mut rest = points;
        if let Some(inner) = &existing {
            for child in &inner.children {
                let (gap, later) = rest.split_before(inner.bucket_start(child.first));
                draft.free(gap)?;
                let (own, later) = later.split_before(inner.bucket_end(child.last));
                draft.child(inner, child, own)?;
                rest = later;
            }
        }
        draft.free(rest)?;
        draft.finish()
    }

    /// Builds the content of a bucket with more points than a leaf holds.
    fn build(
        &self,
        start: i64,
        exponent: u32,
        points: Slice<'_>,
    ) -> Result<Option<PlannedBlock>, Error> {
        if exponent == 0 {
            return self
                .run(start, &[], points)
                .map(|(content, _)| Some(content));
        }
        let node = self.node(None, start, below(exponent), points)?;
        Ok(node.map(|inner| PlannedBlock::Inner(Box::new(inner))))
    }

    /// A run with points appended at its end.
    fn run(
        &self,
        time: i64,
        existing: &[(Address, Stat)],
        points: Slice<'_>,
    ) -> Result<(PlannedBlock, Stat), Error> {
        let mut last = Points::default();
        let mut kept = existing;
        if let Some(((address, stat), before)) = existing.split_last()
            && stat.count < SMALL_LEAF
        {
            last = self.segments.leaf(*address)?.as_ref().clone();
            kept = before;
        }
        points.append_to(&mut last);
        let mut leaves: Vec<(PlannedBlock, Stat)> = kept
            .iter()
            .map(|(address, stat)| (PlannedBlock::Kept(BlockKind::Leaf, *address), *stat))
            .collect();
        let mut total = Stat::EMPTY;
        for (times, values) in last
            .times
            .chunks(MAX_LEAF)
            .zip(last.values.chunks(MAX_LEAF))
        {
            leaves.push((self.leaf(Slice { times, values })?, Stat::of_slice(values)));
        }
        for (_, stat) in &leaves {
            total.merge(stat);
        }
        Ok((PlannedBlock::Run(time, leaves), total))
    }

    fn leaf(&self, points: Slice<'_>) -> Result<PlannedBlock, Error> {
        encode_leaf(points.times, points.values, WRITE_LEVEL)
            .map(PlannedBlock::Leaf)
            .map_err(|problem| self.segments.unwritable(problem))
    }
}

/// A node under construction, filled from its first bucket to its last.
struct Draft<'a> {
    editor: &'a Editor<'a>,
    start: i64,
    exponent: u32,
    stats: Box<[Stat; 64]>,
    children: Vec<PlanChild>,
    /// Points of neighbouring buckets that are not divided into leaves yet.
    pending: Points,
}

impl<'a> Draft<'a> {
    fn new(editor: &'a Editor<'a>, start: i64, exponent: u32) -> Self {
        Self {
            editor,
            start,
            exponent,
            stats: Box::new([Stat::EMPTY; 64]),
            children: Vec::new(),
            pending: Points::default(),
        }
    }

    fn bucket_of(&self, time: i64) -> u8 {
        bucket_of(self.start, self.exponent, time)
    }

    const fn bucket_start(&self, bucket: u8) -> i64 {
        bucket_start(self.start, self.exponent, bucket)
    }

    /// Adds new points in buckets without a child.
    fn free(&mut self, mut points: Slice<'_>) -> Result<(), Error> {
        while let Some(&time) = points.times.first() {
            let bucket = self.bucket_of(time);
            let (mine, rest) = points.split_before(self.bucket_start(bucket + 1));
            if mine.len() > MAX_LEAF {
                self.flush()?;
                self.grow(bucket, mine)?;
            } else {
                self.join_previous()?;
                mine.append_to(&mut self.pending);
            }
            points = rest;
        }
        Ok(())
    }

    /// Adds an existing child and the new points in its buckets.
    fn child(&mut self, inner: &Inner, child: &Child, points: Slice<'_>) -> Result<(), Error> {
        let (start, end) = (
            inner.bucket_start(child.first),
            inner.bucket_end(child.last),
        );
        let cover = self.editor.masks.cover(start, end);
        if cover == Cover::All {
            return self.free(points);
        }
        if points.is_empty() && cover == Cover::Nothing {
            return self.keep(inner, child);
        }
        match child.kind {
            BlockKind::Leaf => {
                let leaf = self.editor.segments.leaf(child.address)?;
                self.join_previous()?;
                let old = Slice::of(&leaf);
                if cover == Cover::Nothing {
                    merge_into(&mut self.pending, old, points);
                } else {
                    let mut kept = Points::default();
                    for (from, to) in self.editor.masks.kept(&leaf.times) {
                        old.range(from, to).append_to(&mut kept);
                    }
                    merge_into(&mut self.pending, Slice::of(&kept), points);
                }
            }
            BlockKind::Inner => {
                self.flush()?;
                let below = below(self.exponent);
                let node = self
                    .editor
                    .node(Some(child.address), start, below, points)?;
                if let Some(node) = node {
                    let mut total = Stat::EMPTY;
                    for stat in &*node.stats {
                        total.merge(stat);
                    }
                    self.push(child.first, child.last, PlannedBlock::Inner(Box::new(node)));
                    self.stats[usize::from(child.first)] = total;
                }
            }
            BlockKind::Run => {
                self.flush()?;
                let run = self.editor.segments.run(child.address)?;
                let (content, stat) = self.editor.run(run.time, &run.leaves, points)?;
                self.push(child.first, child.last, content);
                self.stats[usize::from(child.first)] = stat;
            }
        }
        Ok(())
    }

    /// Keeps a child that does not change.
    fn keep(&mut self, inner: &Inner, child: &Child) -> Result<(), Error> {
        let is_small = child.kind == BlockKind::Leaf && inner.count(child) < SMALL_LEAF;
        if is_small && !self.pending.is_empty() {
            let leaf = self.editor.segments.leaf(child.address)?;
            Slice::of(&leaf).append_to(&mut self.pending);
            return Ok(());
        }
        self.flush()?;
        let buckets = usize::from(child.first)..=usize::from(child.last);
        self.stats[buckets.clone()].copy_from_slice(&inner.stats[buckets]);
        self.push(
            child.first,
            child.last,
            PlannedBlock::Kept(child.kind, child.address),
        );
        Ok(())
    }

    /// Moves the points of the previous leaf back to the pending ones, if that leaf is small.
    fn join_previous(&mut self) -> Result<(), Error> {
        if !self.pending.is_empty() {
            return Ok(());
        }
        let Some(previous) = self.children.last() else {
            return Ok(());
        };
        let PlannedBlock::Kept(BlockKind::Leaf, address) = previous.content else {
            return Ok(());
        };
        let buckets = usize::from(previous.first)..=usize::from(previous.last);
        let stats = &mut self.stats[buckets];
        if stats.iter().map(|stat| stat.count).sum::<u64>() >= SMALL_LEAF {
            return Ok(());
        }
        stats.fill(Stat::EMPTY);
        self.children.pop();
        let leaf = self.editor.segments.leaf(address)?;
        Slice::of(&leaf).append_to(&mut self.pending);
        Ok(())
    }

    fn push(&mut self, first: u8, last: u8, content: PlannedBlock) {
        self.children.push(PlanChild {
            first,
            last,
            content,
        });
    }

    /// Adds a bucket with more points than a leaf holds and without existing content.
    fn grow(&mut self, bucket: u8, points: Slice<'_>) -> Result<(), Error> {
        let start = self.bucket_start(bucket);
        if let Some(content) = self.editor.build(start, self.exponent, points)? {
            self.stats[usize::from(bucket)] = Stat::of_slice(points.values);
            self.push(bucket, bucket, content);
        }
        Ok(())
    }

    /// Divides the pending points into leaves at bucket borders.
    fn flush(&mut self) -> Result<(), Error> {
        let pending = std::mem::take(&mut self.pending);
        let mut rest = Slice::of(&pending);
        let mut group: Option<(u8, u8, Slice<'_>)> = None;
        // Index of the first point of the group within `pending`.
        let mut from = 0;
        while let Some(&time) = rest.times.first() {
            let bucket = self.bucket_of(time);
            let (mine, later) = rest.split_before(self.bucket_start(bucket + 1));
            rest = later;
            if mine.len() > MAX_LEAF {
                self.close(group.take())?;
                self.grow(bucket, mine)?;
                from = pending.len() - rest.len();
                continue;
            }
            self.stats[usize::from(bucket)] = Stat::of_slice(mine.values);
            let to = pending.len() - rest.len();
            let first = match group {
                Some((first, _, points)) if points.len() + mine.len() <= MAX_LEAF => first,
                _ => {
                    self.close(group.take())?;
                    from = to - mine.len();
                    bucket
                }
            };
            group = Some((first, bucket, Slice::of(&pending).range(from, to)));
        }
        self.close(group)
    }

    fn close(&mut self, group: Option<(u8, u8, Slice<'_>)>) -> Result<(), Error> {
        if let Some((first, last, points)) = group {
            let leaf = self.editor.leaf(points)?;
            self.push(first, last, leaf);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Option<PlanInner>, Error> {
        self.flush()?;
        Ok((!self.children.is_empty()).then_some(PlanInner {
            start: self.start,
            exponent: self.exponent,
            stats: self.stats,
            children: self.children,
        }))
    }
}
