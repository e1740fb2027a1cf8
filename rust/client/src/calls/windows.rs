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
        expected::{Expected, Times},
        rows::Rows,
        rpc::Rpc,
        table::{AnswerSchema, STAT_SCHEMA, Table},
    },
    calls::{
        open::{OpenAnswer, PointsAnswer, Read},
        tables::{Question, Rest, Tables},
    },
    error::Error,
    method::Method,
    session::{call::uuid_bytes, client::Client},
    stats::{Counter, Counters},
};

impl Client {
    /// Statistics in the windows of length 2^p that a range covers; windows without points are
    /// left out.
    ///
    /// Both ends of the range are lowered to a multiple of the length. If that leaves no window,
    /// the result has no rows.
    pub async fn aligned_windows(
        &self,
        uuid: Uuid,
        range: TimeRange,
        width: PointWidth,
        version: u64,
        wanted: &AnswerSchema,
    ) -> Result<Table, Error> {
        self.table(Aligned { range, width }, uuid, version, wanted)
            .await
    }

    /// The same as they arrive.
    pub async fn aligned_windows_iter(
        &self,
        uuid: Uuid,
        range: TimeRange,
        width: PointWidth,
        version: u64,
        wanted: &AnswerSchema,
    ) -> Result<Tables, Error> {
        self.iterated_tables(Aligned { range, width }, uuid, version, wanted)
            .await
    }

    /// Statistics in windows of any length, the first of which begins exactly at the start of the
    /// range; a partial last window and windows without points are left out.
    pub async fn precise_windows(
        &self,
        uuid: Uuid,
        range: TimeRange,
        width_ns: u64,
        version: u64,
        wanted: &AnswerSchema,
    ) -> Result<Table, Error> {
        self.table(Precise { range, width_ns }, uuid, version, wanted)
            .await
    }

    /// The same as they arrive.
    pub async fn precise_windows_iter(
        &self,
        uuid: Uuid,
        range: TimeRange,
        width_ns: u64,
        version: u64,
        wanted: &AnswerSchema,
    ) -> Result<Tables, Error> {
        self.iterated_tables(Precise { range, width_ns }, uuid, version, wanted)
            .await
    }
}

/// Windows whose length is a power of two, and which begin at multiples of it.
#[derive(Clone, Copy, Debug)]
struct Aligned {
    range: TimeRange,
    width: PointWidth,
}

impl Question for Aligned {
    fn method(&self) -> Method {
        Method::AlignedWindows
    }

    fn times(&self) -> Times {
        // The first window may begin before the range does.
        Times::of_rows(self.width.floor(self.range.start()), self.range.end())
    }

    fn counter<'a>(&self, counters: &'a Counters) -> &'a Counter {
        &counters.windows_read
    }

    fn after(&self, time: i64) -> Option<Rest> {
        // The first window of all begins with time itself, maybe within its multiple.
        let start = self.width.floor(time);
        let next = start.saturating_add_unsigned(self.width.nanoseconds());
        let range = TimeRange::new(next, self.range.end()).ok()?;
        Some(Rest {
            question: Box::new(Self { range, ..*self }),
            repeats_last_time: false,
        })
    }

    fn open<'a>(&'a self, read: Read<'a>) -> BoxFuture<'a, Result<OpenAnswer, Error>> {
        let (client, lane) = (read.client, read.lane);
        Box::pin(async move {
            let expected = read.schema.expected(self.times());
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
                    .streaming(Method::ArrowAlignedWindows, lane, request(), send)
                    .boxed()
            };
            let points = || {
                let send = |mut rpc: Rpc, q| async move { rpc.aligned_windows(q).await };
                client
                    .streaming(Method::AlignedWindows, lane, request(), send)
                    .boxed()
            };
            read.open(self.method(), &expected, arrow, points).await
        })
    }
}

/// Windows of any length, the first of which begins with the range.
#[derive(Clone, Copy, Debug)]
struct Precise {
    range: TimeRange,
    width_ns: u64,
}

impl Question for Precise {
    fn method(&self) -> Method {
        Method::Windows
    }

    fn times(&self) -> Times {
        Times::of_rows(self.range.start(), self.range.end())
    }

    fn counter<'a>(&self, counters: &'a Counters) -> &'a Counter {
        &counters.windows_read
    }

    fn after(&self, time: i64) -> Option<Rest> {
        let next = time.saturating_add_unsigned(self.width_ns);
        let range = TimeRange::new(next, self.range.end()).ok()?;
        Some(Rest {
            question: Box::new(Self { range, ..*self }),
            repeats_last_time: false,
        })
    }

    fn open<'a>(&'a self, read: Read<'a>) -> BoxFuture<'a, Result<OpenAnswer, Error>> {
        let (client, lane) = (read.client, read.lane);
        Box::pin(async move {
            let expected = read.schema.expected(self.times());
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
                    .streaming(Method::ArrowWindows, lane, request(), send)
                    .boxed()
            };
            let points = || {
                let send = |mut rpc: Rpc, q| async move { rpc.windows(q).await };
                client
                    .streaming(Method::Windows, lane, request(), send)
                    .boxed()
            };
            read.open(self.method(), &expected, arrow, points).await
        })
    }
}

/// Servers refuse a range in which no window fits. The caller gets no rows instead, but only for a
/// stream that exists.
async fn no_windows(read: Read<'_>, expected: &Expected) -> Result<OpenAnswer, Error> {
    let version = read.client.version(read.uuid).await?;
    Ok(OpenAnswer::empty(version, read.client.no_rows(expected)?))
}

macro_rules! window_answers {
    ($($answer:ident)*) => {
        $(impl PointsAnswer for v5api::$answer {
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
    fn the_rest_begins_where_the_rows_end() {
        let range = TimeRange::new(-10, 100).unwrap();
        let width = PointWidth::new(3).unwrap();
        let aligned = Aligned { range, width };
        let precise = Precise {
            range,
            width_ns: 11,
        };
        let rest = |question: &dyn Question, last| {
            let rest = question.after(last)?;
            assert!(!rest.repeats_last_time);
            Some(rest.question.times())
        };
        assert_eq!(rest(&aligned, 8), Some(Times::of_rows(16, 100)));
        assert_eq!(rest(&aligned, 96), None);
        assert_eq!(rest(&precise, 1), Some(Times::of_rows(12, 100)));
        assert_eq!(rest(&precise, 88), Some(Times::of_rows(99, 100)));
        assert_eq!(rest(&precise, 89), None);
        let times = aligned.times();
        assert!(times.check(-16, 99).is_ok() && times.check(-17, 0).is_err());
        assert!(times.check(0, 100).is_err());
    }
}
