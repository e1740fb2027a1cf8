//! Answers that are tables, as they arrive, resumed where they were cut.

use std::{fmt, sync::Arc, time::Instant};

use arrow_array::{
    PrimitiveArray, RecordBatch,
    cast::AsArray,
    types::{Int64Type, TimestampNanosecondType},
};
use futures_util::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use pingthings_types::{PointWidth, TimeRange, Version};
use uuid::Uuid;

use crate::{
    Client,
    arrow::{Table, Wanted},
    budget::Share,
    call::{Answer, Answers},
    channels::Lane,
    error::Error,
    retry::{Backoff, Repeat},
    stats::{Counted, Counters, Kind},
};

/// An answer that carries rows, in Arrow or as points.
pub(crate) trait TableAnswer: Answer + Send + 'static {
    fn into_batches(self) -> Result<(Version, Vec<RecordBatch>), Error>;
}

type Message = Result<(Version, Vec<RecordBatch>), Error>;

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

    const fn method(self) -> &'static str {
        match self {
            Self::Raw(_) => "RawValues",
            Self::Aligned(..) => "AlignedWindows",
            Self::Precise(..) => "Windows",
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
                let next = time.saturating_add_unsigned(width.nanoseconds());
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
pub(crate) struct Opened(BoxStream<'static, Message>);

impl Opened {
    /// What the server answers. A server that does not know the call says so here.
    async fn of<A: TableAnswer>(answers: Result<Answers<A>, Error>) -> Result<Self, Error> {
        let mut answers = answers?;
        Ok(Self(match answers.next().await? {
            None => stream::empty().boxed(),
            Some(first) => {
                let first = decoded(first, answers.counters());
                let rest = stream::unfold(answers, |mut answers| async move {
                    let next = answers.next().await.transpose()?;
                    Some((
                        next.and_then(|next| decoded(next, answers.counters())),
                        answers,
                    ))
                });
                stream::iter([first]).chain(rest).boxed()
            }
        }))
    }

    /// An answer without rows.
    pub(crate) fn empty(version: Version) -> Self {
        Self(stream::iter([Ok((version, Vec::new()))]).boxed())
    }
}

/// What a message says, and the time that takes to find out.
fn decoded<A: TableAnswer>(message: A, counters: &Counters) -> Message {
    let begun = Instant::now();
    let batches = message.into_batches();
    counters.decode_ns.add_since(begun);
    batches
}

/// Where an answer has got to.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    version: Version,
    last: Option<Last>,
}

/// What is known of the last row.
#[derive(Clone, Copy, Debug)]
enum Last {
    /// Its time, and how many of the last rows have it.
    Row { time: i64, count: usize },
    /// The server has made something else of its time.
    Unknown,
}

impl Last {
    const fn with(self, before: usize) -> Self {
        match self {
            Self::Row { time, count } => Self::Row {
                time,
                count: count + before,
            },
            Self::Unknown => Self::Unknown,
        }
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
    wanted: Wanted,
    /// The version that was asked for.
    asked: u64,
    opened: Opened,
    lane: Lane,
    /// What it holds of the memory that all reads may take; none at leisure, where little is here.
    share: Option<Share>,
    position: Position,
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
        wanted: &Wanted,
    ) -> Result<Table, Error> {
        let call = self.begin(question.kind());
        let table = async {
            let mut share = self.connection.session()?.budget.join();
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
        wanted: &Wanted,
    ) -> Result<Tables, Error> {
        let call = self.begin(question.kind());
        let lane = Lane::AtLeisure;
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
        wanted: &Wanted,
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
            lane,
            share: None,
            position: Position::default(),
            backoff: self.backoff(),
            call: None,
        })
    }

    async fn open(
        &self,
        question: Question,
        uuid: Uuid,
        version: u64,
        wanted: &Wanted,
        lane: Lane,
    ) -> Result<Opened, Error> {
        match question {
            Question::Raw(range) => {
                self.open_raw_values(uuid, range, version, wanted, lane)
                    .await
            }
            Question::Aligned(range, width) => {
                self.open_aligned_windows(uuid, range, width, version, lane)
                    .await
            }
            Question::Precise(range, width) => {
                self.open_precise_windows(uuid, range, width, version, lane)
                    .await
            }
        }
    }

    /// The answer in Arrow where the server has it, else in points.
    ///
    /// Calls are large as futures, so they are made where they are needed, and moved only once.
    pub(crate) async fn open_either<'a, A: TableAnswer, P: TableAnswer>(
        &'a self,
        arrow: impl FnOnce() -> BoxFuture<'a, Result<Answers<A>, Error>> + Send,
        points: impl FnOnce() -> BoxFuture<'a, Result<Answers<P>, Error>> + Send,
    ) -> Result<Opened, Error> {
        if self.server.has_arrow() {
            match Opened::of(arrow().await).await {
                Err(error) if error.is_unimplemented() => self.server.forgo_arrow(),
                done => return done,
            }
        }
        Opened::of(points().await).await
    }

    /// Waits until a read may go on, or the client is closed.
    async fn turn(&self, method: &'static str, share: &mut Share) -> Result<(), Error> {
        let session = self.connection.session()?;
        let mut closing = session.closing.subscribe();
        let turn = async {
            tokio::select! {
                _ = closing.wait_for(|closed| *closed) => Err(Error::closed()),
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
        let mut table = self.wanted.table();
        loop {
            match self.step(&mut table, false).await {
                Ok(true) if table.num_rows() > 0 => return Ok(Some(table)),
                Ok(true) => {}
                end => {
                    if let Some(call) = self.call.take() {
                        call.end(&end);
                    }
                    return end.map(|_| None);
                }
            }
        }
    }

    /// All rows.
    async fn collect(mut self) -> Result<Table, Error> {
        let mut table = self.wanted.table();
        while self.step(&mut table, true).await? {}
        table.version = self.position.version;
        table.share = self.share.take().map(|mut share| {
            share.finish();
            Arc::new(share)
        });
        Ok(table)
    }

    /// Adds a message to `table`, or mends the connection; false at the end. `is_all` if the table
    /// holds all there was so far, so that it may be begun anew.
    async fn step(&mut self, table: &mut Table, is_all: bool) -> Result<bool, Error> {
        let done = match self.opened.0.next().await {
            None => return Ok(false),
            Some(Ok((version, batches))) => {
                self.backoff.reset();
                let bytes = batches.iter().map(bytes).sum();
                self.count(&batches, bytes);
                match self.take(version, batches, table) {
                    Ok(()) if self.share.as_mut().is_none_or(|share| share.add(bytes)) => Ok(true),
                    Ok(()) => self.pause(table).await,
                    Err(error) => Err(error),
                }
            }
            Some(Err(error)) => self.resume(error, table, is_all).await,
        };
        done.map_err(|error| error.on_stream(self.uuid))
    }

    fn count(&self, batches: &[RecordBatch], bytes: u64) {
        let counters = self.client.counters();
        let rows = match self.question {
            Question::Raw(_) => &counters.points_read,
            Question::Aligned(..) | Question::Precise(..) => &counters.windows_read,
        };
        rows.add(batches.iter().map(|batch| batch.num_rows() as u64).sum());
        counters.table_bytes.add(bytes);
    }

    fn take(
        &mut self,
        version: Version,
        batches: Vec<RecordBatch>,
        table: &mut Table,
    ) -> Result<(), Error> {
        self.position.version = version;
        table.version = version;
        for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
            let last = last_time(batch);
            let before = match (self.position.last, last) {
                (
                    Some(Last::Row {
                        time,
                        count: before,
                    }),
                    Last::Row { time: now, count },
                ) if time == now && count == batch.num_rows() => before,
                _ => 0,
            };
            self.position.last = Some(last.with(before));
        }
        table.append(&self.wanted, self.question.what(), batches)
    }

    /// Asks again after a failure for what has not arrived.
    async fn resume(
        &mut self,
        mut failure: Error,
        table: &mut Table,
        is_all: bool,
    ) -> Result<bool, Error> {
        loop {
            if !failure.is_transient()
                || (self.position.last.is_some() && !is_all && !self.is_fixed())
            {
                return Err(failure);
            }
            self.backoff.wait(self.question.method(), failure).await?;
            self.client.count_retry();
            match self.reopen(table).await {
                Ok(()) => {
                    self.client.counters().resumed_reads.add(1);
                    return Ok(true);
                }
                Err(error) => failure = error,
            }
        }
    }

    /// Lets others go on whose turn it is, and asks for the rest after them.
    async fn pause(&mut self, table: &mut Table) -> Result<bool, Error> {
        let Some(share) = &mut self.share else {
            return Ok(true);
        };
        self.opened = Opened(stream::empty().boxed());
        self.client.counters().paused_reads.add(1);
        self.client.turn(self.question.method(), share).await?;
        match self.reopen(table).await {
            Ok(()) => Ok(true),
            Err(error) => self.resume(error, table, true).await,
        }
    }

    /// Whether what was answered can be asked for again: buffered points belong to no version.
    const fn is_fixed(&self) -> bool {
        self.asked > 0 || self.position.version.minor == 0
    }

    /// Asks for what has not arrived; for everything if that cannot be told.
    async fn reopen(&mut self, table: &mut Table) -> Result<(), Error> {
        let (question, version, skip) = match self.position.last {
            Some(Last::Row { time, count }) if self.is_fixed() => {
                let Some(rest) = self.question.after(time) else {
                    self.opened = Opened::empty(self.position.version);
                    return Ok(());
                };
                let skip = match rest {
                    Question::Raw(_) => count,
                    _ => 0,
                };
                (rest, self.position.version.major, skip)
            }
            _ => {
                *table = self.wanted.table();
                self.position = Position::default();
                if let Some(share) = &mut self.share {
                    share.clear();
                }
                (self.question, self.asked, 0)
            }
        };
        let opened = self
            .client
            .open(question, self.uuid, version, &self.wanted, self.lane)
            .await?;
        self.opened = without_first(opened, skip);
        Ok(())
    }
}

/// What the rows of a batch take.
fn bytes(batch: &RecordBatch) -> u64 {
    let columns = batch.columns().iter();
    let sizes = columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0));
    sizes.map(|size| size as u64).sum()
}

/// The last row of a batch that has one.
fn last_time(batch: &RecordBatch) -> Last {
    let times = batch.columns().first().and_then(|column| {
        let timestamps = column.as_primitive_opt::<TimestampNanosecondType>();
        let integers = || column.as_primitive_opt::<Int64Type>();
        timestamps
            .map(PrimitiveArray::values)
            .or_else(|| integers().map(PrimitiveArray::values))
    });
    let Some((&time, times)) = times.and_then(|times| Some((times.last()?, times))) else {
        return Last::Unknown;
    };
    let same = times.iter().rev().take_while(|&&other| other == time);
    let count = same.count();
    Last::Row { time, count }
}

/// The answer without its first rows, which arrived before.
fn without_first(opened: Opened, rows: usize) -> Opened {
    let messages = opened.0.scan(rows, |left, message| {
        let message = message.map(|(version, batches)| {
            let batches = batches.into_iter().map(|batch| {
                let gone = batch.num_rows().min(*left);
                *left -= gone;
                batch.slice(gone, batch.num_rows() - gone)
            });
            (version, batches.collect())
        });
        std::future::ready(Some(message))
    });
    Opened(messages.boxed())
}
