//! Values of `PostgreSQL` types: parsing, representation and formatting.

pub(crate) mod array;
pub(crate) mod decimal;
pub(crate) mod hstore;
pub(crate) mod interval;
pub(crate) mod json;
pub(crate) mod number;
pub(crate) mod time;
pub(crate) mod uuid;
