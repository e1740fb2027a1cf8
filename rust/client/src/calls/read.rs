//! Raw points of a stream.

use arrow_buffer::ToByteSlice;
use arrow_schema::ArrowError;
use futures_util::{FutureExt, future::BoxFuture};
use pingthings_proto::v5api;
use pingthings_types::{Points, TimeRange, Version};
use uuid::Uuid;

use crate::{
    answer::{
        arrow_body::ArrowRpc,
        expected::Times,
        points::{PointColumns, PointsRpc},
        rows::Rows,
        table::{AnswerSchema, RAW_SCHEMA, Table},
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
    /// The points of a stream in a range, ascending by time, at a version (0 = latest).
    pub async fn raw_values(
        &self,
        uuid: Uuid,
        range: TimeRange,
        version: u64,
        wanted: &AnswerSchema,
    ) -> Result<Table, Error> {
        self.table(RawValues(range), uuid, version, wanted).await
    }

    /// The same as they arrive.
    pub async fn raw_values_iter(
        &self,
        uuid: Uuid,
        range: TimeRange,
        version: u64,
        wanted: &AnswerSchema,
    ) -> Result<Tables, Error> {
        self.iterated_tables(RawValues(range), uuid, version, wanted)
            .await
    }
}

/// The points in a range.
#[derive(Clone, Copy, Debug)]
struct RawValues(TimeRange);

impl Question for RawValues {
    fn method(&self) -> Method {
        Method::RawValues
    }

    fn times(&self) -> Times {
        Times::of_points(self.0)
    }

    fn counter<'a>(&self, counters: &'a Counters) -> &'a Counter {
        &counters.points_read
    }

    fn after(&self, time: i64) -> Option<Rest> {
        // Other points may have the same time: those that were answered are left out.
        let rest = TimeRange::new(time, self.0.end()).ok()?;
        Some(Rest {
            question: Box::new(Self(rest)),
            repeats_last_time: true,
        })
    }

    fn open<'a>(&'a self, read: Read<'a>) -> BoxFuture<'a, Result<OpenAnswer, Error>> {
        let (client, lane, range) = (read.client, read.lane, self.0);
        Box::pin(async move {
            let request = v5api::ArrowRawValuesParams {
                uuid: uuid_bytes(read.uuid),
                start: range.start(),
                end: range.end(),
                version_major: read.version,
                template_bytes: read.schema.template()?,
            };
            let arrow = || {
                let send = |mut rpc: ArrowRpc, q| async move { rpc.call(q).await };
                client
                    .streaming(Method::ArrowRawValues, lane, request, send)
                    .boxed()
            };
            let points = || {
                let request = v5api::RawValuesParams {
                    uuid: uuid_bytes(read.uuid),
                    start: range.start(),
                    end: range.end(),
                    version_major: read.version,
                };
                let send = |mut rpc: PointsRpc, q| async move { rpc.raw_values(q).await };
                client
                    .streaming(Method::RawValues, lane, request, send)
                    .boxed()
            };
            let expected = read.schema.expected(self.times());
            read.open(self.method(), &expected, arrow, points).await
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_begins_where_the_rows_end() {
        let range = |start| TimeRange::new(start, 100).unwrap();
        for last in [7, 99] {
            let rest = RawValues(range(-10)).after(last).unwrap();
            assert_eq!(rest.question.times(), Times::of_points(range(last)));
            assert!(rest.repeats_last_time);
        }
    }
}
