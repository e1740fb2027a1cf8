//! Answers that are tables, as they arrive, resumed where they were cut.

use std::{fmt, sync::Arc, time::Instant};

use arrow_schema::ArrowError;
use futures_util::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use pingthings_types::{PointWidth, TimeRange, Version};
use tonic::Streaming;
use uuid::Uuid;

use crate::{
    answer::{
        arrow_body::ArrowBody,
        budget::Share,
        expected::{Expected, Times},
        rows::Rows,
        rpc::Answer,
        table::{AnswerSchema, Table},
    },
    error::Error,
    method::{Lane, Method, Repeat},
    session::{call::Answers, client::Client, retry::Backoff},
    stats::{Counted, Counters, Kind},
};

/// A message of a server without Arrow.
pub(crate) trait PointsAnswer: Answer + Send + 'static {
    /// Adds its rows; the version they belong to.
    fn add_to(self, rows: &mut Rows) -> Result<Version, ArrowError>;
}

/// What is asked of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    Raw(TimeRange),
    Aligned(TimeRange, PointWidth),
    Precise(TimeRange, u64),
}

impl Question {
    const fn kind(self) -> Kind {
        match self {
            Self::Raw(_) => Kind::RawValues,
            Self::Aligned(..) => Kind::AlignedWindows,
            Self::Precise(..) => Kind::PreciseWindows,
        }
    }

    /// When its rows are.
    pub(crate) fn times(self) -> Times {
        match self {
            Self::Raw(range) => Times::of_points(range),
            Self::Aligned(range, width) => {
                // The first window may begin before the range does.
                Times::of_rows(width.floor(range.start()), range.end())
            }
            Self::Precise(range, _) => Times::of_rows(range.start(), range.end()),
        }
    }

    const fn method(self) -> Method {
        match self {
            Self::Raw(_) => Method::RawValues,
            Self::Aligned(..) => Method::AlignedWindows,
            Self::Precise(..) => Method::Windows,
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Raw(_) => "raw values",
            Self::Aligned(..) | Self::Precise(..) => "windows",
        }
    }

    /// What is left to ask after a row of this time; `None` if nothing is.
    fn after(self, time: i64) -> Option<Self> {
        match self {
            // Other points may have the same time: those that were answered are left out later.
            Self::Raw(range) => TimeRange::new(time, range.end()).ok().map(Self::Raw),
            Self::Aligned(range, width) => {
                // The first window of all begins with time itself, maybe within its multiple.
                let start = width.floor(time);
                let next = start.saturating_add_unsigned(width.nanoseconds());
                let rest = TimeRange::new(next, range.end()).ok()?;
                Some(Self::Aligned(rest, width))
            }
            Self::Precise(range, width) => {
                let next = time.saturating_add_unsigned(width);
                let rest = TimeRange::new(next, range.end()).ok()?;
                Some(Self::Precise(rest, width))
            }
        }
    }
}

/// The messages of an answer, of which the first has arrived.
pub(crate) struct OpenAnswer {
    messages: Messages,
    /// The first message.
    first: Option<(Version, Rows)>,
}

enum Messages {
    None,
    Arrow(Box<Answers<ArrowBody>>),
    Points(BoxStream<'static, Result<ReadPoints, Error>>),
}

/// What adds the rows of a message.
type ReadPoints = Box<dyn FnOnce(&mut Rows) -> Result<Version, Error> + Send>;

impl Messages {
    fn of_points<A: PointsAnswer>(answers: Answers<Streaming<A>>, what: &'static str) -> Self {
        let messages = stream::unfold(answers, move |mut answers| async move {
            let message = answers.next().await.transpose()?;
            let read = message.map(|message| -> ReadPoints {
                Box::new(move |rows| {
                    let added = message.add_to(rows);
                    added.map_err(|error| Error::decode(what, error))
                })
            });
            Some((read, answers))
        });
        // Whoever asks after the end, as of an answer without messages, is told again.
        Self::Points(messages.fuse().boxed())
    }

    /// Adds the rows of the next message; the version they belong to.
    async fn next_into(
        &mut self,
        rows: &mut Rows,
        counters: &Counters,
    ) -> Result<Option<Version>, Error> {
        match self {
            Self::None => Ok(None),
            Self::Arrow(answers) => answers.next_into(rows).await,
            Self::Points(messages) => {
                let Some(read) = messages.next().await.transpose()? else {
                    return Ok(None);
                };
                let begun = Instant::now();
                let version = read(rows)?;
                counters.decode_ns.add_since(begun);
                Ok(Some(version))
            }
        }
    }
}

impl OpenAnswer {
    /// An answer without rows.
    pub(crate) const fn empty(version: Version, rows: Rows) -> Self {
        Self {
            messages: Messages::None,
            first: Some((version, rows)),
        }
    }

    /// An answer that nobody reads any more.
    const fn none() -> Self {
        Self {
            messages: Messages::None,
            first: None,
        }
    }

    /// What the server answers. A server that does not know the call says so here.
    async fn of(
        mut messages: Messages,
        mut rows: Rows,
        counters: &Counters,
    ) -> Result<Self, Error> {
        let version = messages.next_into(&mut rows, counters).await?;
        Ok(Self {
            messages,
            first: version.map(|version| (version, rows)),
        })
    }
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
    question: Question,
    wanted: AnswerSchema,
    /// The version that was asked for.
    asked: u64,
    opened: OpenAnswer,
    /// What arrived and was not handed out.
    rows: Rows,
    lane: Lane,
    /// What it holds of the memory that all reads may take; none at leisure, where little is here.
    share: Option<Share>,
    position: Position,
    /// The most rows that there ever were.
    furthest: u64,
    backoff: Backoff,
    /// At leisure, until it has ended.
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
        question: Question,
        uuid: Uuid,
        version: u64,
        wanted: &AnswerSchema,
    ) -> Result<Table, Error> {
        let call = self.begin(question.kind());
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
    pub(crate) async fn tables_at_leisure(
        &self,
        question: Question,
        uuid: Uuid,
        version: u64,
        wanted: &AnswerSchema,
    ) -> Result<Tables, Error> {
        let call = self.begin(question.kind());
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
        question: Question,
        uuid: Uuid,
        version: u64,
        wanted: &AnswerSchema,
        lane: Lane,
    ) -> Result<Tables, Error> {
        let open = || self.open(question, uuid, version, wanted, lane);
        let opened = self
            .repeated(Repeat::Always, question.method(), open)
            .await
            .map_err(|error| error.on_stream(uuid))?;
        Ok(Tables {
            client: self.clone(),
            uuid,
            question,
            wanted: wanted.clone(),
            asked: version,
            opened,
            rows: self.no_rows(&wanted.expected(question.times()))?,
            lane,
            share: None,
            position: Position::default(),
            furthest: 0,
            backoff: self.backoff(),
            call: None,
        })
    }

    async fn open(
        &self,
        question: Question,
        uuid: Uuid,
        version: u64,
        wanted: &AnswerSchema,
        lane: Lane,
    ) -> Result<OpenAnswer, Error> {
        match question {
            Question::Raw(range) => {
                self.open_raw_values(uuid, range, version, wanted, lane)
                    .await
            }
            Question::Aligned(range, width) => {
                self.open_aligned_windows(uuid, range, width, version, wanted, lane)
                    .await
            }
            Question::Precise(range, width) => {
                self.open_precise_windows(uuid, range, width, version, wanted, lane)
                    .await
            }
        }
    }

    /// The answer in Arrow where the server has it, else in points.
    ///
    /// Calls are large as futures, so they are made where they are needed, and moved only once.
    pub(crate) async fn open_either<'a, A: PointsAnswer>(
        &'a self,
        what: &'static str,
        expected: &Expected,
        arrow: impl FnOnce() -> BoxFuture<'a, Result<Answers<ArrowBody>, Error>> + Send,
        points: impl FnOnce() -> BoxFuture<'a, Result<Answers<Streaming<A>>, Error>> + Send,
    ) -> Result<OpenAnswer, Error> {
        if self.server.has_arrow() {
            let opened = async {
                let answers = Box::new(arrow().await?.with_short_gaps());
                let rows = self.no_rows(expected)?;
                OpenAnswer::of(Messages::Arrow(answers), rows, self.counters()).await
            };
            match opened.await {
                Err(error) if error.is_unimplemented() => self.server.forgo_arrow(),
                done => return done,
            }
        }
        let messages = Messages::of_points(points().await?.with_short_gaps(), what);
        OpenAnswer::of(messages, self.no_rows(expected)?, self.counters()).await
    }

    /// Where the rows of an answer go.
    pub(crate) fn no_rows(&self, expected: &Expected) -> Result<Rows, Error> {
        let session = self.state.session()?;
        let spares = Arc::clone(&session.budget.spares);
        Ok(Rows::new(expected.clone(), spares))
    }

    /// Waits until a read may go on, or the client is closed.
    pub(crate) async fn turn(&self, method: Method, share: &mut Share) -> Result<(), Error> {
        let session = self.state.session()?;
        let turn = async {
            tokio::select! {
                () = session.alarm.closed() => Err(Error::closed()),
                () = share.turn() => Ok(()),
            }
        };
        self.in_time(method, turn).await.map_err(Error::unsent)?
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
        let what = self.question.what();
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
        let done = match self.receive().await {
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

    /// The version of the next message, whose rows are here then.
    async fn receive(&mut self) -> Result<Option<Version>, Error> {
        let Some((version, first)) = self.opened.first.take() else {
            let messages = &mut self.opened.messages;
            return messages
                .next_into(&mut self.rows, self.client.counters())
                .await;
        };
        let added = self.rows.append(first);
        added.map_err(|error| Error::decode(self.question.what(), error))?;
        Ok(Some(version))
    }

    /// Keeps in mind how far the answer has got: so many rows more.
    fn note(&mut self, version: Version, rows: usize, bytes: u64) {
        let counters = self.client.counters();
        let counter = match self.question {
            Question::Raw(_) => &counters.points_read,
            Question::Aligned(..) | Question::Precise(..) => &counters.windows_read,
        };
        counter.add(rows as u64);
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
        let (question, version, skip) = match self.position.last {
            Some((time, count)) if self.is_fixed() => {
                let Some(rest) = self.question.after(time) else {
                    self.opened = OpenAnswer::none();
                    return Ok(());
                };
                let skip = match rest {
                    Question::Raw(_) => count,
                    _ => 0,
                };
                (rest, self.position.version.major, skip)
            }
            _ => {
                self.rows.clear();
                self.position = Position::default();
                if let Some(share) = &mut self.share {
                    share.clear();
                }
                (self.question, self.asked, 0)
            }
        };
        self.rows.skip(skip);
        self.opened = self
            .client
            .open(question, self.uuid, version, &self.wanted, self.lane)
            .await?;
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

    #[test]
    fn the_rest_begins_where_the_rows_end() {
        let range = TimeRange::new(-10, 100).unwrap();
        let width = PointWidth::new(3).unwrap();
        let rest = |question: Question, time| match question.after(time)? {
            Question::Raw(rest) | Question::Aligned(rest, _) | Question::Precise(rest, _) => {
                Some((rest.start(), rest.end()))
            }
        };
        assert_eq!(rest(Question::Raw(range), 7), Some((7, 100)));
        assert_eq!(rest(Question::Raw(range), 99), Some((99, 100)));
        assert_eq!(rest(Question::Aligned(range, width), 8), Some((16, 100)));
        assert_eq!(rest(Question::Aligned(range, width), 96), None);
        assert_eq!(rest(Question::Precise(range, 11), 1), Some((12, 100)));
        assert_eq!(rest(Question::Precise(range, 11), 88), Some((99, 100)));
        assert_eq!(rest(Question::Precise(range, 11), 89), None);
        let times = Question::Aligned(range, width).times();
        assert!(times.check(-16, 99).is_ok() && times.check(-17, 0).is_err());
        assert!(times.check(0, 100).is_err());
    }
}
