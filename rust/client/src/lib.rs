//! The client core: transport, limits, fan-out over many streams, Arrow in and out.
//!
//! Knows no Python, no files and no environment: it is told where to connect and as whom. Every
//! call is an `async fn` of [`Client`] that must run on a tokio runtime; dropping its future ends
//! the call and frees what it held.

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
pub use calls::tables::Tables;
pub use config::{ApiKey, Config, Endpoint, Identity, Proxies};
pub use error::{Error, ErrorKind, FailedInsert};
pub use fork::forked;
pub use insert::acknowledged::Acknowledged;
pub use insert::loan::Loan;
pub use insert::points::Insert;
pub use session::client::Client;
pub use session::trace::Trace;
pub use stats::{CallCounts, Stats};
pub use transport::dial::Route;
