//! Raw points of a range.

use std::fmt;
use std::sync::Arc;

use pingthings_types::{MAX_TIME, MIN_TIME, Points, RangeError, RawPoint, TimeRange};

use crate::columns::{Slice, stretch};
use crate::error::Error;
use crate::live::Hold;
use crate::snapshot::Snapshot;
use crate::tree::{Piece, Walk, last_before};

/// Room made at once for a batch, so that a huge `max` costs nothing by itself.
const ROOM: usize = 1 << 16;

/// Raw points of a range, ascending by time, equal times in the order of their arrival.
pub struct RawReader {
    _hold: Arc<Hold>,
    walk: Walk,
    /// Part of a leaf not handed out yet.
    piece: Option<(Arc<Points>, usize, usize)>,
    buffered: Arc<Points>,
    /// The buffered points not handed out yet.
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
    /// [`Error::Range`] if no point may have that time.
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
            _hold: Arc::clone(&snapshot.hold),
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
        let mut batch = Points::with_capacity(max.min(ROOM));
        while batch.len() < max && self.fill(&mut batch, max)? {}
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// Appends one stretch of points from the tree or from the buffer; `false` at the end.
    fn fill(&mut self, batch: &mut Points, max: usize) -> Result<bool, Error> {
        let room = max - batch.len();
        if self.piece.is_none() {
            self.piece = match self.walk.next()? {
                Some(Piece::Points { leaf, from, to }) => Some((leaf, from, to)),
                Some(Piece::Bucket { .. }) | None => None,
            };
        }
        let buffered = Slice::of(&self.buffered).range(self.next, self.last);
        let Some((leaf, from, to)) = &mut self.piece else {
            let count = room.min(buffered.len());
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
            let count = stretch(buffered.times, |time| time < stored.times[0]).min(room);
            buffered.range(0, count).append_to(batch);
            self.next += count;
            return Ok(true);
        }
        let count = count.min(room);
        stored.range(0, count).append_to(batch);
        *from += count;
        if from == to {
            self.piece = None;
        }
        Ok(true)
    }
}
