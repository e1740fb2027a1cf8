//! Raw points of a range.

use std::fmt;
use std::sync::Arc;

use pingthings_types::{MAX_TIME, MIN_TIME, Points, RangeError, RawPoint, TimeRange};

use crate::columns::{Slice, stretch};
use crate::error::Error;
use crate::live::ReadGuard;
use crate::snapshot::Snapshot;
use crate::tree::{Piece, Walk, last_before};

/// Most points for which space is reserved at once, so that a huge `max` costs nothing by itself.
const MAX_RESERVED: usize = 1 << 16;

/// Reads the raw points of a range, ascending by time; points at equal times in order of arrival.
pub struct RawReader {
    _guard: Arc<ReadGuard>,
    walk: Walk,
    /// The part of a leaf that was not returned yet.
    piece: Option<(Arc<Points>, usize, usize)>,
    buffered: Arc<Points>,
    /// The buffered points `next..last` were not returned yet.
    next: usize,
    last: usize,
}

impl fmt::Debug for RawReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawReader").finish_non_exhaustive()
    }
}

impl Snapshot {
    /// The points in `range`.
    pub fn raw(&self, range: TimeRange) -> RawReader {
        RawReader::new(self, range.start(), range.end())
    }

    /// The first point at or after `time`, or with `backward` the last one before it.
    ///
    /// # Errors
    /// [`Error::Range`] if `time` is outside the instants that a stream can hold.
    pub fn nearest(&self, time: i64, backward: bool) -> Result<Option<RawPoint>, Error> {
        if !(MIN_TIME..MAX_TIME).contains(&time) {
            return Err(RangeError::TimeOutOfBounds { time }.into());
        }
        if !backward {
            let first = RawReader::new(self, time, MAX_TIME).next_batch(1)?;
            return Ok(first.and_then(|points| points.iter().next()));
        }
        let stored = last_before(&self.segments, self.root, &self.masks, time)?;
        let count = self.buffered.times.partition_point(|&t| t < time);
        let buffered = count.checked_sub(1).map(|at| RawPoint {
            time: self.buffered.times[at],
            value: self.buffered.values[at],
        });
        Ok(match (stored, buffered) {
            (Some(stored), Some(buffered)) if stored.time > buffered.time => Some(stored),
            (stored, buffered) => buffered.or(stored),
        })
    }
}

impl RawReader {
    pub(crate) fn new(snapshot: &Snapshot, start: i64, end: i64) -> Self {
        let buffered = Arc::clone(&snapshot.buffered);
        let next = buffered.times.partition_point(|&time| time < start);
        let last = buffered.times.partition_point(|&time| time < end);
        let segments = Arc::clone(&snapshot.segments);
        let masks = snapshot.masks.clone();
        let walk = Walk::new(segments, snapshot.root, masks, (start, end), None);
        Self {
            _guard: Arc::clone(&snapshot.guard),
            walk,
            piece: None,
            buffered,
            next,
            last,
        }
    }

    /// The next points, at most `max` of them (at least one); `None` when there are no more.
    pub fn next_batch(&mut self, max: usize) -> Result<Option<Points>, Error> {
        let max = max.max(1);
        let mut batch = Points::with_capacity(max.min(MAX_RESERVED));
        while batch.len() < max && self.fill(&mut batch, max)? {}
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// Appends a stretch of points from the tree or from the buffer; returns `false` at the end.
    fn fill(&mut self, batch: &mut Points, max: usize) -> Result<bool, Error> {
        let left = max - batch.len();
        if self.piece.is_none() {
            self.piece = match self.walk.next()? {
                Some(Piece::Points { leaf, from, to }) => Some((leaf, from, to)),
                Some(Piece::Bucket { .. }) | None => None,
            };
        }
        let buffered = Slice::of(&self.buffered).range(self.next, self.last);
        let Some((leaf, from, to)) = &mut self.piece else {
            let count = left.min(buffered.len());
            buffered.range(0, count).append_to(batch);
            self.next += count;
            return Ok(count > 0);
        };
        let stored = Slice::of(leaf).range(*from, *to);
        let count = match buffered.times.first() {
            Some(&next) => stretch(stored.times, |time| time <= next),
            None => stored.len(),
        };
        if count == 0 {
            let count = stretch(buffered.times, |time| time < stored.times[0]).min(left);
            buffered.range(0, count).append_to(batch);
            self.next += count;
            return Ok(true);
        }
        let count = count.min(left);
        stored.range(0, count).append_to(batch);
        *from += count;
        if from == to {
            self.piece = None;
        }
        Ok(true)
    }
}
