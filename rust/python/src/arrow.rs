//! Arrow across the border: tables out, anything that offers an Arrow stream in.

use pingthings_client::Table;
use pyo3::{intern, prelude::*};
use pyo3_arrow::PyTable;

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
