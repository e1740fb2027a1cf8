//! Windows: which of them a query covers, and their statistics as columns.

use crate::time::{MAX_INSERT_TIME, MAX_TIME, MIN_TIME};
use crate::{PointWidth, RangeError, Stat, TimeRange};

/// Statistics of the points in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StatPoint {
    /// Start of the window, in nanoseconds since the Unix epoch, UTC.
    pub time: i64,
    /// Statistics of the points in it.
    pub stat: Stat,
}

/// Statistics of many windows as columns of the same length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Windows {
    /// Starts of the windows.
    pub times: Vec<i64>,
    /// Minimum values.
    pub mins: Vec<f64>,
    /// Means.
    pub means: Vec<f64>,
    /// Maximum values.
    pub maxs: Vec<f64>,
    /// Numbers of points.
    pub counts: Vec<u64>,
    /// Population standard deviations.
    pub stddevs: Vec<f64>,
}

impl Windows {
    /// Number of windows.
    pub const fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no window.
    pub const fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Appends a window.
    pub fn push(&mut self, point: StatPoint) {
        self.times.push(point.time);
        self.mins.push(point.stat.min);
        self.means.push(point.stat.mean);
        self.maxs.push(point.stat.max);
        self.counts.push(point.stat.count);
        self.stddevs.push(point.stat.stddev());
    }
}

/// The windows of length 2^p that a range covers. Both ends are rounded down to a multiple of the
/// length.
///
/// So data before an unaligned start are included, and the window that contains an unaligned end is
/// not; the hosted platform answers in the same way. No point is at the end of time or in the
/// nanosecond before it. An end there cuts no window, so the windows of all of time contain all
/// points, however wide they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlignedWindows {
    /// The length of each window.
    pub width: PointWidth,
    /// Start of the first window; never before [`MIN_TIME`], even if the multiple of the width is.
    pub start: i64,
    /// End of the last window; never after [`MAX_TIME`], even if the multiple of the width is.
    pub end: i64,
}

impl AlignedWindows {
    /// The windows of `range`; `None` if none is left after rounding its ends down.
    pub fn new(range: TimeRange, width: PointWidth) -> Option<Self> {
        Self::within(range.start(), range.end(), width)
    }

    /// The same for two times up to [`MAX_TIME`], which is valid as the end of windows but not of
    /// other queries.
    pub fn between(start: i64, end: i64, width: PointWidth) -> Result<Option<Self>, RangeError> {
        if start >= end {
            Err(RangeError::Empty { start, end })
        } else if start < MIN_TIME || end > MAX_TIME {
            Err(RangeError::OutOfBounds { start, end })
        } else {
            Ok(Self::within(start, end, width))
        }
    }

    fn within(start: i64, end: i64, width: PointWidth) -> Option<Self> {
        let start = width.floor(start).max(MIN_TIME);
        let end = if end > MAX_INSERT_TIME {
            MAX_TIME
        } else {
            width.floor(end)
        };
        (start < end).then_some(Self { width, start, end })
    }

    /// Start of the window that contains `time`, clipped to [`MIN_TIME`].
    pub const fn window_of(self, time: i64) -> i64 {
        let floored = self.width.floor(time);
        if floored < MIN_TIME {
            MIN_TIME
        } else {
            floored
        }
    }
}

/// The windows of any length that a range covers. The first starts exactly at the start of the
/// range; an incomplete last window is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreciseWindows {
    /// Length of each window in nanoseconds.
    pub width: u64,
    /// Start of the first window.
    pub start: i64,
    /// Number of windows.
    pub count: u64,
}

/// The window length is zero or above 2^63 (status code 415).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a window of {0} ns: the width must be between 1 ns and 2^63 ns")]
pub struct WidthError(pub u64);

impl PreciseWindows {
    /// The windows of `range`; `None` if it is shorter than one window.
    pub fn new(range: TimeRange, width: u64) -> Result<Option<Self>, WidthError> {
        if width == 0 || width > 1 << 63 {
            return Err(WidthError(width));
        }
        let count = range.width() / width;
        Ok((count > 0).then_some(Self {
            width,
            start: range.start(),
            count,
        }))
    }

    /// End of the last window.
    pub const fn end(self) -> i64 {
        self.start_of(self.count)
    }

    /// Start of the window with this number.
    pub const fn start_of(self, index: u64) -> i64 {
        // `width * count` never exceeds the length of the range, so this cannot overflow.
        self.start
            .wrapping_add_unsigned(self.width.wrapping_mul(index))
    }

    /// Number of the window that contains `time`, which must not be before the first one.
    pub const fn index_of(self, time: i64) -> u64 {
        time.abs_diff(self.start) / self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aligned(start: i64, end: i64, exponent: u32) -> Option<(i64, i64)> {
        AlignedWindows::new(
            TimeRange::new(start, end).unwrap(),
            PointWidth::new(exponent).unwrap(),
        )
        .map(|w| (w.start, w.end))
    }

    #[test]
    fn aligned_windows_lower_both_ends() {
        assert_eq!(aligned(11136, 11647, 6), Some((11136, 11136 + 7 * 64)));
        assert_eq!(aligned(11199, 11584, 6), Some((11136, 11136 + 7 * 64)));
        assert_eq!(aligned(11199, 11200, 6), Some((11136, 11200)));
        assert_eq!(aligned(11137, 11199, 6), None);
        assert_eq!(aligned(7, 8, 0), Some((7, 8)));
    }

    #[test]
    fn aligned_windows_never_start_before_time_does() {
        assert_eq!(aligned(MIN_TIME, 0, 62), Some((MIN_TIME, 0)));
        assert_eq!(aligned(MIN_TIME, -1, 62), None);
    }

    #[test]
    fn the_end_of_time_cuts_no_window() {
        for exponent in 0..=63 {
            let width = PointWidth::new(exponent).unwrap();
            for end in [MAX_TIME - 1, MAX_TIME] {
                let all = AlignedWindows::between(MIN_TIME, end, width).unwrap();
                let all = all.map(|windows| (windows.start, windows.end));
                assert_eq!(all, Some((MIN_TIME, MAX_TIME)), "{width}");
                let last = AlignedWindows::between(MAX_TIME - 3, end, width).unwrap();
                let start = width.floor(MAX_TIME - 3);
                assert_eq!(last.map(|windows| windows.start), Some(start), "{width}");
            }
            // With an end one nanosecond earlier, a point may be after it.
            let before = aligned(MIN_TIME, MAX_INSERT_TIME, exponent);
            let floor = width.floor(MAX_INSERT_TIME);
            assert_eq!(before.map(|windows| windows.1), Some(floor), "{width}");
        }
        let between = |start, end| AlignedWindows::between(start, end, PointWidth::MAX);
        assert!(between(MIN_TIME, MAX_TIME + 1).is_err());
        assert!(between(MIN_TIME - 1, MAX_TIME).is_err());
        assert!(between(MAX_TIME, MAX_TIME).is_err());
    }

    #[test]
    fn precise_windows_drop_the_partial_last() {
        let windows = |start, end, width| {
            PreciseWindows::new(TimeRange::new(start, end).unwrap(), width).unwrap()
        };
        assert_eq!(windows(11136, 11647, 64).map(|w| w.count), Some(7));
        assert_eq!(
            windows(-18864, -18353, 64).map(|w| (w.count, w.end())),
            Some((7, -18416))
        );
        assert_eq!(
            windows(11137, 11201, 64).map(|w| (w.start, w.count)),
            Some((11137, 1))
        );
        assert_eq!(windows(0, 63, 64), None);
    }

    #[test]
    fn precise_windows_refuse_a_width_of_zero_and_above_2_to_the_63() {
        let range = TimeRange::ALL;
        assert_eq!(PreciseWindows::new(range, 0), Err(WidthError(0)));
        assert_eq!(
            PreciseWindows::new(range, (1 << 63) + 1),
            Err(WidthError((1 << 63) + 1))
        );
        assert_eq!(PreciseWindows::new(range, 1 << 63), Ok(None));
    }
}
