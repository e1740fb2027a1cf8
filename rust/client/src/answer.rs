//! Answers of servers: HTTP/2 frames, messages, Arrow columns, and their memory.

pub(crate) mod arrow_body;
pub(crate) mod budget;
pub(crate) mod columns;
pub(crate) mod decompress;
pub(crate) mod expectation;
pub(crate) mod framing;
pub(crate) mod ipc;
pub(crate) mod message_body;
pub(crate) mod page_pool;
pub(crate) mod points;
pub(crate) mod rows;
pub(crate) mod rpc;
pub(crate) mod table;
