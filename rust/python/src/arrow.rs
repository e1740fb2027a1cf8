//! Arrow across the border: tables out, anything that offers an Arrow stream in.

use pingthings_client::{Error, Table};
use pyo3::{intern, prelude::*, types::PyList};
use pyo3_arrow::PyTable;

use crate::error::exception;

/// A table that becomes a `pyarrow.Table` over the same memory.
pub(crate) struct TableOut(pub(crate) Table);

impl<'py> IntoPyObject<'py> for TableOut {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        // Not `pyarrow.table`, which looks whether it is given a frame and imports pandas for that.
        let table = PyTable::try_new(self.0.batches, self.0.schema)?;
        py.import(intern!(py, "pyarrow"))?
            .getattr(intern!(py, "RecordBatchReader"))?
            .call_method1(intern!(py, "from_stream"), (table,))?
            .call_method0(intern!(py, "read_all"))
    }
}

/// What a call over many streams returns: a list, in which failed streams are exceptions.
pub(crate) struct Outcomes<T>(pub(crate) Vec<Result<T, Error>>);

impl<'py, T: IntoPyObject<'py>> IntoPyObject<'py> for Outcomes<T> {
    type Target = PyList;
    type Output = Bound<'py, PyList>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for outcome in self.0 {
            match outcome {
                Ok(value) => list.append(value)?,
                Err(error) => list.append(exception(py, &error)?)?,
            }
        }
        Ok(list)
    }
}
