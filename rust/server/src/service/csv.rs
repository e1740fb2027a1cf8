//! Points or windows of many streams as rows of CSV.

use std::collections::VecDeque;

use pingthings_proto::v5api::generate_csv_params::QueryType;
use pingthings_proto::v5api::{self as v5, GenerateCsvParams, GenerateCsvResponse};
use pingthings_storage::{Error, WindowReader};
use pingthings_types::{TimeRange, Version};

use super::Shared;
use super::answers::Messages;
use super::read::snapshot;
use super::windows::{open_aligned, open_precise};
use crate::status::Refusal;

/// The number of points or windows of all streams together that are read ahead.
const ROWS_AHEAD: usize = 1 << 16;
/// The maximum number of streams in one table. Rows are read ahead for each.
const MAX_STREAMS: usize = 4_096;
const STATISTICS: [&str; 4] = ["Min", "Mean", "Max", "Count"];

/// The cells of one stream at one time.
type Cells = (i64, Vec<String>);
type RowSource = Box<dyn FnMut() -> Result<Option<Vec<Cells>>, Error> + Send>;

/// The rows of one stream, ascending by time.
struct Column {
    ready: VecDeque<Cells>,
    source: RowSource,
}

impl Column {
    /// The time of the next row.
    fn time(&mut self) -> Result<Option<i64>, Error> {
        while self.ready.is_empty() {
            match (self.source)()? {
                Some(rows) => self.ready.extend(rows),
                None => return Ok(None),
            }
        }
        Ok(self.ready.front().map(|(time, _)| *time))
    }
}

/// Answers with the header and then one message for each row. Streams are merged by time. If a
/// stream has no row at a time, its cells are empty.
pub(super) fn generate_csv(
    shared: &Shared,
    params: &GenerateCsvParams,
) -> Result<Messages<GenerateCsvResponse>, Refusal> {
    let query = QueryType::try_from(params.query_type).map_err(|_| {
        Refusal::parameter(format!(
            "query type {} is unknown: give 0 to 2",
            params.query_type
        ))
    })?;
    if params.streams.len() > MAX_STREAMS {
        return Err(Refusal::parameter(format!(
            "a table of {} streams: ask for {MAX_STREAMS} at a time",
            params.streams.len()
        )));
    }
    let batch_size =
        (ROWS_AHEAD / params.streams.len().max(1)).clamp(16, shared.limits.rows_per_message);
    let mut header = vec![
        "Timestamp (ns)".to_owned(),
        "Human-Readable Time (UTC)".to_owned(),
    ];
    let mut columns = Vec::with_capacity(params.streams.len());
    let width = if query == QueryType::RawQuery { 1 } else { 4 };
    for stream in &params.streams {
        let (version, source) = open(shared, params, query, stream, batch_size)?;
        let mut label = stream.label.clone();
        if params.include_versions {
            label = format!("{label} (Version {})", version.major);
        }
        if width == 1 {
            header.push(label);
        } else {
            header.extend(STATISTICS.map(|name| format!("{label} ({name})")));
        }
        columns.push(Column {
            ready: VecDeque::new(),
            source,
        });
    }
    let header = GenerateCsvResponse {
        stat: None,
        is_header: true,
        row: header,
    };
    let rows = std::iter::from_fn(move || next_row(&mut columns, width).transpose());
    Ok(Box::new(std::iter::once(Ok(header)).chain(rows)))
}

fn next_row(columns: &mut [Column], width: usize) -> Result<Option<GenerateCsvResponse>, Refusal> {
    let mut first = None;
    for column in &mut *columns {
        let time = column.time()?;
        first = match (first, time) {
            (Some(first), Some(time)) => Some(std::cmp::min::<i64>(first, time)),
            (first, time) => first.or(time),
        };
    }
    let Some(time) = first else { return Ok(None) };
    let mut row = vec![time.to_string(), rfc3339(time)];
    for column in columns {
        match column.ready.pop_front_if(|(own, _)| *own == time) {
            Some((_, cells)) => row.extend(cells),
            None => row.resize(row.len() + width, String::new()),
        }
    }
    Ok(Some(GenerateCsvResponse {
        stat: None,
        is_header: false,
        row,
    }))
}

fn open(
    shared: &Shared,
    params: &GenerateCsvParams,
    query: QueryType,
    stream: &v5::StreamCsvConfig,
    batch_size: usize,
) -> Result<(Version, RowSource), Refusal> {
    let (uuid, version_major) = (stream.uuid.clone(), stream.version);
    let (start, end) = (params.start_time, params.end_time);
    match query {
        QueryType::RawQuery => {
            let range = TimeRange::new(start, end)?;
            let snapshot = snapshot(shared, &uuid, version_major)?;
            let mut reader = snapshot.raw(range);
            let more = move || {
                let points = reader.next_batch(batch_size)?;
                let cells = |points: pingthings_types::Points| {
                    let points = points.iter();
                    points
                        .map(|point| (point.time, vec![point.value.to_string()]))
                        .collect()
                };
                Ok(points.map(cells))
            };
            Ok((snapshot.version(), Box::new(more)))
        }
        QueryType::AlignedWindowsQuery => {
            let params = v5::AlignedWindowsParams {
                uuid,
                start,
                end,
                version_major,
                point_width: params.depth,
            };
            let (version, reader) = open_aligned(shared, &params)?;
            Ok((version, windows(reader, batch_size)))
        }
        QueryType::WindowsQuery => {
            let params = v5::WindowsParams {
                uuid,
                start,
                end,
                version_major,
                width: params.window_size,
                depth: params.depth,
            };
            let (version, reader) = open_precise(shared, &params)?;
            Ok((version, windows(reader, batch_size)))
        }
    }
}

fn windows(mut reader: WindowReader, batch_size: usize) -> RowSource {
    Box::new(move || {
        let Some(windows) = reader.next_batch(batch_size)? else {
            return Ok(None);
        };
        let rows = windows.times.iter().enumerate().map(|(at, &time)| {
            let statistics = [&windows.mins, &windows.means, &windows.maxs];
            let mut cells = Vec::with_capacity(STATISTICS.len());
            cells.extend(
                statistics.map(|column| column.get(at).map_or_else(String::new, f64::to_string)),
            );
            cells.push(
                windows
                    .counts
                    .get(at)
                    .map_or_else(String::new, u64::to_string),
            );
            (time, cells)
        });
        Ok(Some(rows.collect()))
    })
}

/// A time in the format of RFC 3339, with nanoseconds.
fn rfc3339(time: i64) -> String {
    const SECOND: i64 = 1_000_000_000;
    let (seconds, nanoseconds) = (time.div_euclid(SECOND), time.rem_euclid(SECOND));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years begin on March 1st here, so that a leap day is the last day of its year. 400 years have
    // 146 097 days.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingthings_types::{MAX_TIME, MIN_TIME};

    #[test]
    fn times_are_formatted_as_rfc_3339() {
        for (time, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
            (1_500_000_000_123_456_789, "2017-07-14T02:40:00.123456789Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
            (MIN_TIME, "1933-06-20T00:01:35.393153024Z"),
            (MAX_TIME, "2079-08-08T23:55:13.820540928Z"),
        ] {
            assert_eq!(rfc3339(time), text);
        }
    }
}
