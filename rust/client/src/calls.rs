//! The requests that a client can make: a file for each noun of the API.

pub(crate) mod answer_messages;
pub(crate) mod changes;
pub(crate) mod connect;
pub(crate) mod delete;
pub(crate) mod info;
pub(crate) mod joined;
pub(crate) mod management;
pub(crate) mod metadata;
pub(crate) mod nearest;
pub(crate) mod read;
pub(crate) mod sql;
pub(crate) mod table_stream;
pub(crate) mod windows;
