//! What servers answer, from the frames of HTTP/2 to columns in Arrow, and the memory it takes.

pub(crate) mod arrow_body;
pub(crate) mod budget;
pub(crate) mod columns;
pub(crate) mod expectation;
pub(crate) mod framing;
pub(crate) mod ipc;
pub(crate) mod message_body;
pub(crate) mod page_pool;
pub(crate) mod points;
pub(crate) mod rows;
pub(crate) mod rpc;
pub(crate) mod table;
pub(crate) mod decompress;
