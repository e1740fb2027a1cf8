//! The messages of the answer to a read: in Arrow if the server supports it, otherwise in protobuf
//! points.

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
        arrow_body::ArrowBody, expectation::Expectation, rows::Rows, rpc::Answer,
        table::AnswerSchema,
    },
    error::Error,
    method::{ConnectionClass, Method},
    session::{call::AnswerStream, client::Client},
    stats::Counters,
};

/// The parameters that all reads of one stream have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadParams<'a> {
    pub(crate) client: &'a Client,
    pub(crate) uuid: Uuid,
    /// 0 means the latest version.
    pub(crate) version: u64,
    pub(crate) schema: &'a AnswerSchema,
    pub(crate) class: ConnectionClass,
}

impl<'a> ReadParams<'a> {
    /// Sends the request, in Arrow if the server supports it, otherwise in points.
    ///
    /// The futures of calls are large. They are created only when needed, and boxed, so that they
    /// are moved once.
    pub(crate) async fn open<A: RowMessage>(
        self,
        method: Method,
        expected: &Expectation,
        arrow: impl FnOnce() -> BoxFuture<'a, Result<AnswerStream<ArrowBody>, Error>> + Send,
        points: impl FnOnce() -> BoxFuture<'a, Result<AnswerStream<Streaming<A>>, Error>> + Send,
    ) -> Result<AnswerMessages, Error> {
        if self.client.capabilities.supports_arrow() {
            let answer = async {
                let answers = Box::new(arrow().await?.with_gap_limit());
                let rows = self.client.empty_rows(expected)?;
                AnswerMessages::start(MessageSource::Arrow(answers), rows, self.client.counters())
                    .await
            };
            match answer.await {
                Err(error) if error.is_unimplemented() => {
                    self.client.capabilities.mark_without_arrow();
                }
                done => return done,
            }
        }
        let messages =
            MessageSource::from_points(points().await?.with_gap_limit(), method.answer_name());
        AnswerMessages::start(
            messages,
            self.client.empty_rows(expected)?,
            self.client.counters(),
        )
        .await
    }
}

impl Client {
    /// An empty collection for the rows of an answer.
    pub(crate) fn empty_rows(&self, expected: &Expectation) -> Result<Rows, Error> {
        let session = self.state.session()?;
        let page_pool = Arc::clone(&session.budget.page_pool);
        Ok(Rows::new(expected.clone(), page_pool))
    }
}

/// A protobuf message with rows, from a server without Arrow.
pub(crate) trait RowMessage: Answer + Send + 'static {
    /// Adds its rows to `rows` and returns their version.
    fn add_to(self, rows: &mut Rows) -> Result<Version, ArrowError>;
}

/// The messages of an answer whose first message has arrived.
pub(crate) struct AnswerMessages {
    messages: MessageSource,
    /// The first message, until it is read.
    first: Option<(Version, Rows)>,
}

enum MessageSource {
    None,
    Arrow(Box<AnswerStream<ArrowBody>>),
    Points(BoxStream<'static, Result<AddRows, Error>>),
}

/// Adds the rows of one message and returns their version.
type AddRows = Box<dyn FnOnce(&mut Rows) -> Result<Version, Error> + Send>;

impl MessageSource {
    fn from_points<A: RowMessage>(
        answers: AnswerStream<Streaming<A>>,
        answer_name: &'static str,
    ) -> Self {
        let messages = stream::unfold(answers, move |mut answers| async move {
            let message = answers.next().await.transpose()?;
            let read = message.map(|message| -> AddRows {
                Box::new(move |rows| {
                    let added = message.add_to(rows);
                    added.map_err(|error| Error::decode(answer_name, error))
                })
            });
            Some((read, answers))
        });
        // Fused, because it may be polled again after the end, for example for an answer without
        // messages.
        Self::Points(messages.fuse().boxed())
    }

    /// Adds the rows of the next message and returns their version; `None` at the end.
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

impl AnswerMessages {
    /// Adds the rows of the next message and returns their version; `None` at the end.
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
        added.map_err(|error| Error::decode(method.answer_name(), error))?;
        Ok(Some(version))
    }

    /// An answer without rows.
    pub(crate) const fn empty(version: Version, rows: Rows) -> Self {
        Self {
            messages: MessageSource::None,
            first: Some((version, rows)),
        }
    }

    /// An answer without any message left.
    pub(crate) const fn exhausted() -> Self {
        Self {
            messages: MessageSource::None,
            first: None,
        }
    }

    /// Waits for the first message. A server that does not know the method reports that here.
    async fn start(
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
