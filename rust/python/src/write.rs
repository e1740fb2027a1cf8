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
    exit::Entered,
    inserting::Inserting,
    runtime::Foreign,
};

/// The inserts of a call, every point of them checked.
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
            // Checking reads every value, which other threads need not wait for.
            let insert = py.detach(|| Insert::new(uuid, &batches));
            let insert = insert?.with_owner(Foreign::new(batches));
            Ok(insert.with_borrow(Arc::clone(borrow)))
        })
        .collect::<Result<Vec<_>, Error>>()
        .map_err(|error| to_exception(py, &error))?;
    Ok((inserts, policy))
}

/// Ends a borrow when the future of its call is done or cancelled. Asyncio calls this before any
/// task that awaits the future continues.
#[pyclass(module = "pingthings.timeseries.pyo3_client", frozen)]
struct TakeBack(Arc<MemoryBorrow>);

#[pymethods]
impl TakeBack {
    fn __call__(slf: Entered<'_, Self>, _future: &Bound<'_, PyAny>) {
        slf.0.end();
    }
}

#[pymethods]
impl Client {
    /// Inserts a table into each stream; returns their versions.
    #[pyo3(signature = (data, merge))]
    fn insert<'py>(
        slf: Entered<'py, Self>,
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
                future.call_method1("add_done_callback", (TakeBack(borrow),))?;
            }
            // A call that blocks has ended, by its result or by Ctrl-C.
            Ok(_) | Err(_) => borrow.end(),
        }
        awaitable
    }

    /// The same, told of on the way; nothing is sent before the first step.
    fn inserting(
        slf: Entered<'_, Self>,
        py: Python<'_>,
        data: Vec<(Uuid, PyTable)>,
        merge: &str,
    ) -> PyResult<Inserting> {
        let borrow = Arc::new(MemoryBorrow::default());
        let (inserts, policy) = inserts(py, data, merge, &borrow)?;
        Ok(Inserting::new(
            slf.core.for_call(),
            slf.mode,
            inserts,
            policy,
            borrow,
        ))
    }

    /// Commits what is buffered in each stream; returns their versions.
    #[pyo3(signature = (uuids))]
    fn flush<'py>(
        slf: Entered<'py, Self>,
        py: Python<'py>,
        uuids: Vec<Uuid>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let work = |core: pingthings_client::Client, uuid| async move { core.flush(uuid).await };
        slf.fan_out(py, uuids, work, |version| version.major)
    }

    /// Removes the points of `[start, end)`; returns the version without them.
    fn delete<'py>(
        slf: Entered<'py, Self>,
        py: Python<'py>,
        uuid: Uuid,
        start: Integer,
        end: Integer,
    ) -> PyResult<Bound<'py, PyAny>> {
        let range = range(py, start, end)?;
        let core = slf.core.for_call();
        call(&slf.inside, py, slf.mode, async move {
            Ok(core.delete(uuid, range).await?.major)
        })
    }
}
