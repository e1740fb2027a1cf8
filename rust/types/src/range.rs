//! Half-open ranges of time.

use crate::time::{MAX_TIME, MIN_TIME};

/// A non-empty range of time `[start, end)` in nanoseconds, as in a query.
///
/// A value of this type guarantees `MIN_TIME <= start < end < MAX_TIME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    start: i64,
    end: i64,
}

/// Why a time or a range was refused (status code 413).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// `start` is not before `end`.
    #[error("start {start} is not before end {end}")]
    Empty {
        /// First nanosecond asked for.
        start: i64,
        /// The nanosecond after the last one asked for.
        end: i64,
    },
    /// A bound of the range is outside the instants that a stream can hold.
    #[error(
        "range [{start}, {end}) is outside the instants a stream can hold, [{min}, {max})",
        min = MIN_TIME, max = MAX_TIME - 1
    )]
    OutOfBounds {
        /// First nanosecond asked for.
        start: i64,
        /// The nanosecond after the last one asked for.
        end: i64,
    },
    /// An instant is outside those that a stream can hold.
    #[error(
        "time {time} is outside the instants a stream can hold, [{min}, {max})",
        min = MIN_TIME, max = MAX_TIME - 1
    )]
    TimeOutOfBounds {
        /// The refused instant.
        time: i64,
    },
}

impl TimeRange {
    /// The largest range that a query can have.
    pub const ALL: Self = Self {
        start: MIN_TIME,
        end: MAX_TIME - 1,
    };

    /// Checks the bounds of a query.
    pub fn new(start: i64, end: i64) -> Result<Self, RangeError> {
        if start >= end {
            Err(RangeError::Empty { start, end })
        } else if start < MIN_TIME || end >= MAX_TIME {
            Err(RangeError::OutOfBounds { start, end })
        } else {
            Ok(Self { start, end })
        }
    }

    /// First nanosecond of the range.
    pub const fn start(self) -> i64 {
        self.start
    }

    /// The nanosecond after the last one of the range.
    pub const fn end(self) -> i64 {
        self.end
    }

    /// Whether `time` lies in the range.
    pub const fn contains(self, time: i64) -> bool {
        self.start <= time && time < self.end
    }

    /// Length in nanoseconds; at most 2^62, so it always fits.
    pub const fn width(self) -> u64 {
        self.end.abs_diff(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_protocol() {
        assert!(TimeRange::new(MIN_TIME, MAX_TIME - 1).is_ok());
        assert!(matches!(
            TimeRange::new(MIN_TIME - 1, 0),
            Err(RangeError::OutOfBounds { .. })
        ));
        assert!(matches!(
            TimeRange::new(0, MAX_TIME),
            Err(RangeError::OutOfBounds { .. })
        ));
        assert!(matches!(
            TimeRange::new(5, 5),
            Err(RangeError::Empty { .. })
        ));
        assert_eq!(TimeRange::ALL.width(), (1 << 62) - 1);
    }
}
