//! Raw points of a stream.

use arrow_array::RecordBatch;
use futures_util::FutureExt;
use pingthings_proto::v5api;
use pingthings_types::{TimeRange, Version};
use uuid::Uuid;

use crate::{
    Client,
    arrow::{Table, Wanted, decode, points_batch},
    call::Rpc,
    channels::Lane,
    error::Error,
    metadata::uuid_bytes,
    points::{PointColumns, PointsRpc},
    tables::{Opened, Question, TableAnswer, Tables},
};

const WHAT: &str = "raw values";

impl Client {
    /// The points of a stream in a range, ascending by time, at a version (0 = latest).
    pub async fn raw_values(
        &self,
        uuid: Uuid,
        range: TimeRange,
        version: u64,
        wanted: &Wanted,
    ) -> Result<Table, Error> {
        self.table(Question::Raw(range), uuid, version, wanted)
            .await
    }

    /// The same as they arrive.
    pub async fn raw_values_iter(
        &self,
        uuid: Uuid,
        range: TimeRange,
        version: u64,
        wanted: &Wanted,
    ) -> Result<Tables, Error> {
        let question = Question::Raw(range);
        self.tables_at_leisure(question, uuid, version, wanted)
            .await
    }

    pub(crate) async fn open_raw_values(
        &self,
        uuid: Uuid,
        range: TimeRange,
        version: u64,
        wanted: &Wanted,
        lane: Lane,
    ) -> Result<Opened, Error> {
        let request = v5api::ArrowRawValuesParams {
            uuid: uuid_bytes(uuid),
            start: range.start(),
            end: range.end(),
            version_major: version,
            template_bytes: wanted.template()?,
        };
        let arrow = || {
            self.streaming(
                "ArrowRawValues",
                lane,
                request,
                |mut rpc: Rpc, q| async move { rpc.arrow_raw_values(q).await },
            )
            .boxed()
        };
        let plain = v5api::RawValuesParams {
            uuid: uuid_bytes(uuid),
            start: range.start(),
            end: range.end(),
            version_major: version,
        };
        let points = || {
            self.streaming(
                "RawValues",
                lane,
                plain,
                |mut rpc: PointsRpc, q| async move { rpc.raw_values(q).await },
            )
            .boxed()
        };
        self.open_either(arrow, points).await
    }
}

impl TableAnswer for v5api::ArrowRawValuesResponse {
    fn into_batches(self) -> Result<(Version, Vec<RecordBatch>), Error> {
        let version = Version {
            major: self.version_major,
            minor: self.version_minor,
        };
        Ok((version, decode(WHAT, self.arrow_bytes)?.1))
    }
}

impl TableAnswer for PointColumns {
    fn into_batches(self) -> Result<(Version, Vec<RecordBatch>), Error> {
        let batch = points_batch(self.points).map_err(|error| Error::decode(WHAT, error))?;
        Ok((self.version, vec![batch]))
    }
}
