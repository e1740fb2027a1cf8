//! Points of many streams in one table, joined on time by the server.

use pingthings_proto::v5api;
use pingthings_types::TimeRange;
use uuid::Uuid;

use crate::{
    answer::{
        arrow_body::ArrowRpc,
        budget::Share,
        expected::{Expected, Times},
        rows::Rows,
        table::{AnswerSchema, Table},
    },
    error::{Error, ErrorKind},
    method::{Lane, Method},
    session::{call::uuid_bytes, client::Client},
};

const METHOD: Method = Method::ArrowMultiValues;

impl Client {
    /// The points of streams, each at a version (0 = latest), in a range: a row for each time, a
    /// column for each stream, NaN where it has no point.
    ///
    /// With a period, points move to the nearest of the instants so many nanoseconds apart, which
    /// are counted from the start of the range.
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
        let wanted = AnswerSchema::joined(streams.iter().map(|(uuid, _)| *uuid));
        // Points move by less than a period.
        let period = period.unwrap_or(0);
        let times = Times::of_rows(
            range.start().saturating_sub(period),
            range.end().saturating_add(period),
        );
        let expected = wanted.expected(times);
        let call = self.begin(METHOD.kind());
        let table = self.joined(&request, &wanted, &expected).await;
        call.end(&table);
        table
    }

    /// Answers belong to no version that could be asked for again, so what fails is repeated as a
    /// whole.
    async fn joined(
        &self,
        request: &v5api::ArrowMultiValuesParams,
        wanted: &AnswerSchema,
        expected: &Expected,
    ) -> Result<Table, Error> {
        let mut share = self.state.session()?.budget.join();
        let mut backoff = self.backoff();
        self.turn(METHOD, &mut share).await?;
        loop {
            match self.joined_once(request, expected, &mut share).await {
                Ok(Some(mut rows)) => {
                    share.finish();
                    let batches = rows
                        .take()
                        .map_err(|error| Error::decode(METHOD.answer(), error))?;
                    let mut table = wanted.table(METHOD.answer(), batches)?;
                    table.share = Some(share.into());
                    return Ok(table);
                }
                Ok(None) => {
                    share.clear();
                    self.counters().paused_reads.add(1);
                    self.turn(METHOD, &mut share).await?;
                }
                Err(error) if error.is_transient() => {
                    share.clear();
                    backoff.wait(METHOD, error).await?;
                    self.count_retry();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The rows, unless the read is to wait for others first.
    async fn joined_once(
        &self,
        request: &v5api::ArrowMultiValuesParams,
        expected: &Expected,
        share: &mut Share,
    ) -> Result<Option<Rows>, Error> {
        let ask = |mut rpc: ArrowRpc, q| async move { rpc.call(q).await };
        let answers = self.streaming(METHOD, Lane::Repeatable, request.clone(), ask);
        let (answers, mut rows) = (answers.await?, self.no_rows(expected)?);
        let mut answers = answers.with_short_gaps();
        loop {
            let (bytes, memory) = (rows.bytes(), rows.memory());
            if answers.next_into(&mut rows).await?.is_none() {
                return Ok(Some(rows));
            }
            let counters = self.counters();
            counters.table_bytes.add(rows.bytes().saturating_sub(bytes));
            if !share.add(rows.memory().saturating_sub(memory))? {
                return Ok(None);
            }
        }
    }
}
