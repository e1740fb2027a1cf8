//! Inserts: points are validated, put into messages without a copy, and sent.

pub(crate) mod arrow_insert;
pub(crate) mod borrow;
pub(crate) mod cast;
pub(crate) mod decimal;
pub(crate) mod points;
pub(crate) mod progress;
pub(crate) mod write;
