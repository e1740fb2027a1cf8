//! The client core: transport, limits, fan-out over many streams, Arrow in and out.
//!
//! Knows no Python, no files and no environment: it is told where to connect and as whom. Every
//! call is an `async fn` of [`Client`] that must run on a tokio runtime; dropping its future ends
//! the call and frees what it held.

mod answer;
mod calls;
mod config;
mod error;
mod insert;
mod session;
mod stats;
mod transport;

use std::sync::Arc;

pub use answer::table::{RAW_SCHEMA, STAT_SCHEMA, Table, Wanted};
pub use calls::changes::Changes;
pub use calls::info::Info;
pub use calls::management::{CollectionRetention, Record, RecordKind};
pub use calls::metadata::{NewStream, StreamChange, StreamFilter, StreamInfo};
pub use calls::tables::Tables;
pub use config::{ApiKey, Config, Endpoint, Identity, Proxies};
pub use error::{Error, ErrorKind, FailedInsert};
pub use insert::acknowledged::Acknowledged;
pub use insert::points::Insert;
pub use session::fanout::OnError;
pub use session::forked;
pub use session::trace::Trace;
pub use stats::{CallCounts, Stats};

/// A connection to a server; cheap to clone, all clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) connection: Arc<session::Connection>,
    pub(crate) server: Arc<calls::info::Server>,
    pub(crate) time_limits: Arc<session::deadline::TimeLimits>,
    /// When the call that this clone is for must have ended.
    pub(crate) deadline: Option<session::deadline::Deadline>,
    /// What that call takes along for whoever traces it.
    pub(crate) trace: Option<Arc<Trace>>,
}

impl Client {
    /// Connects, and asks the server who it is, which also proves that the key is good.
    ///
    /// Must run on a tokio runtime.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let connection = Arc::new(session::Connection::new(config)?);
        let client = Self {
            connection,
            server: Arc::default(),
            time_limits: Arc::default(),
            deadline: None,
            trace: None,
        };
        client.first_info().await?;
        Ok(client)
    }

    /// Most calls in flight at once.
    pub fn concurrency_limit(&self) -> usize {
        self.connection.concurrency_limit()
    }

    /// Changes how many calls may be in flight at once, at once, also for calls that wait.
    pub fn set_concurrency_limit(&self, limit: usize) -> Result<(), Error> {
        self.connection.set_concurrency_limit(limit)
    }

    /// Most bytes of answers that are here and not yet handed over.
    pub fn memory_limit(&self) -> u64 {
        self.connection.memory_limit()
    }

    /// Changes that at once, also for reads under way.
    pub fn set_memory_limit(&self, limit: u64) -> Result<(), Error> {
        self.connection.set_memory_limit(limit)
    }

    /// The servers this client talks to, as `host:port`, separated by commas.
    pub fn endpoint(&self) -> String {
        self.connection.config.endpoint_names()
    }

    /// Whether an API key travels to another machine in clear text.
    pub fn exposes_key(&self) -> bool {
        self.connection.config.exposes_key()
    }

    /// Whether the client was closed.
    pub fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// Closes the client: calls in flight fail, and so does every later one. Closing twice is
    /// fine.
    pub fn close(&self) {
        self.connection.close();
    }
}
