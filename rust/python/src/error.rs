//! Errors of the core as exceptions of `pingthings.timeseries.exceptions`.

use std::error::Error as _;

use pingthings_client::{Error, ErrorKind};
use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyModule},
};

const EXCEPTIONS: &str = "pingthings.timeseries.exceptions";

/// The classes, which must be at hand when the interpreter ends: nothing is imported then, and
/// modules are emptied, while objects may still make calls in their `__del__`.
struct Classes {
    root: Py<PyAny>,
    of_codes: Py<PyDict>,
    of_names: Py<PyDict>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

impl Classes {
    fn get(py: Python<'_>) -> PyResult<&Self> {
        CLASSES.get_or_try_init(py, || {
            let exceptions = PyModule::import(py, EXCEPTIONS)?;
            Ok(Self {
                root: exceptions.getattr("BTrDBError")?.unbind(),
                of_codes: exceptions
                    .getattr("_CLASS_OF_CODE")?
                    .cast_into::<PyDict>()?
                    .unbind(),
                of_names: exceptions.dict().copy()?.unbind(),
            })
        })
    }
}

/// Makes sure that errors can be told of whatever happens later.
pub(crate) fn prepare(py: Python<'_>) -> PyResult<()> {
    Classes::get(py).map(drop)
}

/// The exception for an error: by code where it has one, else by class; the cause chain becomes a
/// note.
pub(crate) fn to_exception(py: Python<'_>, error: &Error) -> PyErr {
    exception(py, error).map_or_else(|failed| failed, PyErr::from_value)
}

fn exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let classes = Classes::get(py)?;
    let message = error.to_string();
    let exception = match class_name(error.kind()) {
        Class::Code(code) => {
            let class = classes.of_codes.bind(py).get_item(code)?;
            let class = class.unwrap_or_else(|| classes.root.bind(py).clone());
            class.call1((message, code))?
        }
        Class::Name(name) => {
            let class = classes.of_names.bind(py).get_item(name)?;
            let class = class.unwrap_or_else(|| classes.root.bind(py).clone());
            class.call1((message,))?
        }
    };
    if let Some(uuid) = error.stream() {
        exception.setattr("uuid", uuid)?;
    }
    if let Some(insert) = error.insert() {
        exception.setattr("in_doubt", insert.in_doubt)?;
        exception.setattr("time_range", insert.times)?;
        exception.setattr("last_version", insert.version)?;
    }
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(source) = cause {
        causes.push(source.to_string());
        cause = source.source();
    }
    causes.dedup();
    if !causes.is_empty() {
        exception.call_method1("add_note", (format!("caused by: {}", causes.join(": ")),))?;
    }
    Ok(exception)
}

enum Class {
    Code(u32),
    Name(&'static str),
}

fn class_name(kind: ErrorKind) -> Class {
    match kind {
        ErrorKind::Code(code) => Class::Code(code),
        ErrorKind::Connect => Class::Name("ConnectionError"),
        ErrorKind::Unauthenticated => Class::Name("AuthenticationError"),
        ErrorKind::PermissionDenied => Class::Name("PermissionDenied"),
        ErrorKind::Timeout => Class::Name("DeadlineExceededError"),
        ErrorKind::InvalidArgument => Class::Name("BTRDBValueError"),
        ErrorKind::NotSupported => Class::Name("NotSupportedError"),
        ErrorKind::Closed => Class::Name("ClientClosedError"),
        ErrorKind::TooLarge => Class::Name("MemoryLimitExceeded"),
        _ => Class::Name("BTRDBServerError"),
    }
}
