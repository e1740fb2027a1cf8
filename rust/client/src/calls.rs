//! What can be asked of a server: a file for each noun of the API.

pub(crate) mod changes;
pub(crate) mod connect;
pub(crate) mod delete;
pub(crate) mod info;
pub(crate) mod joined;
pub(crate) mod management;
pub(crate) mod metadata;
pub(crate) mod nearest;
pub(crate) mod open;
pub(crate) mod read;
pub(crate) mod sql;
pub(crate) mod tables;
pub(crate) mod windows;
