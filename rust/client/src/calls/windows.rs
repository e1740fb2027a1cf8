//! Statistics of a stream in windows.

use arrow_buffer::ToByteSlice;
use arrow_schema::ArrowError;
use futures_util::{FutureExt, future::BoxFuture};
use pingthings_proto::v5api;
use pingthings_types::{AlignedWindows, PointWidth, PreciseWindows, TimeRange, Version, Windows};
use uuid::Uuid;

use crate::{
    answer::{
        arrow_body::ArrowRpc,
        expectation::{Expectation, TimeBounds},
        rows::Rows,
        rpc::Rpc,
        table::{AnswerSchema, STAT_SCHEMA, Table},
    },
    calls::{
        answer_messages::{AnswerMessages, ReadParams, RowMessage},
        table_stream::{Remainder, TableRequest, TableStream},
    },
    error::Error,
    method::Method,
    session::{call::uuid_bytes, client::Client},
    stats::{Counter, Counters},
};

impl Client {
    /// Statistics of the windows with length 2^`width` ns in a range. Windows without points are
    /// left out.
    ///
    /// Both ends of the range are rounded down to a multiple of the length. If no window is left,
    /// the result has no rows.
    pub async fn aligned_windows(
        &self,
        uuid: Uuid,
        range: TimeRange,
        width: PointWidth,
        version: u64,
        schema: &AnswerSchema,
    ) -> Result<Table, Error> {
        self.table(
            AlignedWindowsRequest { range, width },
            uuid,
            version,
            schema,
        )
        .await
    }

    /// Like [`aligned_windows`](Self::aligned_windows), but returns a table for each message.
    pub async fn aligned_windows_iter(
        &self,
        uuid: Uuid,
        range: TimeRange,
        width: PointWidth,
        version: u64,
        schema: &AnswerSchema,
    ) -> Result<TableStream, Error> {
        self.table_stream(
            AlignedWindowsRequest { range, width },
            uuid,
            version,
            schema,
        )
        .await
    }

    /// Statistics of windows of any length. The first window begins exactly at the start of the
    /// range. An incomplete last window and windows without points are left out.
    pub async fn precise_windows(
        &self,
        uuid: Uuid,
        range: TimeRange,
        width_ns: u64,
        version: u64,
        schema: &AnswerSchema,
    ) -> Result<Table, Error> {
        self.table(
            PreciseWindowsRequest { range, width_ns },
            uuid,
            version,
            schema,
        )
        .await
    }

    /// Like [`precise_windows`](Self::precise_windows), but returns a table for each message.
    pub async fn precise_windows_iter(
        &self,
        uuid: Uuid,
        range: TimeRange,
        width_ns: u64,
        version: u64,
        schema: &AnswerSchema,
    ) -> Result<TableStream, Error> {
        self.table_stream(
            PreciseWindowsRequest { range, width_ns },
            uuid,
            version,
            schema,
        )
        .await
    }
}

/// A request for aligned windows.
#[derive(Clone, Copy, Debug)]
struct AlignedWindowsRequest {
    range: TimeRange,
    width: PointWidth,
}

impl TableRequest for AlignedWindowsRequest {
    fn method(&self) -> Method {
        Method::AlignedWindows
    }

    fn time_bounds(&self) -> TimeBounds {
        // The first window may begin before the range.
        TimeBounds::of_rows(self.width.floor(self.range.start()), self.range.end())
    }

    fn counter<'a>(&self, counters: &'a Counters) -> &'a Counter {
        &counters.windows_read
    }

    fn after(&self, time: i64) -> Option<Remainder> {
        // The first window of all begins at the minimum time, which is not a multiple of the
        // largest lengths. Rounding down finds the multiple in which it begins.
        let start = self.width.floor(time);
        let next = start.saturating_add_unsigned(self.width.nanoseconds());
        let range = TimeRange::new(next, self.range.end()).ok()?;
        Some(Remainder {
            request: Box::new(Self { range, ..*self }),
            repeats_last_time: false,
        })
    }

    fn open<'a>(&'a self, read: ReadParams<'a>) -> BoxFuture<'a, Result<AnswerMessages, Error>> {
        let (client, class) = (read.client, read.class);
        Box::pin(async move {
            let expected = read.schema.expected(self.time_bounds());
            if AlignedWindows::new(self.range, self.width).is_none() {
                return no_windows(read, &expected).await;
            }
            let request = || v5api::AlignedWindowsParams {
                uuid: uuid_bytes(read.uuid),
                start: self.range.start(),
                end: self.range.end(),
                version_major: read.version,
                point_width: self.width.exponent(),
            };
            let arrow = || {
                let send = |mut rpc: ArrowRpc, q| async move { rpc.call(q).await };
                client
                    .streaming(Method::ArrowAlignedWindows, class, request(), send)
                    .boxed()
            };
            let points = || {
                let send = |mut rpc: Rpc, q| async move { rpc.aligned_windows(q).await };
                client
                    .streaming(Method::AlignedWindows, class, request(), send)
                    .boxed()
            };
            read.open(self.method(), &expected, arrow, points).await
        })
    }
}

/// A request for precise windows.
#[derive(Clone, Copy, Debug)]
struct PreciseWindowsRequest {
    range: TimeRange,
    width_ns: u64,
}

impl TableRequest for PreciseWindowsRequest {
    fn method(&self) -> Method {
        Method::Windows
    }

    fn time_bounds(&self) -> TimeBounds {
        TimeBounds::of_rows(self.range.start(), self.range.end())
    }

    fn counter<'a>(&self, counters: &'a Counters) -> &'a Counter {
        &counters.windows_read
    }

    fn after(&self, time: i64) -> Option<Remainder> {
        let next = time.saturating_add_unsigned(self.width_ns);
        let range = TimeRange::new(next, self.range.end()).ok()?;
        Some(Remainder {
            request: Box::new(Self { range, ..*self }),
            repeats_last_time: false,
        })
    }

    fn open<'a>(&'a self, read: ReadParams<'a>) -> BoxFuture<'a, Result<AnswerMessages, Error>> {
        let (client, class) = (read.client, read.class);
        Box::pin(async move {
            let expected = read.schema.expected(self.time_bounds());
            if PreciseWindows::new(self.range, self.width_ns)?.is_none() {
                return no_windows(read, &expected).await;
            }
            let request = || v5api::WindowsParams {
                uuid: uuid_bytes(read.uuid),
                start: self.range.start(),
                end: self.range.end(),
                version_major: read.version,
                width: self.width_ns,
                depth: 0,
            };
            let arrow = || {
                let send = |mut rpc: ArrowRpc, q| async move { rpc.call(q).await };
                client
                    .streaming(Method::ArrowWindows, class, request(), send)
                    .boxed()
            };
            let points = || {
                let send = |mut rpc: Rpc, q| async move { rpc.windows(q).await };
                client
                    .streaming(Method::Windows, class, request(), send)
                    .boxed()
            };
            read.open(self.method(), &expected, arrow, points).await
        })
    }
}

/// Servers refuse a range in which no window fits. The caller gets a table without rows instead,
/// but only if the stream exists.
async fn no_windows(read: ReadParams<'_>, expected: &Expectation) -> Result<AnswerMessages, Error> {
    let version = read.client.version(read.uuid).await?;
    Ok(AnswerMessages::empty(
        version,
        read.client.empty_rows(expected)?,
    ))
}

macro_rules! window_answers {
    ($($answer:ident)*) => {
        $(impl RowMessage for v5api::$answer {
            fn add_to(self, rows: &mut Rows) -> Result<Version, ArrowError> {
                add(&columns(self.values), rows)?;
                Ok(Version { major: self.version_major, minor: self.version_minor })
            }
        })*
    };
}

window_answers! { AlignedWindowsResponse WindowsResponse }

fn add(windows: &Windows, rows: &mut Rows) -> Result<(), ArrowError> {
    let columns = [
        windows.times.to_byte_slice(),
        windows.mins.to_byte_slice(),
        windows.means.to_byte_slice(),
        windows.maxs.to_byte_slice(),
        windows.counts.to_byte_slice(),
        windows.stddevs.to_byte_slice(),
    ];
    rows.add(&STAT_SCHEMA, windows.times.len(), columns)
}

fn columns(points: Vec<v5api::StatPoint>) -> Windows {
    let mut windows = Windows::default();
    for p in points {
        windows.times.push(p.time);
        windows.mins.push(p.min);
        windows.means.push(p.mean);
        windows.maxs.push(p.max);
        windows.counts.push(p.count);
        windows.stddevs.push(p.stddev);
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remainder_begins_after_the_last_window() {
        let range = TimeRange::new(-10, 100).unwrap();
        let width = PointWidth::new(3).unwrap();
        let aligned = AlignedWindowsRequest { range, width };
        let precise = PreciseWindowsRequest {
            range,
            width_ns: 11,
        };
        let rest = |request: &dyn TableRequest, last| {
            let rest = request.after(last)?;
            assert!(!rest.repeats_last_time);
            Some(rest.request.time_bounds())
        };
        assert_eq!(rest(&aligned, 8), Some(TimeBounds::of_rows(16, 100)));
        assert_eq!(rest(&aligned, 96), None);
        assert_eq!(rest(&precise, 1), Some(TimeBounds::of_rows(12, 100)));
        assert_eq!(rest(&precise, 88), Some(TimeBounds::of_rows(99, 100)));
        assert_eq!(rest(&precise, 89), None);
        let times = aligned.time_bounds();
        assert!(times.check(-16, 99).is_ok() && times.check(-17, 0).is_err());
        assert!(times.check(0, 100).is_err());
    }
}
