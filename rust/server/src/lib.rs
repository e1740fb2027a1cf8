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
mod budget;
mod call;
mod caller;
mod config;
mod connection;
mod door;
mod entrance;
mod error;
mod fault;
mod fields;
mod frames;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gate;
mod goaway;
mod intake;
mod ipc;
mod join;
mod listen;
mod log;
mod message;
mod metrics;
mod observe;
mod ongoing;
mod order;
mod owner;
mod patience;
mod peer;
mod server;
mod service;
mod status;
mod supervise;
mod tls;
mod unpack;
mod upkeep;
mod weight;

pub use auth::Role;
pub use config::{Config, Limits, Storage, Tls};
pub use error::Error;
pub use fault::{Fault, FaultKind};
pub use log::log_to_stderr;
pub use pingthings_storage::{Clock, Compaction, Durability};
pub use server::Server;
pub use upkeep::compact;
