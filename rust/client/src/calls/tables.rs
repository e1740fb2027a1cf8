//! Answers that are tables, as they arrive, resumed where they were cut.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use pingthings_types::Version;
use uuid::Uuid;

use crate::{
    answer::{
        budget::Share,
        expected::Times,
        rows::Rows,
        table::{AnswerSchema, Table},
    },
    calls::open::{OpenAnswer, Read},
    error::Error,
    method::{Lane, Method},
    session::{client::Client, retry::Backoff},
    stats::{Counted, Counter, Counters},
};

/// A question about a stream whose answer is a table. The file that asks it owns how the answer is
/// opened, and what is left to ask once some of it has arrived.
pub(crate) trait Question: fmt::Debug + Send + Sync {
    /// What it is called, also where another method answers in Arrow.
    fn method(&self) -> Method;

    /// Which times its rows may have.
    fn times(&self) -> Times;

    /// What counts its rows.
    fn counter<'a>(&self, counters: &'a Counters) -> &'a Counter;

    /// What is left to ask after a row of this time; `None` if nothing is.
    fn after(&self, time: i64) -> Option<Rest>;

    /// Asks; the first message of the answer has arrived when this is done.
    fn open<'a>(&'a self, read: Read<'a>) -> BoxFuture<'a, Result<OpenAnswer, Error>>;
}

/// What is left of a question.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) question: Box<dyn Question>,
    /// Whether rows of the last time come once more, which are left out then.
    pub(crate) repeats_last_time: bool,
}

/// Where an answer has got to.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    version: Version,
    /// The time of the last row, and how many of the last rows have it.
    last: Option<(i64, usize)>,
    /// How many rows there were.
    rows: u64,
}

impl Position {
    /// So many rows more have arrived, of which the last have this time.
    fn advance(&mut self, rows: usize, last: Option<(i64, usize)>) {
        self.rows += rows as u64;
        let Some((time, count)) = last.filter(|_| rows > 0) else {
            return;
        };
        // All of them may have the time of rows that came in messages before.
        let before = match self.last {
            Some((before, count_before)) if before == time && count == rows => count_before,
            _ => 0,
        };
        self.last = Some((time, before + count));
    }
}

/// The rows of an answer, a table for each message of the server.
///
/// Nothing is asked of the server before it is wanted, so that little is in memory at once. An
/// answer that is cut goes on where it was cut, at the same version. Dropping it ends the call and
/// frees what the server holds for it.
pub struct Tables {
    client: Client,
    uuid: Uuid,
    question: Box<dyn Question>,
    wanted: AnswerSchema,
    /// The version that was asked for.
    asked: u64,
    opened: OpenAnswer,
    /// What arrived and was not handed out.
    rows: Rows,
    lane: Lane,
    /// What it holds of the memory that all reads may take; none for an iterator, of which little is
    /// here.
    share: Option<Share>,
    position: Position,
    /// The most rows that there ever were.
    furthest: u64,
    backoff: Backoff,
    /// For an iterator, until it has ended.
    call: Option<Counted>,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables")
            .field("uuid", &self.uuid)
            .field("question", &self.question)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Asks, and receives everything.
    pub(crate) async fn table(
        &self,
        question: impl Question + 'static,
        uuid: Uuid,
        version: u64,
        wanted: &AnswerSchema,
    ) -> Result<Table, Error> {
        let call = self.begin(question.method().kind());
        let table = async {
            let mut share = self.state.session()?.budget.join();
            self.turn(question.method(), &mut share).await?;
            let tables = self.tables(question, uuid, version, wanted, Lane::Repeatable);
            let mut tables = tables.await?;
            tables.share = Some(share);
            tables.collect().await
        };
        let table = table.await;
        call.end(&table);
        table
    }

    /// Asks for an answer that is read whenever somebody wants more of it.
    pub(crate) async fn iterated_tables(
        &self,
        question: impl Question + 'static,
        uuid: Uuid,
        version: u64,
        wanted: &AnswerSchema,
    ) -> Result<Tables, Error> {
        let call = self.begin(question.method().kind());
        let lane = Lane::Iterator;
        let mut opened = self.tables(question, uuid, version, wanted, lane).await;
        match &mut opened {
            Ok(tables) => tables.call = Some(call),
            Err(_) => call.end(&opened),
        }
        opened
    }

    /// Asks; the first message of the answer has arrived when this returns.
    pub(crate) async fn tables(
        &self,
        question: impl Question + 'static,
        uuid: Uuid,
        version: u64,
        wanted: &AnswerSchema,
        lane: Lane,
    ) -> Result<Tables, Error> {
        let method = question.method();
        let read = Read {
            client: self,
            uuid,
            version,
            schema: wanted,
            lane,
        };
        let opened = self
            .repeated(method.repeat(), method, || question.open(read))
            .await
            .map_err(|error| error.on_stream(uuid))?;
        Ok(Tables {
            client: self.clone(),
            uuid,
            rows: self.no_rows(&wanted.expected(question.times()))?,
            question: Box::new(question),
            wanted: wanted.clone(),
            asked: version,
            opened,
            lane,
            share: None,
            position: Position::default(),
            furthest: 0,
            backoff: self.backoff(),
            call: None,
        })
    }
}

impl Tables {
    /// The next rows, at least one; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Table>, Error> {
        self.client = self.client.for_call();
        loop {
            match self.step(false).await {
                Ok(true) => {
                    let table = self.table()?;
                    // All of them may have been empty windows.
                    if table.num_rows() > 0 {
                        return Ok(Some(table));
                    }
                }
                end => {
                    if let Some(call) = self.call.take() {
                        call.end(&end);
                    }
                    // Nothing follows an error, either.
                    self.opened = OpenAnswer::none();
                    return end.map(|_| None);
                }
            }
        }
    }

    /// All rows.
    async fn collect(mut self) -> Result<Table, Error> {
        while self.step(true).await? {}
        let mut table = self.table()?;
        table.share = self.share.take().map(|mut share| {
            share.finish();
            Arc::new(share)
        });
        Ok(table)
    }

    /// The rows so far, which are no longer here then.
    fn table(&mut self) -> Result<Table, Error> {
        let what = self.question.method().answer();
        let batches = self.rows.take();
        let batches = batches.map_err(|error| Error::decode(what, error));
        let table = batches.and_then(|batches| self.wanted.table(what, batches));
        let mut table = table.map_err(|error| error.on_stream(self.uuid))?;
        table.version = self.position.version;
        Ok(table)
    }

    /// Adds the rows of a message, or mends the connection; false at the end. `is_all` if no rows
    /// were handed out so far, so that they may be read anew.
    async fn step(&mut self, is_all: bool) -> Result<bool, Error> {
        let (rows, size) = (self.rows.len(), self.rows.bytes());
        let memory = self.rows.memory();
        let done = match self
            .opened
            .next_into(
                &mut self.rows,
                self.question.method(),
                self.client.counters(),
            )
            .await
        {
            Ok(None) => return Ok(false),
            Ok(Some(version)) => {
                self.note(version, self.rows.len() - rows, self.rows.bytes() - size);
                let more = self.rows.memory().saturating_sub(memory);
                match self.share.as_mut().map(|share| share.add(more)) {
                    None | Some(Ok(true)) => Ok(true),
                    Some(Ok(false)) => self.pause().await,
                    Some(Err(error)) => Err(error),
                }
            }
            Err(error) => {
                self.rows.drop_incomplete();
                self.resume(error, is_all).await
            }
        };
        done.map_err(|error| error.on_stream(self.uuid))
    }

    /// Keeps in mind how far the answer has got: so many rows more.
    fn note(&mut self, version: Version, rows: usize, bytes: u64) {
        let counters = self.client.counters();
        self.question.counter(counters).add(rows as u64);
        counters.table_bytes.add(bytes);
        self.position.version = version;
        self.position.advance(rows, self.rows.last_time(rows));
        // What came before is no progress: a server that always fails in the same place would be
        // asked for ever.
        if self.position.rows > self.furthest {
            self.furthest = self.position.rows;
            self.backoff.reset();
        }
    }

    /// Asks again after a failure for what has not arrived.
    async fn resume(&mut self, mut failure: Error, is_all: bool) -> Result<bool, Error> {
        loop {
            if !failure.is_transient()
                || (self.position.last.is_some() && !is_all && !self.is_fixed())
            {
                return Err(failure);
            }
            self.backoff.wait(self.question.method(), failure).await?;
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

    /// Lets others go on whose turn it is, and asks for the rest after them.
    async fn pause(&mut self) -> Result<bool, Error> {
        let Some(share) = &mut self.share else {
            return Ok(true);
        };
        self.opened = OpenAnswer::none();
        self.client.counters().paused_reads.add(1);
        self.client.turn(self.question.method(), share).await?;
        match self.reopen().await {
            Ok(()) => Ok(true),
            Err(error) => self.resume(error, true).await,
        }
    }

    /// Whether what was answered can be asked for again: buffered points belong to no version.
    const fn is_fixed(&self) -> bool {
        self.asked > 0 || self.position.version.minor == 0
    }

    /// Asks for what has not arrived; for everything if that cannot be told.
    async fn reopen(&mut self) -> Result<(), Error> {
        let (rest, version, skip) = match self.position.last {
            Some((time, count)) if self.is_fixed() => {
                let Some(rest) = self.question.after(time) else {
                    self.opened = OpenAnswer::none();
                    return Ok(());
                };
                let skip = if rest.repeats_last_time { count } else { 0 };
                (Some(rest.question), self.position.version.major, skip)
            }
            _ => {
                self.rows.clear();
                self.position = Position::default();
                if let Some(share) = &mut self.share {
                    share.clear();
                }
                (None, self.asked, 0)
            }
        };
        self.rows.skip(skip);
        let read = Read {
            client: &self.client,
            uuid: self.uuid,
            version,
            schema: &self.wanted,
            lane: self.lane,
        };
        let question = rest.as_deref().unwrap_or(&*self.question);
        self.opened = question.open(read).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_time_are_counted_through_messages() {
        let mut position = Position::default();
        position.advance(0, None);
        assert_eq!(position.last, None);
        position.advance(5, Some((10, 2)));
        assert_eq!(position.last, Some((10, 2)));
        // A message of nothing else, twice; then one without rows.
        position.advance(3, Some((10, 3)));
        position.advance(1, Some((10, 1)));
        position.advance(0, Some((10, 1)));
        assert_eq!(position.last, Some((10, 6)));
        // Rows of another time come before: only those after it count.
        position.advance(4, Some((11, 3)));
        assert_eq!(position.last, Some((11, 3)));
        position.advance(2, Some((12, 2)));
        assert_eq!(position.last, Some((12, 2)));
        assert_eq!(position.rows, 15);
    }
}
