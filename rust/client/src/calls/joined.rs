//! Points of several streams in one table, joined on time by the server.

use pingthings_proto::v5api;
use pingthings_types::TimeRange;
use uuid::Uuid;

use crate::{
    answer::{
        arrow_body::ArrowRpc,
        budget::Reservation,
        expectation::{Expectation, TimeBounds},
        rows::Rows,
        table::{AnswerSchema, Table},
    },
    error::{Error, ErrorKind},
    method::{ConnectionClass, Method},
    session::{call::uuid_bytes, client::Client},
};

const METHOD: Method = Method::ArrowMultiValues;

impl Client {
    /// The points of streams in a range, each stream at its version (0 = latest). The table has a
    /// row for each time and a column for each stream, with NaN where a stream has no point.
    ///
    /// With a period, each point is moved to the nearest multiple of the period, counted from the
    /// start of the range.
    pub async fn joined_values(
        &self,
        streams: &[(Uuid, u64)],
        range: TimeRange,
        period: Option<i64>,
    ) -> Result<Table, Error> {
        if let Some(period) = period.filter(|period| *period < 1) {
            let message = format!("a period of {period} ns: it must be at least 1 ns");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let request = v5api::ArrowMultiValuesParams {
            uuid: streams.iter().map(|(uuid, _)| uuid_bytes(*uuid)).collect(),
            version_major: streams.iter().map(|(_, version)| *version).collect(),
            start: range.start(),
            end: range.end(),
            snap_period_ns: period.unwrap_or(0),
            ..v5api::ArrowMultiValuesParams::default()
        };
        let schema = AnswerSchema::joined(streams.iter().map(|(uuid, _)| *uuid));
        // A point moves by less than a period.
        let period = period.unwrap_or(0);
        let times = TimeBounds::of_rows(
            range.start().saturating_sub(period),
            range.end().saturating_add(period),
        );
        let expected = schema.expected(times);
        let call = self.count_call(METHOD.kind());
        let table = self.joined(&request, &schema, &expected).await;
        call.end(&table);
        table
    }

    /// The answer has no version at which the rest could be requested, so a failed read is repeated
    /// as a whole.
    async fn joined(
        &self,
        request: &v5api::ArrowMultiValuesParams,
        schema: &AnswerSchema,
        expected: &Expectation,
    ) -> Result<Table, Error> {
        let mut reservation = self.state.session()?.budget.begin_read();
        let mut backoff = self.backoff();
        self.wait_for_turn(METHOD, &mut reservation).await?;
        loop {
            match self.joined_once(request, expected, &mut reservation).await {
                Ok(Some(mut rows)) => {
                    reservation.finish();
                    let batches = rows
                        .take()
                        .map_err(|error| Error::decode(METHOD.answer_name(), error))?;
                    let mut table = schema.table(METHOD.answer_name(), batches)?;
                    table.reservation = Some(reservation.into());
                    return Ok(table);
                }
                Ok(None) => {
                    reservation.clear();
                    self.counters().paused_reads.add(1);
                    self.wait_for_turn(METHOD, &mut reservation).await?;
                }
                Err(error) if error.is_transient() => {
                    reservation.clear();
                    backoff.wait(METHOD, error).await?;
                    self.count_retry();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The rows, or `None` if the read must wait for memory.
    async fn joined_once(
        &self,
        request: &v5api::ArrowMultiValuesParams,
        expected: &Expectation,
        reservation: &mut Reservation,
    ) -> Result<Option<Rows>, Error> {
        let send = |mut rpc: ArrowRpc, q| async move { rpc.call(q).await };
        let answers = self.streaming(METHOD, ConnectionClass::Retryable, request.clone(), send);
        let (answers, mut rows) = (answers.await?, self.empty_rows(expected)?);
        let mut answers = answers.with_gap_limit();
        loop {
            let (bytes, memory) = (rows.bytes(), rows.memory());
            if answers.next_into(&mut rows).await?.is_none() {
                return Ok(Some(rows));
            }
            let counters = self.counters();
            counters.table_bytes.add(rows.bytes().saturating_sub(bytes));
            if !reservation.add(rows.memory().saturating_sub(memory))? {
                return Ok(None);
            }
        }
    }
}
