//! Statistics of a stream in windows.

use arrow_buffer::ToByteSlice;
use arrow_schema::ArrowError;
use futures_util::FutureExt;
use pingthings_proto::v5api;
use pingthings_types::{AlignedWindows, PointWidth, PreciseWindows, TimeRange, Version, Windows};
use uuid::Uuid;

use crate::{
    answer::{
        arrow_body::ArrowRpc,
        expected::Expected,
        rows::Rows,
        rpc::Rpc,
        table::{AnswerSchema, STAT_SCHEMA, Table},
    },
    calls::tables::{OpenAnswer, PointsAnswer, Question, Tables},
    error::Error,
    method::{Lane, Method},
    session::{call::uuid_bytes, client::Client},
};

const WHAT: &str = "windows";

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
        self.table(Question::Aligned(range, width), uuid, version, wanted)
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
        let question = Question::Aligned(range, width);
        self.tables_at_leisure(question, uuid, version, wanted)
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
        self.table(Question::Precise(range, width_ns), uuid, version, wanted)
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
        let question = Question::Precise(range, width_ns);
        self.tables_at_leisure(question, uuid, version, wanted)
            .await
    }

    /// Servers refuse a range in which no window fits. The caller gets no rows instead, but only
    /// for a stream that exists.
    async fn no_windows(&self, uuid: Uuid, expected: &Expected) -> Result<OpenAnswer, Error> {
        let version = self.version(uuid).await?;
        Ok(OpenAnswer::empty(version, self.no_rows(expected)?))
    }

    pub(crate) async fn open_aligned_windows(
        &self,
        uuid: Uuid,
        range: TimeRange,
        width: PointWidth,
        version: u64,
        wanted: &AnswerSchema,
        lane: Lane,
    ) -> Result<OpenAnswer, Error> {
        let expected = wanted.expected(Question::Aligned(range, width).times());
        if AlignedWindows::new(range, width).is_none() {
            return self.no_windows(uuid, &expected).await;
        }
        let request = v5api::AlignedWindowsParams {
            uuid: uuid_bytes(uuid),
            start: range.start(),
            end: range.end(),
            version_major: version,
            point_width: width.exponent(),
        };
        let arrow = || {
            let request = request.clone();
            self.streaming(
                Method::ArrowAlignedWindows,
                lane,
                request,
                |mut rpc: ArrowRpc, q| async move { rpc.call(q).await },
            )
            .boxed()
        };
        let points = || {
            let request = request.clone();
            self.streaming(
                Method::AlignedWindows,
                lane,
                request,
                |mut rpc: Rpc, q| async move { rpc.aligned_windows(q).await },
            )
            .boxed()
        };
        self.open_either(WHAT, &expected, arrow, points).await
    }

    pub(crate) async fn open_precise_windows(
        &self,
        uuid: Uuid,
        range: TimeRange,
        width_ns: u64,
        version: u64,
        wanted: &AnswerSchema,
        lane: Lane,
    ) -> Result<OpenAnswer, Error> {
        let expected = wanted.expected(Question::Precise(range, width_ns).times());
        if PreciseWindows::new(range, width_ns)?.is_none() {
            return self.no_windows(uuid, &expected).await;
        }
        let request = v5api::WindowsParams {
            uuid: uuid_bytes(uuid),
            start: range.start(),
            end: range.end(),
            version_major: version,
            width: width_ns,
            depth: 0,
        };
        let arrow = || {
            let request = request.clone();
            self.streaming(
                Method::ArrowWindows,
                lane,
                request,
                |mut rpc: ArrowRpc, q| async move { rpc.call(q).await },
            )
            .boxed()
        };
        let points = || {
            let request = request.clone();
            self.streaming(
                Method::Windows,
                lane,
                request,
                |mut rpc: Rpc, q| async move { rpc.windows(q).await },
            )
            .boxed()
        };
        self.open_either(WHAT, &expected, arrow, points).await
    }
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
