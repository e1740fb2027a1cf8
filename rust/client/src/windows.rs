//! Statistics of a stream in windows.

use arrow_array::RecordBatch;
use pingthings_proto::v5api;
use pingthings_types::{AlignedWindows, PointWidth, PreciseWindows, TimeRange, Version, Windows};
use uuid::Uuid;

use crate::{
    Client,
    arrow::{Table, Wanted, decode, windows_batch, without_empty},
    call::{Answer, Answers, Rpc},
    error::Error,
    metadata::uuid_bytes,
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
        wanted: &Wanted,
    ) -> Result<Table, Error> {
        let result = if AlignedWindows::new(range, width).is_none() {
            self.no_windows(uuid, wanted).await
        } else {
            let request = v5api::AlignedWindowsParams {
                uuid: uuid_bytes(uuid),
                start: range.start(),
                end: range.end(),
                version_major: version,
                point_width: width.exponent(),
            };
            self.aligned_answers(request, wanted).await
        };
        result.map_err(|error| error.on_stream(uuid))
    }

    /// Statistics in windows of any length, the first of which begins exactly at the start of the
    /// range; a partial last window and windows without points are left out.
    pub async fn precise_windows(
        &self,
        uuid: Uuid,
        range: TimeRange,
        width_ns: u64,
        version: u64,
        wanted: &Wanted,
    ) -> Result<Table, Error> {
        let result = if PreciseWindows::new(range, width_ns)?.is_none() {
            self.no_windows(uuid, wanted).await
        } else {
            let request = v5api::WindowsParams {
                uuid: uuid_bytes(uuid),
                start: range.start(),
                end: range.end(),
                version_major: version,
                width: width_ns,
                depth: 0,
            };
            self.precise_answers(request, wanted).await
        };
        result.map_err(|error| error.on_stream(uuid))
    }

    /// Servers refuse a range in which no window fits. The caller gets no rows instead, but only
    /// for a stream that exists.
    async fn no_windows(&self, uuid: Uuid, wanted: &Wanted) -> Result<Table, Error> {
        let version = self.version(uuid).await?;
        Ok(Table {
            version,
            ..wanted.table()
        })
    }

    async fn aligned_answers(
        &self,
        request: v5api::AlignedWindowsParams,
        wanted: &Wanted,
    ) -> Result<Table, Error> {
        if self.server.has_arrow() {
            let answers = self
                .streaming(
                    "ArrowAlignedWindows",
                    request.clone(),
                    |mut rpc: Rpc, q| async move { rpc.arrow_aligned_windows(q).await },
                )
                .await;
            match collect::<v5api::ArrowAlignedWindowsResponse>(answers, wanted).await {
                Err(error) if error.is_unimplemented() => self.server.forgo_arrow(),
                done => return done,
            }
        }
        let answers = self
            .streaming("AlignedWindows", request, |mut rpc: Rpc, q| async move {
                rpc.aligned_windows(q).await
            })
            .await;
        collect::<v5api::AlignedWindowsResponse>(answers, wanted).await
    }

    async fn precise_answers(
        &self,
        request: v5api::WindowsParams,
        wanted: &Wanted,
    ) -> Result<Table, Error> {
        if self.server.has_arrow() {
            let answers = self
                .streaming(
                    "ArrowWindows",
                    request.clone(),
                    |mut rpc: Rpc, q| async move { rpc.arrow_windows(q).await },
                )
                .await;
            match collect::<v5api::ArrowWindowsResponse>(answers, wanted).await {
                Err(error) if error.is_unimplemented() => self.server.forgo_arrow(),
                done => return done,
            }
        }
        let answers = self
            .streaming("Windows", request, |mut rpc: Rpc, q| async move {
                rpc.windows(q).await
            })
            .await;
        collect::<v5api::WindowsResponse>(answers, wanted).await
    }
}

/// An answer that carries windows, in Arrow or as points.
trait WindowAnswer: Answer {
    fn into_batches(self) -> Result<(Version, Vec<RecordBatch>), Error>;
}

macro_rules! window_answers {
    (arrow: $($arrow:ident)*; points: $($points:ident)*) => {
        $(impl WindowAnswer for v5api::$arrow {
            fn into_batches(self) -> Result<(Version, Vec<RecordBatch>), Error> {
                let version = Version { major: self.version_major, minor: self.version_minor };
                Ok((version, decode(WHAT, self.arrow_bytes)?.1))
            }
        })*
        $(impl WindowAnswer for v5api::$points {
            fn into_batches(self) -> Result<(Version, Vec<RecordBatch>), Error> {
                let version = Version { major: self.version_major, minor: self.version_minor };
                let batch = windows_batch(columns(self.values));
                Ok((version, vec![batch.map_err(|error| Error::decode(WHAT, error))?]))
            }
        })*
    };
}

window_answers! {
    arrow: ArrowAlignedWindowsResponse ArrowWindowsResponse;
    points: AlignedWindowsResponse WindowsResponse
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

async fn collect<A: WindowAnswer>(
    answers: Result<Answers<A>, Error>,
    wanted: &Wanted,
) -> Result<Table, Error> {
    let mut answers = answers?;
    let mut table = wanted.table();
    while let Some(answer) = answers.next().await? {
        let (version, batches) = answer.into_batches()?;
        table.version = version;
        let batches = batches
            .into_iter()
            .map(without_empty)
            .collect::<Result<_, _>>()
            .map_err(|error| Error::decode(WHAT, error))?;
        table.append(wanted, WHAT, batches)?;
    }
    Ok(table)
}
