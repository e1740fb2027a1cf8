//! Reading of points, windows, single points and changed ranges.

#![allow(clippy::too_many_arguments, reason = "the signatures are Python's")]

use pingthings_client::{AnswerSchema, Table};
use pyo3::prelude::*;
use pyo3_arrow::PySchema;
use uuid::Uuid;

use crate::{
    arguments::{Integer, answer_schema, exponent, range, width_ns},
    arrow::PyArrowTable,
    call::call,
    client::Client,
    exit::Receiver,
    iterators::{ChangeIterator, TableIterator},
};

fn table(table: Table) -> PyArrowTable {
    PyArrowTable(table)
}

#[pymethods]
impl Client {
    /// Points of each stream in `[start, end)`. A stream is its uuid and version.
    #[pyo3(signature = (streams, start, end, schema))]
    fn raw_values<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        streams: Vec<(Uuid, u64)>,
        start: Integer,
        end: Integer,
        schema: Option<PySchema>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let range = range(py, start, end)?;
        let schema = answer_schema(py, AnswerSchema::raw, schema)?;
        let work = move |core: pingthings_client::Client, (uuid, version)| {
            let schema = schema.clone();
            async move { core.raw_values(uuid, range, version, &schema).await }
        };
        slf.fan_out(py, streams, work, table)
    }

    /// Points of the streams in `[start, end)`, joined on time in one table.
    fn joined_values<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        streams: Vec<(Uuid, u64)>,
        start: Integer,
        end: Integer,
        period_ns: Option<Integer>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let range = range(py, start, end)?;
        let period = period_ns.map(|period| period.0);
        let core = slf.core.for_call();
        call(&slf.guard, py, slf.mode, async move {
            let joined = core.joined_values(&streams, range, period).await;
            joined.map(PyArrowTable)
        })
    }

    /// Windows of 2^`point_width` ns of each stream in `[start, end)`.
    #[pyo3(signature = (streams, start, end, point_width, schema))]
    fn aligned_windows<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        streams: Vec<(Uuid, u64)>,
        start: Integer,
        end: Integer,
        point_width: Integer,
        schema: Option<PySchema>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let range = range(py, start, end)?;
        let width = exponent(py, "point width", point_width)?;
        let schema = answer_schema(py, AnswerSchema::windows, schema)?;
        let work = move |core: pingthings_client::Client, (uuid, version)| {
            let schema = schema.clone();
            async move {
                core.aligned_windows(uuid, range, width, version, &schema)
                    .await
            }
        };
        slf.fan_out(py, streams, work, table)
    }

    /// Windows of any length of each stream. The first one begins at `start`.
    #[pyo3(signature = (streams, start, end, width_ns, schema))]
    fn precise_windows<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        streams: Vec<(Uuid, u64)>,
        start: Integer,
        end: Integer,
        width_ns: Integer,
        schema: Option<PySchema>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let range = range(py, start, end)?;
        let width = self::width_ns(py, width_ns)?;
        let schema = answer_schema(py, AnswerSchema::windows, schema)?;
        let work = move |core: pingthings_client::Client, (uuid, version)| {
            let schema = schema.clone();
            async move {
                core.precise_windows(uuid, range, width, version, &schema)
                    .await
            }
        };
        slf.fan_out(py, streams, work, table)
    }

    /// The point of each stream nearest to `time`: time, value and the version read, or `None`.
    #[pyo3(signature = (streams, time, backward))]
    fn nearest<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        streams: Vec<(Uuid, u64)>,
        time: Integer,
        backward: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let work = move |core: pingthings_client::Client, (uuid, version)| async move {
            core.nearest(uuid, time.0, version, backward).await
        };
        slf.fan_out(py, streams, work, |point| {
            point.map(|(point, version)| (point.time, point.value, version))
        })
    }

    /// Points of a stream in `[start, end)`, as they arrive.
    fn raw_values_iter<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        stream: (Uuid, u64),
        start: Integer,
        end: Integer,
        schema: Option<PySchema>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let range = range(py, start, end)?;
        let schema = answer_schema(py, AnswerSchema::raw, schema)?;
        let (core, mode, (uuid, version)) = (slf.core.for_call(), slf.mode, stream);
        call(&slf.guard, py, mode, async move {
            let tables = core.raw_values_iter(uuid, range, version, &schema).await?;
            Ok(TableIterator::new(tables, mode))
        })
    }

    /// Windows of 2^`point_width` ns of a stream in `[start, end)`, as they arrive.
    fn aligned_windows_iter<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        stream: (Uuid, u64),
        start: Integer,
        end: Integer,
        point_width: Integer,
        schema: Option<PySchema>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let range = range(py, start, end)?;
        let width = exponent(py, "point width", point_width)?;
        let schema = answer_schema(py, AnswerSchema::windows, schema)?;
        let (core, mode, (uuid, version)) = (slf.core.for_call(), slf.mode, stream);
        call(&slf.guard, py, mode, async move {
            let tables = core
                .aligned_windows_iter(uuid, range, width, version, &schema)
                .await?;
            Ok(TableIterator::new(tables, mode))
        })
    }

    /// Windows of any length of a stream, as they arrive. The first one begins at `start`.
    fn precise_windows_iter<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        stream: (Uuid, u64),
        start: Integer,
        end: Integer,
        width_ns: Integer,
        schema: Option<PySchema>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let range = range(py, start, end)?;
        let width = self::width_ns(py, width_ns)?;
        let schema = answer_schema(py, AnswerSchema::windows, schema)?;
        let (core, mode, (uuid, version)) = (slf.core.for_call(), slf.mode, stream);
        call(&slf.guard, py, mode, async move {
            let tables = core
                .precise_windows_iter(uuid, range, width, version, &schema)
                .await?;
            Ok(TableIterator::new(tables, mode))
        })
    }

    /// Ranges in which each stream changed between two versions. Each triple is a uuid and both
    /// versions.
    #[pyo3(signature = (streams, resolution))]
    fn changes<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        streams: Vec<(Uuid, u64, u64)>,
        resolution: Integer,
    ) -> PyResult<Bound<'py, PyAny>> {
        let resolution = exponent(py, "resolution", resolution)?;
        let work = move |core: pingthings_client::Client, (uuid, from, to)| async move {
            core.changes(uuid, from, to, resolution).await
        };
        slf.fan_out(py, streams, work, |ranges| ranges)
    }

    /// Ranges in which a stream changed between two versions, as they arrive.
    fn changes_iter<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        stream: (Uuid, u64, u64),
        resolution: Integer,
    ) -> PyResult<Bound<'py, PyAny>> {
        let resolution = exponent(py, "resolution", resolution)?;
        let (core, mode, (uuid, from, to)) = (slf.core.for_call(), slf.mode, stream);
        call(&slf.guard, py, mode, async move {
            let changes = core.changes_iter(uuid, from, to, resolution).await?;
            Ok(ChangeIterator::new(changes, mode))
        })
    }

    /// The version of each stream that was the latest at `time` by the server's clock.
    #[pyo3(signature = (uuids, time))]
    fn versions_at_time<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        uuids: Vec<Uuid>,
        time: Integer,
    ) -> PyResult<Bound<'py, PyAny>> {
        let work = move |core: pingthings_client::Client, uuid| async move {
            core.version_at_time(uuid, time.0).await
        };
        slf.fan_out(py, uuids, work, |version| version)
    }
}
