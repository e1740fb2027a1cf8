//! How the answer to a read is opened: in Arrow where the server has it, else in points.

use std::{sync::Arc, time::Instant};

use arrow_schema::ArrowError;
use futures_util::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use pingthings_types::Version;
use tonic::Streaming;
use uuid::Uuid;

use crate::{
    answer::{
        arrow_body::ArrowBody, expected::Expected, rows::Rows, rpc::Answer, table::AnswerSchema,
    },
    error::Error,
    method::{Lane, Method},
    session::{call::Answers, client::Client},
    stats::Counters,
};

/// What a read asks, whatever its question: whom, of which stream and version, in which schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read<'a> {
    pub(crate) client: &'a Client,
    pub(crate) uuid: Uuid,
    /// 0 for the latest.
    pub(crate) version: u64,
    pub(crate) schema: &'a AnswerSchema,
    pub(crate) lane: Lane,
}

impl<'a> Read<'a> {
    /// The answer in Arrow where the server has it, else in points.
    ///
    /// Calls are large as futures, so they are made where they are needed, and moved only once.
    pub(crate) async fn open<A: PointsAnswer>(
        self,
        method: Method,
        expected: &Expected,
        arrow: impl FnOnce() -> BoxFuture<'a, Result<Answers<ArrowBody>, Error>> + Send,
        points: impl FnOnce() -> BoxFuture<'a, Result<Answers<Streaming<A>>, Error>> + Send,
    ) -> Result<OpenAnswer, Error> {
        if self.client.server.has_arrow() {
            let opened = async {
                let answers = Box::new(arrow().await?.with_short_gaps());
                let rows = self.client.no_rows(expected)?;
                OpenAnswer::of(MessageSource::Arrow(answers), rows, self.client.counters()).await
            };
            match opened.await {
                Err(error) if error.is_unimplemented() => self.client.server.forgo_arrow(),
                done => return done,
            }
        }
        let messages = MessageSource::of_points(points().await?.with_short_gaps(), method.answer());
        OpenAnswer::of(
            messages,
            self.client.no_rows(expected)?,
            self.client.counters(),
        )
        .await
    }
}

impl Client {
    /// Where the rows of an answer go.
    pub(crate) fn no_rows(&self, expected: &Expected) -> Result<Rows, Error> {
        let session = self.state.session()?;
        let spares = Arc::clone(&session.budget.spares);
        Ok(Rows::new(expected.clone(), spares))
    }
}

/// A message of a server without Arrow.
pub(crate) trait PointsAnswer: Answer + Send + 'static {
    /// Adds its rows; the version they belong to.
    fn add_to(self, rows: &mut Rows) -> Result<Version, ArrowError>;
}

/// The messages of an answer, of which the first has arrived.
pub(crate) struct OpenAnswer {
    messages: MessageSource,
    /// The first message.
    first: Option<(Version, Rows)>,
}

enum MessageSource {
    None,
    Arrow(Box<Answers<ArrowBody>>),
    Points(BoxStream<'static, Result<ReadPoints, Error>>),
}

/// What adds the rows of a message.
type ReadPoints = Box<dyn FnOnce(&mut Rows) -> Result<Version, Error> + Send>;

impl MessageSource {
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
    /// Adds the rows of the next message; the version they belong to.
    pub(crate) async fn next_into(
        &mut self,
        rows: &mut Rows,
        method: Method,
        counters: &Counters,
    ) -> Result<Option<Version>, Error> {
        let Some((version, first)) = self.first.take() else {
            return self.messages.next_into(rows, counters).await;
        };
        let added = rows.append(first);
        added.map_err(|error| Error::decode(method.answer(), error))?;
        Ok(Some(version))
    }

    /// An answer without rows.
    pub(crate) const fn empty(version: Version, rows: Rows) -> Self {
        Self {
            messages: MessageSource::None,
            first: Some((version, rows)),
        }
    }

    /// An answer that nobody reads any more.
    pub(crate) const fn none() -> Self {
        Self {
            messages: MessageSource::None,
            first: None,
        }
    }

    /// What the server answers. A server that does not know the method says so here.
    async fn of(
        mut messages: MessageSource,
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
