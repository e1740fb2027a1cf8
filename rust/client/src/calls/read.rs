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
        expectation::TimeBounds,
        points::{PointColumns, PointsRpc},
        rows::Rows,
        table::{AnswerSchema, RAW_SCHEMA, Table},
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
    /// The points of a stream in a range, ordered by time, at a version (0 = latest).
    pub async fn raw_values(
        &self,
        uuid: Uuid,
        range: TimeRange,
        version: u64,
        schema: &AnswerSchema,
    ) -> Result<Table, Error> {
        self.table(RawValuesRequest(range), uuid, version, schema)
            .await
    }

    /// Like [`raw_values`](Self::raw_values), but returns a table for each message.
    pub async fn raw_values_iter(
        &self,
        uuid: Uuid,
        range: TimeRange,
        version: u64,
        schema: &AnswerSchema,
    ) -> Result<TableStream, Error> {
        self.table_stream(RawValuesRequest(range), uuid, version, schema)
            .await
    }
}

/// A request for the points in a range.
#[derive(Clone, Copy, Debug)]
struct RawValuesRequest(TimeRange);

impl TableRequest for RawValuesRequest {
    fn method(&self) -> Method {
        Method::RawValues
    }

    fn time_bounds(&self) -> TimeBounds {
        TimeBounds::of_points(self.0)
    }

    fn counter<'a>(&self, counters: &'a Counters) -> &'a Counter {
        &counters.points_read
    }

    fn after(&self, time: i64) -> Option<Remainder> {
        // More points with the same time may follow, so this time is requested again and the rows
        // that have arrived are skipped.
        let rest = TimeRange::new(time, self.0.end()).ok()?;
        Some(Remainder {
            request: Box::new(Self(rest)),
            repeats_last_time: true,
        })
    }

    fn open<'a>(&'a self, read: ReadParams<'a>) -> BoxFuture<'a, Result<AnswerMessages, Error>> {
        let (client, class, range) = (read.client, read.class, self.0);
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
                    .streaming(Method::ArrowRawValues, class, request, send)
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
                    .streaming(Method::RawValues, class, request, send)
                    .boxed()
            };
            let expected = read.schema.expected(self.time_bounds());
            read.open(self.method(), &expected, arrow, points).await
        })
    }
}

impl RowMessage for PointColumns {
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
    fn the_remainder_begins_at_the_last_row() {
        let range = |start| TimeRange::new(start, 100).unwrap();
        for last in [7, 99] {
            let rest = RawValuesRequest(range(-10)).after(last).unwrap();
            assert_eq!(
                rest.request.time_bounds(),
                TimeBounds::of_points(range(last))
            );
            assert!(rest.repeats_last_time);
        }
    }
}
