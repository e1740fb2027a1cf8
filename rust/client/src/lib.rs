//! The client core: transport, limits, fan-out over many streams, Arrow in and out.
//!
//! Knows no Python, no files and no environment: it is told where to connect and as whom. Every
//! call is an `async fn` of [`Client`] that must run on a tokio runtime; dropping its future ends
//! the call and frees what it held.

mod arrow;
mod call;
mod changes;
mod config;
mod connection;
mod delete;
mod error;
mod fanout;
mod info;
mod limit;
mod management;
mod metadata;
mod nearest;
mod read;
mod retry;
mod sql;
mod tables;
mod windows;
mod write;

use std::{sync::Arc, time::Duration};

pub use arrow::{RAW_SCHEMA, STAT_SCHEMA, Table, Wanted};
pub use changes::Changes;
pub use config::{ApiKey, Config, Endpoint};
pub use connection::forked;
pub use error::{Error, ErrorKind, FailedInsert};
pub use fanout::OnError;
pub use info::Info;
pub use management::{CollectionRetention, Record, RecordKind};
pub use metadata::{NewStream, StreamChange, StreamFilter, StreamInfo};
pub use tables::Tables;
pub use write::Insert;

/// A connection to a server; cheap to clone, all clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) connection: Arc<connection::Connection>,
    pub(crate) server: Arc<info::Server>,
}

impl Client {
    /// Connects, and asks the server who it is, which also proves that the key is good.
    ///
    /// Must run on a tokio runtime.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let limit = config.connect_timeout;
        let endpoint = config.endpoint.to_string();
        let connection = Arc::new(connection::Connection::new(config)?);
        let client = Self {
            connection,
            server: Arc::default(),
        };
        tokio::time::timeout(limit, client.first_info())
            .await
            .map_err(|_| Error::connect_timeout(&endpoint, limit))??;
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

    /// How long an answer, or the next part of one, may take; `None` for any time.
    pub fn timeout(&self) -> Option<Duration> {
        self.connection.patience()
    }

    /// Changes that for calls that begin from now on.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.connection.set_patience(timeout);
    }

    /// The server this client talks to, as `host:port`.
    pub fn endpoint(&self) -> String {
        self.connection.config.endpoint.to_string()
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
