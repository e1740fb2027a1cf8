//! The instants a stream can hold: int64 nanoseconds since the Unix epoch, UTC.

use crate::RangeError;

/// The earliest instant: −2^60 ns, 1933-06-20.
pub const MIN_TIME: i64 = -(1 << 60);

/// The end of time, exclusive: 3·2^60 ns, 2079-08-08.
pub const MAX_TIME: i64 = 3 << 60;

/// The last instant a point may have.
///
/// The greatest legal end of a query is `MAX_TIME - 1` and ends are exclusive, so a point at
/// `MAX_TIME - 1` could never be read back.
pub const MAX_INSERT_TIME: i64 = MAX_TIME - 2;

/// Checks that a point may be stored at `time`.
pub fn check_insert_time(time: i64) -> Result<(), RangeError> {
    if (MIN_TIME..=MAX_INSERT_TIME).contains(&time) {
        Ok(())
    } else {
        Err(RangeError::TimeOutOfBounds { time })
    }
}
