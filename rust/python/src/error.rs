//! Conversion of the core's errors to exceptions of `pingthings.timeseries.exceptions`.

use std::error::Error as _;

use pingthings_client::{Error, ErrorKind};
use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyModule},
};

const EXCEPTIONS: &str = "pingthings.timeseries.exceptions";

/// The exception classes.
///
/// They are kept because a `__del__` may make calls while the interpreter exits. By then modules
/// are emptied and nothing can be imported.
struct Classes {
    root: Py<PyAny>,
    by_code: Py<PyDict>,
    by_name: Py<PyDict>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

impl Classes {
    fn get(py: Python<'_>) -> PyResult<&Self> {
        CLASSES.get_or_try_init(py, || {
            let exceptions = PyModule::import(py, EXCEPTIONS)?;
            Ok(Self {
                root: exceptions.getattr("BTrDBError")?.unbind(),
                by_code: exceptions
                    .getattr("_CLASS_OF_CODE")?
                    .cast_into::<PyDict>()?
                    .unbind(),
                by_name: exceptions.dict().copy()?.unbind(),
            })
        })
    }
}

/// Loads the exception classes, so that later errors need no import.
pub(crate) fn prepare(py: Python<'_>) -> PyResult<()> {
    Classes::get(py).map(drop)
}

/// The exception for an error. The class follows from the status code, or else from the kind of
/// error. The chain of causes becomes a note of the exception.
pub(crate) fn to_exception(py: Python<'_>, error: &Error) -> PyErr {
    exception(py, error).map_or_else(|failed| failed, PyErr::from_value)
}

fn exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let classes = Classes::get(py)?;
    let message = error.to_string();
    let exception = match class_key(error.kind()) {
        ClassKey::Code(code) => {
            let class = classes.by_code.bind(py).get_item(code)?;
            let class = class.unwrap_or_else(|| classes.root.bind(py).clone());
            class.call1((message, code))?
        }
        ClassKey::Name(name) => {
            let class = classes.by_name.bind(py).get_item(name)?;
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

enum ClassKey {
    Code(u32),
    Name(&'static str),
}

fn class_key(kind: ErrorKind) -> ClassKey {
    match kind {
        ErrorKind::Code(code) => ClassKey::Code(code),
        ErrorKind::Connect => ClassKey::Name("ConnectionError"),
        ErrorKind::Unauthenticated => ClassKey::Name("AuthenticationError"),
        ErrorKind::PermissionDenied => ClassKey::Name("PermissionDenied"),
        ErrorKind::Timeout => ClassKey::Name("DeadlineExceededError"),
        ErrorKind::InvalidArgument => ClassKey::Name("BTRDBValueError"),
        ErrorKind::NotSupported => ClassKey::Name("NotSupportedError"),
        ErrorKind::Closed => ClassKey::Name("ClientClosedError"),
        ErrorKind::TooLarge => ClassKey::Name("MemoryLimitExceeded"),
        _ => ClassKey::Name("BTRDBServerError"),
    }
}
