//! Conversion of tables to `pyarrow`.

use pingthings_client::Table;
use pyo3::{intern, prelude::*};
use pyo3_arrow::PyTable;

/// A table that is converted to a `pyarrow.Table` over the same memory.
pub(crate) struct PyArrowTable(pub(crate) Table);

impl<'py> IntoPyObject<'py> for PyArrowTable {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        // `pyarrow.table` would import pandas to check whether its argument is a DataFrame.
        let table = PyTable::try_new(self.0.batches, self.0.schema)?;
        py.import(intern!(py, "pyarrow"))?
            .getattr(intern!(py, "RecordBatchReader"))?
            .call_method1(intern!(py, "from_stream"), (table,))?
            .call_method0(intern!(py, "read_all"))
    }
}
