//! Streams and collections: creating, finding, describing and changing them.

#![allow(clippy::too_many_arguments, reason = "the signatures are Python's")]

use std::collections::BTreeMap;

use pingthings_client::{NewStream, StreamChange, StreamFilter};
use pyo3::{IntoPyObjectExt, prelude::*, types::PyBytes};
use uuid::Uuid;

use crate::{call::call, client::Client, exit::Receiver};

/// The metadata of a stream and, if the call requested it, its version.
#[pyclass(module = "pingthings.timeseries.pyo3_client", frozen)]
pub(crate) struct StreamInfo {
    uuid: Uuid,
    collection: String,
    tags: BTreeMap<String, String>,
    annotations: BTreeMap<String, Option<String>>,
    property_version: u64,
    version: Option<u64>,
}

#[pymethods]
impl StreamInfo {
    #[getter]
    fn uuid<'py>(slf: Receiver<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        slf.uuid.into_bound_py_any(py)
    }

    #[getter]
    fn collection(&self) -> &str {
        &self.collection
    }

    #[getter]
    fn tags<'py>(slf: Receiver<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        (&slf.tags).into_bound_py_any(py)
    }

    #[getter]
    fn annotations<'py>(slf: Receiver<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        (&slf.annotations).into_bound_py_any(py)
    }

    #[getter]
    const fn property_version(&self) -> u64 {
        self.property_version
    }

    #[getter]
    const fn version(&self) -> Option<u64> {
        self.version
    }
}

impl From<pingthings_client::StreamInfo> for StreamInfo {
    fn from(info: pingthings_client::StreamInfo) -> Self {
        Self {
            uuid: info.uuid,
            collection: info.collection,
            tags: info.tags,
            annotations: info.annotations,
            property_version: info.property_version,
            version: info.version.map(|version| version.major),
        }
    }
}

#[pymethods]
impl Client {
    /// Creates a stream.
    fn create<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        uuid: Uuid,
        collection: String,
        tags: BTreeMap<String, String>,
        annotations: BTreeMap<String, Option<String>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        let stream = NewStream {
            uuid,
            collection,
            tags,
            annotations,
        };
        call(&slf.guard, py, slf.mode, async move {
            core.create(stream).await
        })
    }

    /// Metadata and version of each stream.
    #[pyo3(signature = (uuids))]
    fn stream_info<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        uuids: Vec<Uuid>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let work =
            |core: pingthings_client::Client, uuid| async move { core.stream_info(uuid).await };
        slf.fan_out(py, uuids, work, StreamInfo::from)
    }

    /// The streams that match all conditions.
    fn lookup_streams<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        collection: String,
        is_prefix: bool,
        tags: BTreeMap<String, Option<String>>,
        annotations: BTreeMap<String, Option<String>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        let filter = StreamFilter {
            collection,
            is_prefix,
            tags,
            annotations,
        };
        call(&slf.guard, py, slf.mode, async move {
            let streams = core.lookup_streams(filter).await?;
            Ok(streams
                .into_iter()
                .map(StreamInfo::from)
                .collect::<Vec<_>>())
        })
    }

    /// The collections whose names begin with `prefix`.
    fn list_collections<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        prefix: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        call(&slf.guard, py, slf.mode, async move {
            core.list_collections(prefix).await
        })
    }

    /// The latest version of each stream.
    #[pyo3(signature = (uuids))]
    fn latest_versions<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        uuids: Vec<Uuid>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let work = |core: pingthings_client::Client, uuid| async move { core.version(uuid).await };
        slf.fan_out(py, uuids, work, |version| version.major)
    }

    /// Changes the metadata of a stream and returns the result.
    #[pyo3(signature = (uuid, expected, *, collection, tags, annotations, removed))]
    fn update<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        uuid: Uuid,
        expected: u64,
        collection: Option<String>,
        tags: BTreeMap<String, String>,
        annotations: BTreeMap<String, Option<String>>,
        removed: Vec<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        let change = StreamChange {
            expected,
            collection,
            tags,
            annotations,
            removed,
        };
        call(&slf.guard, py, slf.mode, async move {
            core.update(uuid, change).await.map(StreamInfo::from)
        })
    }

    /// Removes a stream and all its versions. Its uuid cannot be used again.
    fn obliterate<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        uuid: Uuid,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        call(&slf.guard, py, slf.mode, async move {
            core.obliterate(uuid).await
        })
    }

    /// The rows of a query, each as a JSON object.
    fn sql_query<'py>(
        slf: Receiver<'py, Self>,
        py: Python<'py>,
        query: String,
        params: Vec<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        call(&slf.guard, py, slf.mode, async move {
            let rows = core.sql_query(query, params).await?;
            Ok(rows.into_iter().map(Row).collect::<Vec<_>>())
        })
    }
}

struct Row(bytes::Bytes);

impl<'py> IntoPyObject<'py> for Row {
    type Target = PyBytes;
    type Output = Bound<'py, PyBytes>;
    type Error = std::convert::Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Self::Error> {
        Ok(PyBytes::new(py, &self.0))
    }
}
