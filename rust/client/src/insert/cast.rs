//! Casts that lose no information, and the errors of those that would.

use arrow_array::ArrayRef;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType};
use pingthings_types::Code;

use crate::error::{Error, ErrorKind};

pub(crate) fn unsuitable_points(why: &str) -> Error {
    Error::new(
        ErrorKind::InvalidArgument,
        format!("the points cannot be sent: {why}"),
    )
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the function checks whether the cast loses digits"
)]
pub(crate) const fn is_exact(number: i128) -> bool {
    (number as f64) as i128 == number
}

pub(crate) fn inexact_number(number: impl std::fmt::Display) -> Error {
    Error::refused(
        Code::BadValue,
        format!("the whole number {number} cannot be stored exactly as a float64: round it first"),
    )
}

pub(crate) fn checked_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(
        array,
        to,
        &CastOptions {
            safe: false,
            ..CastOptions::default()
        },
    )
}
