//! Conversion of arguments from Python to the types of the core.

use arrow_schema::SchemaRef;
use pingthings_client::{AnswerSchema, Error};
use pingthings_types::{Code, PointWidth, TimeRange};
use pyo3::prelude::*;
use pyo3_arrow::PySchema;

use crate::error::to_exception;

/// A Python integer of any size.
///
/// An integer outside the range of `i64` becomes `i64::MIN` or `i64::MAX`. Neither is a valid time,
/// width or version, so the core refuses it with its usual error.
#[derive(Clone, Copy)]
pub(crate) struct Integer(pub(crate) i64);

impl<'py> FromPyObject<'_, 'py> for Integer {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.extract::<i64>() {
            Ok(value) => Ok(Self(value)),
            Err(error)
                if error.is_instance_of::<pyo3::exceptions::PyOverflowError>(object.py()) =>
            {
                Ok(Self(if object.lt(0)? { i64::MIN } else { i64::MAX }))
            }
            Err(error) => Err(error),
        }
    }
}

pub(crate) fn range(py: Python<'_>, start: Integer, end: Integer) -> PyResult<TimeRange> {
    TimeRange::new(start.0, end.0).map_err(|error| to_exception(py, &error.into()))
}

/// The exponent of a point width. `what` names the argument in the error text.
pub(crate) fn exponent(py: Python<'_>, what: &str, exponent: Integer) -> PyResult<PointWidth> {
    u32::try_from(exponent.0)
        .ok()
        .and_then(PointWidth::new)
        .ok_or_else(|| {
            let message = format!("a {what} of {}: it must be between 0 and 63", exponent.0);
            to_exception(py, &Error::refused(Code::InvalidPointWidth, message))
        })
}

pub(crate) fn width_ns(py: Python<'_>, width: Integer) -> PyResult<u64> {
    u64::try_from(width.0)
        .ok()
        .filter(|&width| width > 0)
        .ok_or_else(|| {
            let message = format!(
                "a window of {} ns: the width must be at least 1 ns",
                width.0
            );
            to_exception(py, &Error::refused(Code::InvalidPointWidth, message))
        })
}

/// The columns that the caller asks for.
pub(crate) fn answer_schema(
    py: Python<'_>,
    read: impl Fn(Option<SchemaRef>) -> Result<AnswerSchema, Error>,
    schema: Option<PySchema>,
) -> PyResult<AnswerSchema> {
    read(schema.map(PySchema::into_inner)).map_err(|error| to_exception(py, &error))
}
