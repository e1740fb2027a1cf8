//! The client core: connections, limits, fan-out over many streams, and Arrow tables as input and
//! output.
//!
//! This crate does not know Python and reads no files and no environment variables: the caller
//! passes the endpoints and the credentials. Every call is an `async fn` of [`Client`] and must run
//! on a tokio runtime. Dropping its future cancels the call and releases its resources.

mod answer;
mod calls;
mod config;
mod error;
mod fork;
mod insert;
mod method;
mod session;
mod stats;
mod transport;

pub use answer::table::{AnswerSchema, RAW_SCHEMA, STAT_SCHEMA, Table};
pub use calls::changes::Changes;
pub use calls::info::Info;
pub use calls::management::{CollectionRetention, Record, RecordKind};
pub use calls::metadata::{NewStream, StreamChange, StreamFilter, StreamInfo};
pub use calls::table_stream::TableStream;
pub use config::{ApiKey, Config, Endpoint, Identity, Proxies};
pub use error::{Error, ErrorKind, FailedInsert};
pub use fork::after_fork_in_child;
pub use insert::borrow::MemoryBorrow;
pub use insert::points::Insert;
pub use insert::progress::InsertProgress;
pub use session::client::Client;
pub use session::trace::Trace;
pub use stats::{CallCounts, Stats};
pub use transport::dial::Route;
