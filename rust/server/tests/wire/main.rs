//! The server over a real socket, called by the generated client.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod access;
mod answer;
mod arrow;
mod budget;
mod changes;
mod csv;
mod faults;
mod fixture;
mod lifecycle;
mod limits;
mod management;
mod messages;
mod metadata;
mod read;
mod reflection;
mod roles;
mod sql;
mod subscribe;
mod vectors;
mod windows;
mod write;
