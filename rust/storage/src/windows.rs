//! Statistics of windows.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use pingthings_types::{AlignedWindows, Points, PreciseWindows, Stat, StatPoint, Windows};

use crate::columns::Slice;
use crate::error::Error;
use crate::live::ReadGuard;
use crate::snapshot::Snapshot;
use crate::tree::{Piece, Walk, WindowCheck};

/// How windows divide time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Grid {
    /// Windows without points are left out.
    Aligned(AlignedWindows),
    /// Windows without points are zeros.
    Precise(PreciseWindows),
}

impl Grid {
    const fn start(self) -> i64 {
        match self {
            Self::Aligned(windows) => windows.start,
            Self::Precise(windows) => windows.start,
        }
    }

    const fn end(self) -> i64 {
        match self {
            Self::Aligned(windows) => windows.end,
            Self::Precise(windows) => windows.end(),
        }
    }

    /// The window that contains `time`, which is between start and end.
    fn window_of(self, time: i64) -> (i64, i64) {
        match self {
            Self::Aligned(windows) => {
                let end = windows
                    .width
                    .floor(time)
                    .saturating_add_unsigned(windows.width.nanoseconds());
                (windows.window_of(time), end)
            }
            Self::Precise(windows) => {
                let index = windows.index_of(time);
                (windows.start_of(index), windows.start_of(index + 1))
            }
        }
    }

    fn window_check(self) -> WindowCheck {
        Box::new(move |start, end| end <= self.window_of(start).1)
    }
}

/// Appends windows without points.
///
/// Appends them in bulk, because there may be very many narrow windows between two points.
fn append_empty(batch: &mut Windows, windows: PreciseWindows, indices: Range<u64>) {
    let starts = indices.map(|index| windows.start_of(index));
    batch.times.extend(starts);
    let length = batch.times.len();
    let Stat { min, max, mean, .. } = Stat::EMPTY;
    batch.mins.resize(length, min);
    batch.maxs.resize(length, max);
    batch.means.resize(length, mean);
    batch.counts.resize(length, 0);
    batch.stddevs.resize(length, Stat::EMPTY.stddev());
}

/// Reads the statistics of windows, ascending by time.
pub struct WindowReader {
    _guard: Arc<ReadGuard>,
    grid: Grid,
    walk: Walk,
    piece: Option<Piece>,
    buffered: Arc<Points>,
    next: usize,
    last: usize,
    /// Start of the next window that has to be returned, even if it is empty.
    due: i64,
}

impl fmt::Debug for WindowReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowReader")
            .field("grid", &self.grid)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// Statistics of aligned windows; those without points are left out.
    pub fn aligned_windows(&self, windows: AlignedWindows) -> WindowReader {
        WindowReader::new(self, Grid::Aligned(windows))
    }

    /// Statistics of windows of any width; windows without points are zeros.
    pub fn windows(&self, windows: PreciseWindows) -> WindowReader {
        WindowReader::new(self, Grid::Precise(windows))
    }
}

impl WindowReader {
    pub(crate) fn new(snapshot: &Snapshot, grid: Grid) -> Self {
        let (start, end) = (grid.start(), grid.end());
        let buffered = Arc::clone(&snapshot.buffered);
        let next = buffered.times.partition_point(|&time| time < start);
        let last = buffered.times.partition_point(|&time| time < end);
        let walk = Walk::new(
            Arc::clone(&snapshot.segments),
            snapshot.root,
            snapshot.masks.clone(),
            (start, end),
            Some(grid.window_check()),
        );
        Self {
            _guard: Arc::clone(&snapshot.guard),
            grid,
            walk,
            piece: None,
            buffered,
            next,
            last,
            due: start,
        }
    }

    /// The next windows, at most `max` of them (at least one); `None` when there are no more.
    pub fn next_batch(&mut self, max: usize) -> Result<Option<Windows>, Error> {
        let max = max.max(1);
        let mut batch = Windows::default();
        while batch.len() < max && self.fill(&mut batch, max)? {}
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// Appends a window with points, or a stretch of empty windows; returns `false` at the end.
    fn fill(&mut self, batch: &mut Windows, max: usize) -> Result<bool, Error> {
        if self.due >= self.grid.end() {
            return Ok(false);
        }
        let next = self.next_time()?;
        if let Grid::Precise(windows) = self.grid {
            let due = windows.index_of(self.due);
            let until = next.map_or(windows.count, |time| windows.index_of(time));
            let left = (max - batch.len()) as u64;
            let indices = due..until.min(due.saturating_add(left));
            if !indices.is_empty() {
                self.due = windows.start_of(indices.end);
                append_empty(batch, windows, indices);
                return Ok(true);
            }
        }
        let Some(time) = next else {
            return Ok(false);
        };
        let (time, end) = self.grid.window_of(time);
        self.due = end;
        let stat = self.gather(end)?;
        batch.push(StatPoint { time, stat });
        Ok(true)
    }

    fn look_ahead(&mut self) -> Result<Option<&mut Piece>, Error> {
        if self.piece.is_none() {
            self.piece = self.walk.next()?;
        }
        Ok(self.piece.as_mut())
    }

    /// A time inside the next window that has points.
    fn next_time(&mut self) -> Result<Option<i64>, Error> {
        let buffered = Slice::of(&self.buffered)
            .range(self.next, self.last)
            .times
            .first()
            .copied();
        let stored = self.look_ahead()?.map(|piece| match piece {
            Piece::Bucket { start, .. } => *start,
            Piece::Points { leaf, from, .. } => leaf.times[*from],
        });
        Ok(match (stored, buffered) {
            (Some(stored), Some(buffered)) => Some(stored.min(buffered)),
            (stored, buffered) => stored.or(buffered),
        })
    }

    /// Statistics of all points before `end` that were not included in an earlier window.
    fn gather(&mut self, end: i64) -> Result<Stat, Error> {
        let mut total = Stat::EMPTY;
        while let Some(piece) = self.look_ahead()? {
            match piece {
                Piece::Bucket { start, stat } if *start < end => {
                    total.merge(stat);
                    self.piece = None;
                }
                Piece::Bucket { .. } => break,
                Piece::Points { leaf, from, to } => {
                    let (mine, rest) = Slice::of(leaf).range(*from, *to).split_before(end);
                    total.merge(&Stat::of_slice(mine.values));
                    if !rest.is_empty() {
                        *from += mine.len();
                        break;
                    }
                    self.piece = None;
                }
            }
        }
        let (mine, _) = Slice::of(&self.buffered)
            .range(self.next, self.last)
            .split_before(end);
        total.merge(&Stat::of_slice(mine.values));
        self.next += mine.len();
        Ok(total)
    }
}
