//! A view of one version of one stream.

use std::sync::Arc;

use pingthings_types::{
    AlignedWindows, MAX_TIME, MIN_TIME, Points, PreciseWindows, RangeError, RawPoint, TimeRange,
    Version,
};

use crate::Error;
use crate::live::{Hold, View};
use crate::masks::Masks;
use crate::raw::RawReader;
use crate::segment::Segments;
use crate::tree::{Address, last_before};
use crate::windows::{Grid, WindowReader};

/// A view of one version of one stream, held for as long as this lives.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) segments: Arc<Segments>,
    pub(crate) root: Option<Address>,
    /// Points on top of the tree, sorted by time.
    pub(crate) buffered: Arc<Points>,
    /// Where points of the tree no longer count.
    pub(crate) masks: Masks,
    version: Version,
    /// Keeps the blocks of the version where they are.
    pub(crate) hold: Arc<Hold>,
}

impl Snapshot {
    /// The latest of everything.
    pub(crate) fn of_view(segments: Arc<Segments>, view: &View) -> Self {
        Self {
            segments,
            root: view.root,
            buffered: view.buffer.points(),
            masks: view.buffer.masks().clone(),
            version: view.version(),
            hold: Arc::clone(&view.hold),
        }
    }

    /// A committed version.
    pub(crate) fn of_version(
        segments: Arc<Segments>,
        major: u64,
        root: Option<Address>,
        hold: Arc<Hold>,
    ) -> Self {
        Self {
            segments,
            root,
            buffered: Arc::default(),
            masks: Masks::default(),
            version: Version { major, minor: 0 },
            hold,
        }
    }

    /// The version seen: its real number, and how many buffered points are seen on top of it.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The points in `range`.
    pub fn raw(&self, range: TimeRange) -> RawReader {
        RawReader::new(self, range.start(), range.end())
    }

    /// Statistics of the aligned windows that hold points.
    pub fn aligned_windows(&self, windows: AlignedWindows) -> WindowReader {
        WindowReader::new(self, Grid::Aligned(windows))
    }

    /// Statistics of windows of any length; empty ones are zeros.
    pub fn windows(&self, windows: PreciseWindows) -> WindowReader {
        WindowReader::new(self, Grid::Precise(windows))
    }

    /// Exact number of points in `range`, from statistics.
    pub fn count(&self, range: TimeRange) -> Result<u64, Error> {
        let whole = PreciseWindows {
            width: range.width(),
            start: range.start(),
            count: 1,
        };
        let window = self.windows(whole).next_batch(1)?;
        Ok(window.map_or(0, |window| window.counts.iter().sum()))
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
