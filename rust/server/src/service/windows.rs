//! Statistics of windows.

use pingthings_proto::v5api as v5;
use pingthings_storage::{Snapshot, WindowReader};
use pingthings_types::{
    AlignedWindows, Code, LATEST, PointWidth, PreciseWindows, RangeError, TimeRange, Version,
    Windows,
};

use super::Shared;
use super::answers::{Messages, batches};
use super::read::snapshot;
use crate::arrow::encode_windows;
use crate::message;
use crate::status::Refusal;

/// The maximum depth of older servers. It allowed them to answer inexactly. This server is always
/// exact and only checks the value.
const MAX_DEPTH: u32 = 63;
/// The bits of a depth that the platform reads. Some clients send 10^9, and the platform accepts
/// it.
const DEPTH_BITS: u32 = 0xff;
/// Upper bounds of the length of a message without its windows, and of one window.
const HEAD_BYTES: usize = 4_096;
const ROW_BYTES: usize = 64;

pub(super) fn aligned_windows(
    shared: &Shared,
    params: &v5::AlignedWindowsParams,
) -> Result<Messages<v5::AlignedWindowsResponse>, Refusal> {
    let (version, reader) = open_aligned(shared, params)?;
    Ok(messages(shared, reader, move |windows| {
        Ok(v5::AlignedWindowsResponse {
            stat: None,
            version_major: version.major,
            version_minor: version.minor,
            values: stat_points(&windows),
        })
    }))
}

pub(super) fn arrow_aligned_windows(
    shared: &Shared,
    params: &v5::AlignedWindowsParams,
) -> Result<Messages<v5::ArrowAlignedWindowsResponse>, Refusal> {
    let (version, reader) = open_aligned(shared, params)?;
    Ok(messages(shared, reader, move |windows| {
        Ok(v5::ArrowAlignedWindowsResponse {
            stat: None,
            version_major: version.major,
            version_minor: version.minor,
            arrow_bytes: encode_windows(windows)?,
        })
    }))
}

pub(super) fn windows(
    shared: &Shared,
    params: &v5::WindowsParams,
) -> Result<Messages<v5::WindowsResponse>, Refusal> {
    let (version, reader) = open_precise(shared, params)?;
    Ok(messages(shared, reader, move |windows| {
        Ok(v5::WindowsResponse {
            stat: None,
            version_major: version.major,
            version_minor: version.minor,
            values: stat_points(&windows),
        })
    }))
}

pub(super) fn arrow_windows(
    shared: &Shared,
    params: &v5::WindowsParams,
) -> Result<Messages<v5::ArrowWindowsResponse>, Refusal> {
    let (version, reader) = open_precise(shared, params)?;
    Ok(messages(shared, reader, move |windows| {
        Ok(v5::ArrowWindowsResponse {
            stat: None,
            version_major: version.major,
            version_minor: version.minor,
            arrow_bytes: encode_windows(windows)?,
        })
    }))
}

pub(super) fn open_aligned(
    shared: &Shared,
    params: &v5::AlignedWindowsParams,
) -> Result<(Version, WindowReader), Refusal> {
    let width = PointWidth::new(params.point_width).ok_or_else(|| {
        Refusal::new(
            Code::InvalidPointWidth,
            format!("a point width of {}: give 0 to 63", params.point_width),
        )
    })?;
    let windows = AlignedWindows::between(params.start, params.end, width)?
        .ok_or_else(|| no_window(params.start, params.end, width.nanoseconds()))?;
    let snapshot = snapshot(shared, &params.uuid, params.version_major)?;
    Ok((snapshot.version(), snapshot.aligned_windows(windows)))
}

pub(super) fn open_precise(
    shared: &Shared,
    params: &v5::WindowsParams,
) -> Result<(Version, WindowReader), Refusal> {
    if params.depth & DEPTH_BITS > MAX_DEPTH {
        return Err(Refusal::new(
            Code::InvalidPointWidth,
            format!("a depth of {}: give 0", params.depth),
        ));
    }
    // An invalid width is reported before an invalid range.
    PreciseWindows::new(TimeRange::ALL, params.width)?;
    let range = complete_windows(params.start, params.end, params.width)?;
    let windows = PreciseWindows::new(range, params.width)?
        .ok_or_else(|| no_window(params.start, params.end, params.width))?;
    let count = range.end().abs_diff(range.start()) / params.width.max(1);
    if count > shared.limits.windows {
        return Err(Refusal::new(
            Code::InvalidTimeRange,
            format!(
                "range [{}, {}) holds {count} windows of {} ns: ask for at most {} at a time",
                params.start, params.end, params.width, shared.limits.windows
            ),
        ));
    }
    let snapshot = snapshot(shared, &params.uuid, params.version_major)?;
    let windows = omit_open_window(&snapshot, windows, params.version_major)?;
    Ok((snapshot.version(), snapshot.windows(windows)))
}

/// The windows to answer with.
///
/// A read of the latest data omits the last window if it and all later time have no points, because
/// its points may still arrive.
fn omit_open_window(
    snapshot: &Snapshot,
    windows: PreciseWindows,
    version_major: u64,
) -> Result<PreciseWindows, Refusal> {
    if version_major != LATEST {
        return Ok(windows);
    }
    let before_last = windows.count - 1;
    let last = windows.start_of(before_last);
    let count = match snapshot.nearest(last, false)? {
        Some(_) => windows.count,
        None => before_last,
    };
    Ok(PreciseWindows { count, ..windows })
}

/// The range up to the end of the last complete window. An `end` beyond the end of all time is
/// valid if no window reaches it.
fn complete_windows(start: i64, end: i64, width: u64) -> Result<TimeRange, Refusal> {
    if start >= end {
        return Err(RangeError::Empty { start, end }.into());
    }
    let rest = end.abs_diff(start).checked_rem(width).unwrap_or_default();
    let last = end.wrapping_sub_unsigned(rest);
    if last == start {
        return Err(no_window(start, end, width));
    }
    Ok(TimeRange::new(start, last)?)
}

fn no_window(start: i64, end: i64, width: u64) -> Refusal {
    Refusal::new(
        Code::InvalidTimeRange,
        format!("range [{start}, {end}) holds no window of {width} ns"),
    )
}

fn messages<M: 'static>(
    shared: &Shared,
    mut reader: WindowReader,
    encode: impl Fn(Windows) -> Result<M, Refusal> + Send + 'static,
) -> Messages<M> {
    let rows = message::rows(shared.limits.rows_per_message, HEAD_BYTES, ROW_BYTES);
    batches(move || reader.next_batch(rows), encode)
}

fn stat_points(windows: &Windows) -> Vec<v5::StatPoint> {
    let Windows {
        times,
        mins,
        means,
        maxs,
        counts,
        stddevs,
    } = windows;
    let columns = times
        .iter()
        .zip(mins)
        .zip(means)
        .zip(maxs)
        .zip(counts)
        .zip(stddevs);
    columns
        .map(
            |(((((&time, &min), &mean), &max), &count), &stddev)| v5::StatPoint {
                time,
                min,
                mean,
                max,
                count,
                stddev,
            },
        )
        .collect()
}
