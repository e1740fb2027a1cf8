//! The single-node server: the `v5api` contract over the storage engine.
//!
//! [`Server::start`] takes a [`Config`] and serves until [`Server::stop`] or until it is dropped.
//! It runs on the tokio runtime it is started on and owns nothing outside its data directory, so a
//! process can hold several.
//!
//! Every call is decoded, handed to the engine on a blocking thread, and encoded: what an answer
//! is, the engine decides. `docs/design/wire.md` says why the wire looks as it does.

mod arrow;
mod auth;
mod call;
mod config;
mod connection;
mod door;
mod error;
mod fault;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gate;
mod ipc;
mod join;
mod listen;
mod log;
mod message;
mod metrics;
mod observe;
mod order;
mod server;
mod service;
mod status;
mod supervise;
mod tls;
mod upkeep;

pub use auth::Role;
pub use config::{Config, Limits, Storage, Tls};
pub use error::Error;
pub use fault::{Fault, FaultKind};
pub use log::log_to_stderr;
pub use pingthings_storage::{Clock, Compaction, Durability};
pub use server::Server;
pub use upkeep::compact;
