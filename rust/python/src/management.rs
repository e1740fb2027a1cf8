//! Retention, devices and units.

use pingthings_client::{CollectionRetention, Record, RecordKind};
use pyo3::prelude::*;
use uuid::Uuid;

use crate::{call::call, client::Client};

const fn kind(is_device: bool) -> RecordKind {
    if is_device {
        RecordKind::Device
    } else {
        RecordKind::Unit
    }
}

fn triple(record: Record) -> (i64, String, String) {
    (record.id, record.name, record.fields)
}

#[pymethods]
impl Client {
    /// For how many nanoseconds a stream keeps its points: by its own word, and in effect.
    fn stream_retention<'py>(&self, py: Python<'py>, uuid: Uuid) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core.clone();
        call(
            py,
            self.mode,
            async move { core.stream_retention(uuid).await },
        )
    }

    /// Sets for how many nanoseconds a stream keeps its points.
    fn set_stream_retention<'py>(
        &self,
        py: Python<'py>,
        uuid: Uuid,
        keep_ns: Option<i64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core.clone();
        call(py, self.mode, async move {
            core.set_stream_retention(uuid, keep_ns).await
        })
    }

    /// For how many nanoseconds a collection keeps points, and whether it overrides its streams.
    fn collection_retention<'py>(
        &self,
        py: Python<'py>,
        collection: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core.clone();
        call(py, self.mode, async move {
            let policy = core.collection_retention(collection).await?;
            Ok((policy.keep_ns, policy.overrides))
        })
    }

    /// Sets for how many nanoseconds a collection keeps points.
    fn set_collection_retention<'py>(
        &self,
        py: Python<'py>,
        collection: String,
        keep_ns: Option<i64>,
        overrides: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core.clone();
        let policy = CollectionRetention { keep_ns, overrides };
        call(py, self.mode, async move {
            core.set_collection_retention(collection, policy).await
        })
    }

    /// All devices, or units: id, name, and the other fields as the text of a JSON object.
    fn list_records<'py>(&self, py: Python<'py>, device: bool) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core.clone();
        call(py, self.mode, async move {
            let records = core.list_records(kind(device)).await?;
            Ok(records.into_iter().map(triple).collect::<Vec<_>>())
        })
    }

    /// One device, or unit.
    fn get_record<'py>(
        &self,
        py: Python<'py>,
        device: bool,
        id: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core.clone();
        call(py, self.mode, async move {
            core.record(kind(device), id).await.map(triple)
        })
    }

    /// Makes a device, or unit.
    fn create_record<'py>(
        &self,
        py: Python<'py>,
        device: bool,
        name: String,
        fields: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core.clone();
        call(py, self.mode, async move {
            core.create_record(kind(device), name, fields)
                .await
                .map(triple)
        })
    }

    /// Changes a device, or unit.
    fn update_record<'py>(
        &self,
        py: Python<'py>,
        device: bool,
        id: i64,
        name: Option<String>,
        fields: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core.clone();
        call(py, self.mode, async move {
            core.update_record(kind(device), id, name, fields)
                .await
                .map(triple)
        })
    }

    /// Removes a device, or unit.
    fn delete_record<'py>(
        &self,
        py: Python<'py>,
        device: bool,
        id: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core.clone();
        call(py, self.mode, async move {
            core.delete_record(kind(device), id).await
        })
    }
}
