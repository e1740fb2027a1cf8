//! The single-node server: the `v5api` contract over the storage engine.
//!
//! [`Server::start`] takes a [`Config`] and serves until [`Server::stop`] or until it is dropped.
//! It runs on the tokio runtime on which it is started and uses nothing outside its data directory,
//! so a process can have several servers.
//!
//! Every call is decoded, executed by the engine on a blocking thread, and its answer is encoded.
//! The engine determines the content of answers. `docs/design/wire.md` describes the protocol.

mod acceptor;
mod account;
mod active_call;
mod arrow;
mod auth;
mod budget;
mod call;
mod call_layer;
mod caller;
mod compact;
mod config;
mod connection;
mod decompress;
mod error;
mod fault;
mod field_counter;
mod frames;
#[cfg(fuzzing)]
pub mod fuzzing;
mod goaway;
mod intake;
mod ipc;
mod join;
mod listener;
mod log;
mod message;
mod metrics;
mod metrics_page;
mod peer;
mod permits;
mod rate_limiter;
mod server;
mod service;
mod status;
mod supervisor;
mod tls;
mod weighted_hold;
mod write_order;

pub use auth::Role;
pub use compact::compact;
pub use config::{Config, Limits, Storage, Tls};
pub use error::Error;
pub use fault::{Fault, FaultKind};
pub use log::log_to_stderr;
pub use pingthings_storage::{Clock, Compaction, Durability};
pub use server::Server;
