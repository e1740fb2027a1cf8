//! Points on their way to a server: checked, put into messages without a copy, and sent.

pub(crate) mod acknowledged;
pub(crate) mod cast;
pub(crate) mod decimal;
pub(crate) mod envelope;
pub(crate) mod loan;
pub(crate) mod points;
pub(crate) mod write;
