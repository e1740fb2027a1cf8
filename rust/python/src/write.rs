//! Inserting, flushing, deleting.

#![allow(clippy::too_many_arguments, reason = "the signatures are Python's")]

use std::sync::Arc;

use pingthings_client::{Error, Insert, MemoryBorrow};
use pingthings_types::MergePolicy;
use pyo3::prelude::*;
use pyo3_arrow::PyTable;
use uuid::Uuid;

use crate::{
    arguments::{Integer, range},
    call::{Mode, call},
    client::Client,
    error::to_exception,
    exit::Receiver,
    insert_steps::InsertSteps,
    runtime::PythonMemory,
};

/// The inserts of a call. Every point is validated.
fn inserts(
    py: Python<'_>,
    data: Vec<(Uuid, PyTable)>,
    merge: &str,
    borrow: &Arc<MemoryBorrow>,
) -> PyResult<(Vec<Insert>, MergePolicy)> {
    let policy: MergePolicy = merge
        .parse()
        .map_err(|error: pingthings_types::UnknownPolicy| {
            let kind = pingthings_client::ErrorKind::InvalidArgument;
            to_exception(py, &Error::new(kind, error.to_string()))
        })?;
    let inserts = data
        .into_iter()
        .map(|(uuid, table)| {
            let batches = table.into_inner().0;
            // Validation reads every value. Other threads may hold the GIL meanwhile.
            let insert = py.detach(|| Insert::new(uuid, &batches));
            let insert = insert?.with_owner(PythonMemory::new(batches));
            Ok(insert.with_borrow(Arc::clone(borrow)))
        })
        .collect::<Result<Vec<_>, Error>>()
        .map_err(|error| to_exception(py, &error))?;
    Ok((inserts, policy))
}

/// A callback that ends the borrow of a call when its future is done or cancelled. Asyncio runs it
/// before the code that awaits the future continues.
#[pyclass(module = "pingthings.timeseries.pyo3_client", frozen)]
struct EndBorrow(Arc<MemoryBorrow>);

#[pymethods]
impl EndBorrow {
    fn __call__(slf: Receiver<'_, Self>, _future: &Bound<'_, PyAny>) {
        slf.0.end();
    }
}

#[pymethods]
impl Client {
    /// Inserts a table into each stream and returns their versions.
    #[pyo3(signature = (data, merge))]
    fn insert<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        data: Vec<(Uuid, PyTable)>,
        merge: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let borrow = Arc::new(MemoryBorrow::default());
        let (inserts, policy) = inserts(py, data, merge, &borrow)?;
        let work = move |core: pingthings_client::Client, insert| async move {
            core.insert(insert, policy).await
        };
        let awaitable = slf.fan_out(py, inserts, work, |version| version.major);
        match &awaitable {
            Ok(future) if slf.mode == Mode::Async => {
                future.call_method1("add_done_callback", (EndBorrow(borrow),))?;
            }
            // A blocking call has ended, with its result or by Ctrl-C.
            Ok(_) | Err(_) => borrow.end(),
        }
        awaitable
    }

    /// Prepares an insert that reports its progress. It sends nothing before the first step.
    fn insert_steps(
        slf: Receiver<'_, Self>,
        py: Python<'_>,
        data: Vec<(Uuid, PyTable)>,
        merge: &str,
    ) -> PyResult<InsertSteps> {
        let borrow = Arc::new(MemoryBorrow::default());
        let (inserts, policy) = inserts(py, data, merge, &borrow)?;
        Ok(InsertSteps::new(
            slf.core.for_call(),
            slf.mode,
            inserts,
            policy,
            borrow,
        ))
    }

    /// Commits the buffer of each stream and returns their versions.
    #[pyo3(signature = (uuids))]
    fn flush<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        uuids: Vec<Uuid>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let work = |core: pingthings_client::Client, uuid| async move { core.flush(uuid).await };
        slf.fan_out(py, uuids, work, |version| version.major)
    }

    /// Removes the points in `[start, end)` and returns the new version.
    fn delete<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        uuid: Uuid,
        start: Integer,
        end: Integer,
    ) -> PyResult<Bound<'py, PyAny>> {
        let range = range(py, start, end)?;
        let core = slf.core.for_call();
        call(&slf.guard, py, slf.mode, async move {
            Ok(core.delete(uuid, range).await?.major)
        })
    }
}
