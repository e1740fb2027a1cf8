//! Retention, devices and units.

use pingthings_client::{CollectionRetention, Record, RecordKind};
use pyo3::{exceptions::PyValueError, prelude::*};
use uuid::Uuid;

use crate::{call::call, client::Client, exit::Receiver};

/// `device` or `unit`.
#[derive(Clone, Copy)]
struct Kind(RecordKind);

impl FromPyObject<'_, '_> for Kind {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match object.extract::<&str>()? {
            "device" => Ok(Self(RecordKind::Device)),
            "unit" => Ok(Self(RecordKind::Unit)),
            other => Err(PyValueError::new_err(format!(
                "unknown kind of record `{other}`: use `device` or `unit`"
            ))),
        }
    }
}

fn record_tuple(record: Record) -> (i64, String, String) {
    (record.id, record.name, record.fields)
}

#[pymethods]
impl Client {
    /// The retention of a stream in nanoseconds: its own setting, and the one in effect.
    fn stream_retention<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        uuid: Uuid,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        call(&slf.guard, py, slf.mode, async move {
            core.stream_retention(uuid).await
        })
    }

    /// Sets the retention of a stream in nanoseconds.
    fn set_stream_retention<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        uuid: Uuid,
        keep_ns: Option<i64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        call(&slf.guard, py, slf.mode, async move {
            core.set_stream_retention(uuid, keep_ns).await
        })
    }

    /// The retention of a collection in nanoseconds, and whether it overrides that of its streams.
    fn collection_retention<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        collection: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        call(&slf.guard, py, slf.mode, async move {
            let policy = core.collection_retention(collection).await?;
            Ok((policy.keep_ns, policy.overrides))
        })
    }

    /// Sets the retention of a collection in nanoseconds.
    fn set_collection_retention<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        collection: String,
        keep_ns: Option<i64>,
        overrides: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        let policy = CollectionRetention { keep_ns, overrides };
        call(&slf.guard, py, slf.mode, async move {
            core.set_collection_retention(collection, policy).await
        })
    }

    /// All devices or units: id, name, and the other fields as a JSON object.
    fn list_records<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        kind: Kind,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        call(&slf.guard, py, slf.mode, async move {
            let records = core.list_records(kind.0).await?;
            Ok(records.into_iter().map(record_tuple).collect::<Vec<_>>())
        })
    }

    /// A device or unit.
    fn get_record<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        kind: Kind,
        record_id: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        call(&slf.guard, py, slf.mode, async move {
            core.record(kind.0, record_id).await.map(record_tuple)
        })
    }

    /// Creates a device or unit.
    fn create_record<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        kind: Kind,
        name: String,
        fields: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        call(&slf.guard, py, slf.mode, async move {
            core.create_record(kind.0, name, fields)
                .await
                .map(record_tuple)
        })
    }

    /// Changes a device or unit.
    fn update_record<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        kind: Kind,
        record_id: i64,
        name: Option<String>,
        fields: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        call(&slf.guard, py, slf.mode, async move {
            core.update_record(kind.0, record_id, name, fields)
                .await
                .map(record_tuple)
        })
    }

    /// Removes a device or unit.
    fn delete_record<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        kind: Kind,
        record_id: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        call(&slf.guard, py, slf.mode, async move {
            core.delete_record(kind.0, record_id).await
        })
    }
}
