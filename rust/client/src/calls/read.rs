//! Raw points of a stream.

use arrow_buffer::ToByteSlice;
use arrow_schema::ArrowError;
use futures_util::FutureExt;
use pingthings_proto::v5api;
use pingthings_types::{Points, TimeRange, Version};
use uuid::Uuid;

use crate::{
    answer::{
        arrow_body::ArrowRpc,
        points::{PointColumns, PointsRpc},
        rows::Rows,
        table::{AnswerSchema, RAW_SCHEMA, Table},
    },
    calls::tables::{OpenAnswer, PointsAnswer, Question, Tables},
    error::Error,
    method::{Lane, Method},
    session::{call::uuid_bytes, client::Client},
};

const WHAT: &str = "raw values";

impl Client {
    /// The points of a stream in a range, ascending by time, at a version (0 = latest).
    pub async fn raw_values(
        &self,
        uuid: Uuid,
        range: TimeRange,
        version: u64,
        wanted: &AnswerSchema,
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
        wanted: &AnswerSchema,
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
        wanted: &AnswerSchema,
        lane: Lane,
    ) -> Result<OpenAnswer, Error> {
        let request = v5api::ArrowRawValuesParams {
            uuid: uuid_bytes(uuid),
            start: range.start(),
            end: range.end(),
            version_major: version,
            template_bytes: wanted.template()?,
        };
        let arrow = || {
            self.streaming(
                Method::ArrowRawValues,
                lane,
                request,
                |mut rpc: ArrowRpc, q| async move { rpc.call(q).await },
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
                Method::RawValues,
                lane,
                plain,
                |mut rpc: PointsRpc, q| async move { rpc.raw_values(q).await },
            )
            .boxed()
        };
        let expected = wanted.expected(Question::Raw(range).times());
        self.open_either(WHAT, &expected, arrow, points).await
    }
}

impl PointsAnswer for PointColumns {
    fn add_to(self, rows: &mut Rows) -> Result<Version, ArrowError> {
        let Points { times, values } = self.points;
        let columns = [times.to_byte_slice(), values.to_byte_slice()];
        rows.add(&RAW_SCHEMA, times.len(), columns)?;
        Ok(self.version)
    }
}
