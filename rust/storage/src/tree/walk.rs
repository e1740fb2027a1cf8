//! Walking a tree in order of time, only as deep as the answer requires.

use std::sync::Arc;

use pingthings_types::{Points, Stat};

use super::node::{Address, BlockKind, Child, Inner, ROOT_EXPONENT, Run, below, bucket_of};
use crate::Error;
use crate::format::Malformed;
use crate::masks::{Cover, Masks};
use crate::segment::{Segments, damaged};

/// A result of a walk.
#[derive(Debug)]
pub(crate) enum Piece {
    /// A complete bucket that lies in one window.
    Bucket { start: i64, stat: Stat },
    /// Points `from..to` of a leaf.
    Points {
        leaf: Arc<Points>,
        from: usize,
        to: usize,
    },
}

/// Returns whether `[start, end)` lies in one window, so that its statistics suffice.
pub(crate) type WindowCheck = Box<dyn Fn(i64, i64) -> bool + Send>;

enum Step {
    Node {
        inner: Arc<Inner>,
        child: usize,
        bucket: u8,
    },
    Leaf {
        leaf: Arc<Points>,
        ranges: Vec<(usize, usize)>,
    },
    Run {
        run: Arc<Run>,
        next: usize,
        /// The earliest time of the next leaf, and the end of all of them.
        within: (i64, i64),
    },
}

/// A walk over `[start, end)` of a tree, without the masked points.
pub(crate) struct Walk {
    segments: Arc<Segments>,
    masks: Masks,
    start: i64,
    end: i64,
    window_check: Option<WindowCheck>,
    root: Option<Address>,
    stack: Vec<Step>,
    /// The last leaf read: neighbouring buckets often share it.
    cached: Option<(Address, Arc<Points>)>,
}

impl Walk {
    /// A walk that returns only points, or with `window_check` also the buckets for which that is
    /// true.
    pub(crate) fn new(
        segments: Arc<Segments>,
        root: Option<Address>,
        masks: Masks,
        (start, end): (i64, i64),
        window_check: Option<WindowCheck>,
    ) -> Self {
        Self {
            segments,
            masks,
            start,
            end,
            window_check,
            root,
            stack: Vec::new(),
            cached: None,
        }
    }

    /// The next piece; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, Error> {
        if let Some(root) = self.root.take() {
            self.enter(root, pingthings_types::MIN_TIME, ROOT_EXPONENT)?;
        }
        loop {
            match self.stack.last_mut() {
                None => return Ok(None),
                Some(Step::Leaf { leaf, ranges }) => {
                    if let Some((from, to)) = ranges.pop() {
                        return Ok(Some(Piece::Points {
                            leaf: Arc::clone(leaf),
                            from,
                            to,
                        }));
                    }
                    self.stack.pop();
                }
                Some(Step::Run { run, next, within }) => {
                    let Some((address, _)) = run.leaves.get(*next).copied() else {
                        self.stack.pop();
                        continue;
                    };
                    *next += 1;
                    let leaf = self.segments.leaf(address)?;
                    let ends = leaf.times.first().zip(leaf.times.last());
                    let Some((_, &last)) =
                        ends.filter(|(first, last)| within.0 <= **first && **last < within.1)
                    else {
                        let problem = Malformed("a leaf of a run has times that lie elsewhere");
                        return Err(damaged(address, problem));
                    };
                    within.0 = last;
                    let to = leaf.len();
                    return Ok(Some(Piece::Points { leaf, from: 0, to }));
                }
                Some(Step::Node {
                    inner,
                    child,
                    bucket,
                }) => {
                    let Some(at) = inner.children.get(*child).copied() else {
                        self.stack.pop();
                        continue;
                    };
                    let inner = Arc::clone(inner);
                    let mut buckets = (at.first, at.last);
                    if self.window_check.is_some() {
                        buckets.0 = at.first.max(*bucket);
                        buckets.1 = buckets.0;
                        *bucket = buckets.0 + 1;
                    }
                    if buckets.1 >= at.last {
                        *child += 1;
                    }
                    if let Some(piece) = self.visit(&inner, &at, buckets)? {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }

    /// Visits some buckets of a child: all of them, or a single one if windows are requested.
    fn visit(
        &mut self,
        inner: &Inner,
        child: &Child,
        (first, last): (u8, u8),
    ) -> Result<Option<Piece>, Error> {
        let (start, end) = (inner.bucket_start(first), inner.bucket_end(last));
        if start >= self.end {
            self.stack.clear();
            return Ok(None);
        }
        let (from, to) = (start.max(self.start), end.min(self.end));
        let cover = self.masks.cover(from, to);
        if from >= to || cover == Cover::All {
            return Ok(None);
        }
        if let Some(is_in_one_window) = &self.window_check {
            let stat = inner.stats[usize::from(first)];
            if stat.count == 0 {
                return Ok(None);
            }
            if cover == Cover::Nothing && (from, to) == (start, end) && is_in_one_window(start, end)
            {
                return Ok(Some(Piece::Bucket { start, stat }));
            }
        }
        match child.kind {
            BlockKind::Inner => {
                self.enter(
                    child.address,
                    inner.bucket_start(child.first),
                    below(inner.exponent),
                )?;
            }
            BlockKind::Run => {
                let run = self.segments.run(child.address)?;
                self.stack.push(Step::Run {
                    run,
                    next: 0,
                    within: (start, end),
                });
            }
            BlockKind::Leaf => {
                let leaf = self.leaf(child.address)?;
                let low = leaf.times.partition_point(|&time| time < from);
                let high = leaf.times.partition_point(|&time| time < to);
                let mut ranges = if cover == Cover::Nothing {
                    vec![(low, high)]
                } else {
                    let kept = self.masks.kept(&leaf.times[low..high]);
                    kept.into_iter()
                        .map(|(from, to)| (from + low, to + low))
                        .collect()
                };
                ranges.retain(|(from, to)| from < to);
                ranges.reverse();
                self.stack.push(Step::Leaf { leaf, ranges });
            }
        }
        Ok(None)
    }

    fn leaf(&mut self, address: Address) -> Result<Arc<Points>, Error> {
        match &self.cached {
            Some((cached, leaf)) if *cached == address => Ok(Arc::clone(leaf)),
            _ => {
                let leaf = self.segments.leaf(address)?;
                self.cached = Some((address, Arc::clone(&leaf)));
                Ok(leaf)
            }
        }
    }

    fn enter(&mut self, address: Address, start: i64, exponent: u32) -> Result<(), Error> {
        let inner = self.segments.inner_at(address, start, exponent)?;
        let bucket = bucket_of(start, exponent, self.start);
        let child = inner.children.partition_point(|child| child.last < bucket);
        self.stack.push(Step::Node {
            inner,
            child,
            bucket,
        });
        Ok(())
    }
}
