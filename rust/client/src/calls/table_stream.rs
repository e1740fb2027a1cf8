//! Answers that are tables: received message by message, and resumed after a failure.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use pingthings_types::Version;
use uuid::Uuid;

use crate::{
    answer::{
        budget::Reservation,
        expectation::TimeBounds,
        rows::Rows,
        table::{AnswerSchema, Table},
    },
    calls::answer_messages::{AnswerMessages, ReadParams},
    error::Error,
    method::{ConnectionClass, Method},
    session::{client::Client, retry::Backoff},
    stats::{CallGuard, Counter, Counters},
};

/// A read of one stream whose answer is a table. The file that makes the request also defines how
/// its answer is decoded and what is left to request after some rows have arrived.
pub(crate) trait TableRequest: fmt::Debug + Send + Sync {
    /// The method, as statistics and errors name it, also if another method returns the answer in
    /// Arrow.
    fn method(&self) -> Method;

    /// The times that its rows may have.
    fn time_bounds(&self) -> TimeBounds;

    /// The counter of its rows.
    fn counter<'a>(&self, counters: &'a Counters) -> &'a Counter;

    /// The request for everything after a row of this time; `None` if nothing is left.
    fn after(&self, time: i64) -> Option<Remainder>;

    /// Sends the request and waits for the first message of the answer.
    fn open<'a>(&'a self, read: ReadParams<'a>) -> BoxFuture<'a, Result<AnswerMessages, Error>>;
}

/// The part of a request that has not been answered.
#[derive(Debug)]
pub(crate) struct Remainder {
    pub(crate) request: Box<dyn TableRequest>,
    /// Whether the rows with the time of the last row will arrive again and must be skipped.
    pub(crate) repeats_last_time: bool,
}

/// How far an answer has been received.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    version: Version,
    /// The time of the last row, and the number of rows with this time.
    last: Option<(i64, usize)>,
    /// The number of rows.
    rows: u64,
}

impl Position {
    /// Counts new rows. `last` is the time of the last row and the number of new rows with it.
    fn advance(&mut self, rows: usize, last: Option<(i64, usize)>) {
        self.rows += rows as u64;
        let Some((time, count)) = last.filter(|_| rows > 0) else {
            return;
        };
        // If all new rows have the same time, rows of earlier messages may have it too.
        let before = match self.last {
            Some((before, count_before)) if before == time && count == rows => count_before,
            _ => 0,
        };
        self.last = Some((time, before + count));
    }
}

/// The rows of an answer, as a table for each message of the server.
///
/// A message is received only when the caller requests it, so that memory use stays low. After a
/// lost connection the read is resumed at the same version after the last received row. Dropping it
/// cancels the call and frees the server's resources for it.
pub struct TableStream {
    client: Client,
    uuid: Uuid,
    request: Box<dyn TableRequest>,
    schema: AnswerSchema,
    /// The version that the caller requested.
    requested_version: u64,
    messages: AnswerMessages,
    /// Rows that have arrived but were not returned yet.
    rows: Rows,
    class: ConnectionClass,
    /// Its part of the memory limit. `None` for an iterator, which holds little memory.
    reservation: Option<Reservation>,
    position: Position,
    /// The maximum of `position.rows` so far, including attempts that started again.
    max_rows: u64,
    backoff: Backoff,
    /// Counts the call of an iterator; `None` after its end.
    call: Option<CallGuard>,
}

impl fmt::Debug for TableStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableStream")
            .field("uuid", &self.uuid)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Sends the request and receives the whole answer.
    pub(crate) async fn table(
        &self,
        request: impl TableRequest + 'static,
        uuid: Uuid,
        version: u64,
        schema: &AnswerSchema,
    ) -> Result<Table, Error> {
        let call = self.count_call(request.method().kind());
        // The future is large, and its callers move it several times: boxed, it is moved once.
        let table = Box::pin(async {
            let mut reservation = self.state.session()?.budget.begin_read();
            self.wait_for_turn(request.method(), &mut reservation)
                .await?;
            let tables =
                self.open_stream(request, uuid, version, schema, ConnectionClass::Retryable);
            let mut tables = tables.await?;
            tables.reservation = Some(reservation);
            tables.collect().await
        });
        let table = table.await;
        call.end(&table);
        table
    }

    /// Sends a request whose answer an iterator reads.
    pub(crate) async fn table_stream(
        &self,
        request: impl TableRequest + 'static,
        uuid: Uuid,
        version: u64,
        schema: &AnswerSchema,
    ) -> Result<TableStream, Error> {
        let call = self.count_call(request.method().kind());
        let class = ConnectionClass::Iterator;
        let mut stream = self
            .open_stream(request, uuid, version, schema, class)
            .await;
        match &mut stream {
            Ok(tables) => tables.call = Some(call),
            Err(_) => call.end(&stream),
        }
        stream
    }

    /// Sends the request and waits for the first message of the answer.
    pub(crate) async fn open_stream(
        &self,
        request: impl TableRequest + 'static,
        uuid: Uuid,
        version: u64,
        schema: &AnswerSchema,
        class: ConnectionClass,
    ) -> Result<TableStream, Error> {
        let method = request.method();
        let read = ReadParams {
            client: self,
            uuid,
            version,
            schema,
            class,
        };
        let messages = self
            .retry(method.retry_policy(), method, || request.open(read))
            .await
            .map_err(|error| error.on_stream(uuid))?;
        Ok(TableStream {
            client: self.clone(),
            uuid,
            rows: self.empty_rows(&schema.expected(request.time_bounds()))?,
            request: Box::new(request),
            schema: schema.clone(),
            requested_version: version,
            messages,
            class,
            reservation: None,
            position: Position::default(),
            max_rows: 0,
            backoff: self.backoff(),
            call: None,
        })
    }
}

impl TableStream {
    /// The next rows, at least one; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Table>, Error> {
        self.client = self.client.for_call();
        loop {
            match self.step(false).await {
                Ok(true) => {
                    let table = self.table()?;
                    // All windows of a message may be empty, and empty windows are left out.
                    if table.num_rows() > 0 {
                        return Ok(Some(table));
                    }
                }
                end => {
                    if let Some(call) = self.call.take() {
                        call.end(&end);
                    }
                    // Nothing is returned after an error either.
                    self.messages = AnswerMessages::exhausted();
                    return end.map(|_| None);
                }
            }
        }
    }

    /// Receives all rows.
    async fn collect(mut self) -> Result<Table, Error> {
        while self.step(true).await? {}
        let mut table = self.table()?;
        table.reservation = self.reservation.take().map(|mut reservation| {
            reservation.finish();
            Arc::new(reservation)
        });
        Ok(table)
    }

    /// Takes the rows received so far.
    fn table(&mut self) -> Result<Table, Error> {
        let answer_name = self.request.method().answer_name();
        let batches = self.rows.take();
        let batches = batches.map_err(|error| Error::decode(answer_name, error));
        let table = batches.and_then(|batches| self.schema.table(answer_name, batches));
        let mut table = table.map_err(|error| error.on_stream(self.uuid))?;
        table.version = self.position.version;
        Ok(table)
    }

    /// Adds the rows of the next message, or resumes the read after a failure. Returns false at the
    /// end. `is_all` says that no rows were returned to the caller yet, so that the read may start
    /// again.
    async fn step(&mut self, is_all: bool) -> Result<bool, Error> {
        let (rows, size) = (self.rows.len(), self.rows.bytes());
        let memory = self.rows.memory();
        let done = match self
            .messages
            .next_into(
                &mut self.rows,
                self.request.method(),
                self.client.counters(),
            )
            .await
        {
            Ok(None) => return Ok(false),
            Ok(Some(version)) => {
                self.record_progress(version, self.rows.len() - rows, self.rows.bytes() - size);
                let more = self.rows.memory().saturating_sub(memory);
                match self
                    .reservation
                    .as_mut()
                    .map(|reservation| reservation.add(more))
                {
                    None | Some(Ok(true)) => Ok(true),
                    Some(Ok(false)) => Box::pin(self.pause()).await,
                    Some(Err(error)) => Err(error),
                }
            }
            Err(error) => {
                self.rows.drop_incomplete();
                Box::pin(self.resume(error, is_all)).await
            }
        };
        done.map_err(|error| error.on_stream(self.uuid))
    }

    /// Records the progress of the answer.
    fn record_progress(&mut self, version: Version, rows: usize, bytes: u64) {
        let counters = self.client.counters();
        self.request.counter(counters).add(rows as u64);
        counters.table_bytes.add(bytes);
        self.position.version = version;
        self.position.advance(rows, self.rows.last_time(rows));
        // Rows that are received again are not progress. Otherwise a server that always fails at
        // the same row would be asked for ever.
        if self.position.rows > self.max_rows {
            self.max_rows = self.position.rows;
            self.backoff.reset();
        }
    }

    /// Requests the rows that have not arrived, after a failure.
    async fn resume(&mut self, mut failure: Error, is_all: bool) -> Result<bool, Error> {
        loop {
            if !failure.is_transient()
                || (self.position.last.is_some() && !is_all && !self.is_repeatable())
            {
                return Err(failure);
            }
            self.backoff.wait(self.request.method(), failure).await?;
            self.client.count_retry();
            match self.reopen().await {
                Ok(()) => {
                    self.client.counters().resumed_reads.add(1);
                    return Ok(true);
                }
                Err(error) => failure = error,
            }
        }
    }

    /// Pauses the read until there is memory for it, then requests the remaining rows.
    async fn pause(&mut self) -> Result<bool, Error> {
        let Some(reservation) = &mut self.reservation else {
            return Ok(true);
        };
        self.messages = AnswerMessages::exhausted();
        self.client.counters().paused_reads.add(1);
        self.client
            .wait_for_turn(self.request.method(), reservation)
            .await?;
        match self.reopen().await {
            Ok(()) => Ok(true),
            Err(error) => self.resume(error, true).await,
        }
    }

    /// Whether the rows received so far can be requested again. Buffered points belong to no
    /// version.
    const fn is_repeatable(&self) -> bool {
        self.requested_version > 0 || self.position.version.minor == 0
    }

    /// Requests the rows that have not arrived, or all rows if the received ones cannot be
    /// requested again.
    async fn reopen(&mut self) -> Result<(), Error> {
        let (rest, version, skip) = match self.position.last {
            Some((time, count)) if self.is_repeatable() => {
                let Some(rest) = self.request.after(time) else {
                    self.messages = AnswerMessages::exhausted();
                    return Ok(());
                };
                let skip = if rest.repeats_last_time { count } else { 0 };
                (Some(rest.request), self.position.version.major, skip)
            }
            _ => {
                self.rows.clear();
                self.position = Position::default();
                if let Some(reservation) = &mut self.reservation {
                    reservation.clear();
                }
                (None, self.requested_version, 0)
            }
        };
        self.rows.skip(skip);
        let read = ReadParams {
            client: &self.client,
            uuid: self.uuid,
            version,
            schema: &self.schema,
            class: self.class,
        };
        let request = rest.as_deref().unwrap_or(&*self.request);
        self.messages = request.open(read).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_one_time_are_counted_across_messages() {
        let mut position = Position::default();
        position.advance(0, None);
        assert_eq!(position.last, None);
        position.advance(5, Some((10, 2)));
        assert_eq!(position.last, Some((10, 2)));
        // Two messages that contain only this time, then one without rows.
        position.advance(3, Some((10, 3)));
        position.advance(1, Some((10, 1)));
        position.advance(0, Some((10, 1)));
        assert_eq!(position.last, Some((10, 6)));
        // Rows with an earlier time precede them, so only these count.
        position.advance(4, Some((11, 3)));
        assert_eq!(position.last, Some((11, 3)));
        position.advance(2, Some((12, 2)));
        assert_eq!(position.last, Some((12, 2)));
        assert_eq!(position.rows, 15);
    }
}
