//! Answers that are tables, as they arrive, resumed where they were cut.

use std::fmt;

use arrow_array::{
    PrimitiveArray, RecordBatch,
    cast::AsArray,
    types::{Int64Type, TimestampNanosecondType},
};
use futures_util::stream::{self, BoxStream, StreamExt};
use pingthings_types::{PointWidth, TimeRange, Version};
use uuid::Uuid;

use crate::{
    Client,
    arrow::{Table, Wanted},
    call::{Answer, Answers},
    error::Error,
    limit::Permit,
    retry::{Backoff, Repeat},
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
pub(crate) struct Opened {
    messages: BoxStream<'static, Message>,
    permit: Option<Permit>,
}

impl Opened {
    /// What the server answers. A server that does not know the call says so here.
    pub(crate) async fn of<A: TableAnswer>(
        answers: Result<Answers<A>, Error>,
    ) -> Result<Self, Error> {
        let mut answers = answers?;
        let permit = answers.take_permit();
        let messages = match answers.next().await? {
            None => stream::empty().boxed(),
            Some(first) => {
                let rest = stream::unfold(answers, |mut answers| async move {
                    let next = answers.next().await.transpose()?;
                    Some((next.and_then(A::into_batches), answers))
                });
                stream::iter([first.into_batches()]).chain(rest).boxed()
            }
        };
        Ok(Self { messages, permit })
    }

    /// An answer without rows.
    pub(crate) fn empty(version: Version) -> Self {
        Self {
            messages: stream::iter([Ok((version, Vec::new()))]).boxed(),
            permit: None,
        }
    }
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
    is_at_leisure: bool,
    position: Position,
    backoff: Backoff,
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
    /// Asks; the first message of the answer has arrived when this returns.
    pub(crate) async fn tables(
        &self,
        question: Question,
        uuid: Uuid,
        version: u64,
        wanted: &Wanted,
    ) -> Result<Tables, Error> {
        let open = || self.open(question, uuid, version, wanted);
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
            is_at_leisure: false,
            position: Position::default(),
            backoff: self.backoff(),
        })
    }

    async fn open(
        &self,
        question: Question,
        uuid: Uuid,
        version: u64,
        wanted: &Wanted,
    ) -> Result<Opened, Error> {
        match question {
            Question::Raw(range) => self.open_raw_values(uuid, range, version, wanted).await,
            Question::Aligned(range, width) => {
                self.open_aligned_windows(uuid, range, width, version).await
            }
            Question::Precise(range, width) => {
                self.open_precise_windows(uuid, range, width, version).await
            }
        }
    }
}

impl Tables {
    /// No longer counts as a call under way: whoever reads it makes other calls meanwhile, and
    /// they must not wait for it.
    pub(crate) fn at_leisure(mut self) -> Self {
        self.is_at_leisure = true;
        self.opened.permit = None;
        self
    }

    /// The next rows, at least one; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Table>, Error> {
        let mut table = self.wanted.table();
        while self.step(&mut table, false).await? {
            if table.num_rows() > 0 {
                return Ok(Some(table));
            }
        }
        Ok(None)
    }

    /// All rows.
    pub(crate) async fn collect(mut self) -> Result<Table, Error> {
        let mut table = self.wanted.table();
        while self.step(&mut table, true).await? {}
        table.version = self.position.version;
        Ok(table)
    }

    /// Adds a message to `table`, or mends the connection; false at the end. `is_all` if the table
    /// holds all there was so far, so that it may be begun anew.
    async fn step(&mut self, table: &mut Table, is_all: bool) -> Result<bool, Error> {
        let failure = match self.opened.messages.next().await {
            None => return Ok(false),
            Some(Ok((version, batches))) => {
                self.backoff.reset();
                self.take(version, batches, table)
                    .map_err(|error| error.on_stream(self.uuid))?;
                return Ok(true);
            }
            Some(Err(error)) => error,
        };
        let resumed = self.resume(failure, table, is_all).await;
        resumed.map_err(|error| error.on_stream(self.uuid))
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

    /// Asks again for what has not arrived.
    async fn resume(
        &mut self,
        mut failure: Error,
        table: &mut Table,
        is_all: bool,
    ) -> Result<bool, Error> {
        loop {
            if !failure.is_transient() {
                return Err(failure);
            }
            // Buffered points belong to no version that could be asked for again.
            let is_fixed = self.asked > 0 || self.position.version.minor == 0;
            let (question, version, skip) = match self.position.last {
                Some(Last::Row { time, count }) if is_fixed => {
                    let Some(rest) = self.question.after(time) else {
                        self.opened = Opened::empty(self.position.version);
                        return Ok(true);
                    };
                    let skip = match rest {
                        Question::Raw(_) => count,
                        _ => 0,
                    };
                    (rest, self.position.version.major, skip)
                }
                Some(_) if !is_all => return Err(failure),
                _ => {
                    *table = self.wanted.table();
                    self.position = Position::default();
                    (self.question, self.asked, 0)
                }
            };
            self.backoff.wait(self.question.method(), failure).await?;
            let opened = self
                .client
                .open(question, self.uuid, version, &self.wanted)
                .await;
            match opened {
                Ok(opened) => {
                    self.opened = without_first(opened, skip);
                    if self.is_at_leisure {
                        self.opened.permit = None;
                    }
                    return Ok(true);
                }
                Err(error) => failure = error,
            }
        }
    }
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
    let Opened { messages, permit } = opened;
    let messages = messages.scan(rows, |left, message| {
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
    Opened {
        messages: messages.boxed(),
        permit,
    }
}
