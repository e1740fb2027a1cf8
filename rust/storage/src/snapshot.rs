//! A view of one version of one stream.

use pingthings_types::{
    AlignedWindows, Points, PreciseWindows, RawPoint, TimeRange, Version, Windows,
};

use crate::Error;

/// A view of one version of one stream, held for as long as this lives.
#[derive(Clone, Debug)]
pub struct Snapshot;

/// Raw points of a range, ascending by time, equal times in the order of their arrival.
#[derive(Debug)]
pub struct RawReader;

/// Statistics of windows, ascending by time.
#[derive(Debug)]
pub struct WindowReader;

#[allow(
    clippy::todo,
    clippy::missing_const_for_fn,
    unused_variables,
    reason = "outline"
)]
impl Snapshot {
    /// The version seen: its real number, and how many buffered points are seen on top of it.
    pub fn version(&self) -> Version {
        todo!()
    }

    /// The points in `range`.
    pub fn raw(&self, range: TimeRange) -> RawReader {
        todo!()
    }

    /// Statistics of the aligned windows that hold points.
    pub fn aligned_windows(&self, windows: AlignedWindows) -> WindowReader {
        todo!()
    }

    /// Statistics of windows of any length; empty ones are zeros, and an empty last one is left
    /// out.
    pub fn windows(&self, windows: PreciseWindows) -> WindowReader {
        todo!()
    }

    /// The first point at or after `time`, or with `backward` the last one before it.
    ///
    /// # Errors
    /// [`Error::Range`] if no point may have that time.
    pub fn nearest(&self, time: i64, backward: bool) -> Result<Option<RawPoint>, Error> {
        todo!()
    }
}

#[allow(
    clippy::todo,
    clippy::missing_const_for_fn,
    unused_variables,
    reason = "outline"
)]
impl RawReader {
    /// The next points, at most `max` of them; `None` when there are no more.
    pub fn next_batch(&mut self, max: usize) -> Result<Option<Points>, Error> {
        todo!()
    }
}

#[allow(
    clippy::todo,
    clippy::missing_const_for_fn,
    unused_variables,
    reason = "outline"
)]
impl WindowReader {
    /// The next windows, at most `max` of them; `None` when there are no more.
    pub fn next_batch(&mut self, max: usize) -> Result<Option<Windows>, Error> {
        todo!()
    }
}
