//! Answers that are tables, as they arrive.

use std::fmt;

use arrow_array::RecordBatch;
use futures_util::stream::{self, BoxStream, StreamExt};
use pingthings_types::Version;
use uuid::Uuid;

use crate::{
    arrow::{Table, Wanted},
    call::{Answer, Answers},
    error::Error,
    limit::Permit,
};

/// An answer that carries rows, in Arrow or as points.
pub(crate) trait TableAnswer: Answer + Send + 'static {
    fn into_batches(self) -> Result<(Version, Vec<RecordBatch>), Error>;
}

type Message = Result<(Version, Vec<RecordBatch>), Error>;

/// The rows of an answer, a table for each message of the server.
///
/// Nothing is asked of the server before it is wanted, so that little is in memory at once.
/// Dropping it ends the call and frees what the server holds for it.
pub struct Tables {
    what: &'static str,
    uuid: Uuid,
    wanted: Wanted,
    version: Version,
    messages: BoxStream<'static, Message>,
    permit: Option<Permit>,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables")
            .field("what", &self.what)
            .field("uuid", &self.uuid)
            .finish_non_exhaustive()
    }
}

impl Tables {
    /// What the server answers. Its first message is waited for: a server that does not know the
    /// call says so there.
    pub(crate) async fn of<A: TableAnswer>(
        (what, uuid): (&'static str, Uuid),
        answers: Result<Answers<A>, Error>,
        wanted: &Wanted,
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
        Ok(Self {
            what,
            uuid,
            wanted: wanted.clone(),
            version: Version::default(),
            messages,
            permit,
        })
    }

    /// An answer without rows.
    pub(crate) fn empty(
        (what, uuid): (&'static str, Uuid),
        wanted: &Wanted,
        version: Version,
    ) -> Self {
        Self {
            what,
            uuid,
            wanted: wanted.clone(),
            version,
            messages: stream::empty().boxed(),
            permit: None,
        }
    }

    /// No longer counts as a call under way: whoever reads it makes other calls meanwhile, and
    /// they must not wait for it.
    pub(crate) fn at_leisure(mut self) -> Self {
        self.permit = None;
        self
    }

    /// The next rows, at least one; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Table>, Error> {
        while let Some(message) = self.messages.next().await {
            let mut table = self.wanted.table();
            self.take(message, &mut table)
                .map_err(|error| error.on_stream(self.uuid))?;
            if table.num_rows() > 0 {
                return Ok(Some(table));
            }
        }
        Ok(None)
    }

    /// All rows.
    pub(crate) async fn collect(mut self) -> Result<Table, Error> {
        let mut table = self.wanted.table();
        while let Some(message) = self.messages.next().await {
            self.take(message, &mut table)
                .map_err(|error| error.on_stream(self.uuid))?;
        }
        table.version = self.version;
        Ok(table)
    }

    fn take(&mut self, message: Message, table: &mut Table) -> Result<(), Error> {
        let (version, batches) = message?;
        self.version = version;
        table.version = version;
        table.append(&self.wanted, self.what, batches)
    }
}
