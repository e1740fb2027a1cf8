//! The class `Client`: one method per call of the core.

#![allow(
    clippy::too_many_arguments,
    clippy::needless_pass_by_value,
    reason = "the signatures are Python's, and PyO3 extracts by value"
)]

use std::{collections::BTreeMap, future::Future, time::Duration};

use arrow_schema::SchemaRef;
use pingthings_client::{
    ApiKey, Config, Endpoint, Error, Insert, NewStream, OnError, StreamFilter, Table, Wanted,
};
use pingthings_types::{Code, MergePolicy, PointWidth, TimeRange};
use pyo3::{prelude::*, types::PyDict};
use pyo3_arrow::{PySchema, PyTable};
use uuid::Uuid;

use crate::{
    arrow::{Outcomes, TableOut},
    call::{Mode, call},
    error::to_exception,
    runtime::Foreign,
};

/// A whole number of any size; one that no time, width or version could be becomes the nearest
/// that is none either, so that the core refuses it by its own rules.
#[derive(Clone, Copy)]
struct Integer(i64);

impl<'py> FromPyObject<'_, 'py> for Integer {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.extract::<i64>() {
            Ok(value) => Ok(Self(value)),
            Err(error)
                if error.is_instance_of::<pyo3::exceptions::PyOverflowError>(object.py()) =>
            {
                Ok(Self(if object.lt(0)? { i64::MIN } else { i64::MAX }))
            }
            Err(error) => Err(error),
        }
    }
}

/// What a stream is: the metadata and, where it was asked for, the version of its data.
#[pyclass(module = "pingthings.timeseries.pyo3_client", frozen, get_all)]
pub(crate) struct StreamInfo {
    uuid: Uuid,
    collection: String,
    tags: BTreeMap<String, String>,
    annotations: BTreeMap<String, Option<String>>,
    property_version: u64,
    version: Option<u64>,
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

/// Every status code of the protocol with its name.
#[pyfunction]
pub(crate) fn status_codes() -> BTreeMap<u32, &'static str> {
    Code::ALL
        .iter()
        .map(|code| (code.number(), code.name()))
        .collect()
}

/// Connects, and proves that the key is good.
#[pyfunction]
#[pyo3(signature = (endpoint, *, apikey, tls, require_tls, ca_bundle, concurrency_limit, connect_timeout_s, blocking))]
pub(crate) fn connect<'py>(
    py: Python<'py>,
    endpoint: &str,
    apikey: Option<&str>,
    tls: Option<bool>,
    require_tls: bool,
    ca_bundle: Option<Vec<u8>>,
    concurrency_limit: usize,
    connect_timeout_s: f64,
    blocking: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let config = || {
        Ok(Config {
            api_key: apikey.map(ApiKey::new).transpose()?,
            require_tls,
            ca_bundle,
            concurrency_limit,
            connect_timeout: Duration::try_from_secs_f64(connect_timeout_s).map_err(|error| {
                Error::new(
                    pingthings_client::ErrorKind::InvalidArgument,
                    format!("a connect timeout of {connect_timeout_s} s: {error}"),
                )
            })?,
            ..Config::new(Endpoint::parse(endpoint, tls)?)
        })
    };
    let config = config().map_err(|error: Error| to_exception(py, &error))?;
    let mode = if blocking {
        Mode::Blocking
    } else {
        Mode::Async
    };
    call(py, mode, async move {
        let core = pingthings_client::Client::connect(config).await?;
        Ok(Client { core, mode })
    })
}

/// A connection to a server. Every method returns an awaitable; those of the blocking face have
/// finished by then.
#[pyclass(module = "pingthings.timeseries.pyo3_client", frozen)]
pub(crate) struct Client {
    core: pingthings_client::Client,
    mode: Mode,
}

impl Client {
    /// One call over many streams.
    fn fan_out<'py, I, T, R, F>(
        &self,
        py: Python<'py>,
        items: Vec<I>,
        on_error: OnError,
        work: impl Fn(pingthings_client::Client, I) -> F + Send + Sync + 'static,
        convert: impl Fn(T) -> R + Send + 'static,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        I: Send + 'static,
        T: Send + 'static,
        R: for<'a> IntoPyObject<'a> + Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let core = self.core.clone();
        call(py, self.mode, async move {
            let outcomes = core.for_each(items, on_error, work).await?;
            Ok(Outcomes(
                outcomes
                    .into_iter()
                    .map(|outcome| outcome.map(&convert))
                    .collect(),
            ))
        })
    }
}

#[pymethods]
impl Client {
    /// The same client, whose calls wait until they have finished.
    fn blocking(&self) -> Self {
        Self {
            core: self.core.clone(),
            mode: Mode::Blocking,
        }
    }

    /// The same client, whose calls return asyncio futures.
    fn asynchronous(&self) -> Self {
        Self {
            core: self.core.clone(),
            mode: Mode::Async,
        }
    }

    /// The server, as `host:port`.
    #[getter]
    fn endpoint(&self) -> String {
        self.core.endpoint()
    }

    /// Whether an API key travels to another machine in clear text.
    #[getter]
    fn exposes_key(&self) -> bool {
        self.core.exposes_key()
    }

    /// Whether the client was closed.
    #[getter]
    fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// Most calls in flight at once.
    #[getter]
    fn concurrency_limit(&self) -> usize {
        self.core.concurrency_limit()
    }

    #[setter]
    fn set_concurrency_limit(&self, py: Python<'_>, limit: usize) -> PyResult<()> {
        self.core
            .set_concurrency_limit(limit)
            .map_err(|error| to_exception(py, &error))
    }

    /// Ends calls in flight with an error; later ones fail.
    fn close(&self) {
        self.core.close();
    }

    /// Who the server is.
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core.clone();
        call(py, self.mode, async move { core.info().await.map(Info) })
    }

    /// Makes a stream.
    fn create<'py>(
        &self,
        py: Python<'py>,
        uuid: Uuid,
        collection: String,
        tags: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core.clone();
        let stream = NewStream {
            uuid,
            collection,
            tags,
            annotations,
        };
        call(py, self.mode, async move { core.create(stream).await })
    }

    /// Metadata and version of each stream.
    #[pyo3(signature = (uuids, *, return_errors=false))]
    fn stream_info<'py>(
        &self,
        py: Python<'py>,
        uuids: Vec<Uuid>,
        return_errors: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let work =
            |core: pingthings_client::Client, uuid| async move { core.stream_info(uuid).await };
        self.fan_out(py, uuids, on_error(return_errors), work, StreamInfo::from)
    }

    /// The streams that meet all conditions.
    fn lookup_streams<'py>(
        &self,
        py: Python<'py>,
        collection: String,
        is_prefix: bool,
        tags: BTreeMap<String, Option<String>>,
        annotations: BTreeMap<String, Option<String>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core.clone();
        let filter = StreamFilter {
            collection,
            is_prefix,
            tags,
            annotations,
        };
        call(py, self.mode, async move {
            let streams = core.lookup_streams(filter).await?;
            Ok(streams
                .into_iter()
                .map(StreamInfo::from)
                .collect::<Vec<_>>())
        })
    }

    /// The collections whose names begin with `prefix`.
    fn list_collections<'py>(
        &self,
        py: Python<'py>,
        prefix: String,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core.clone();
        call(
            py,
            self.mode,
            async move { core.list_collections(prefix).await },
        )
    }

    /// The latest version of each stream.
    #[pyo3(signature = (uuids, *, return_errors=false))]
    fn latest_versions<'py>(
        &self,
        py: Python<'py>,
        uuids: Vec<Uuid>,
        return_errors: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let work = |core: pingthings_client::Client, uuid| async move { core.version(uuid).await };
        self.fan_out(py, uuids, on_error(return_errors), work, |version| {
            version.major
        })
    }

    /// Inserts a table into each stream; returns their versions.
    #[pyo3(signature = (data, merge, *, return_errors=false))]
    fn insert<'py>(
        &self,
        py: Python<'py>,
        data: Vec<(Uuid, PyTable)>,
        merge: &str,
        return_errors: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let policy: MergePolicy =
            merge
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
                Ok(insert?.owned_by(Foreign::new(batches)))
            })
            .collect::<Result<Vec<_>, Error>>()
            .map_err(|error| to_exception(py, &error))?;
        let work = move |core: pingthings_client::Client, insert| async move {
            core.insert(insert, policy).await
        };
        self.fan_out(py, inserts, on_error(return_errors), work, |version| {
            version.major
        })
    }

    /// Commits what is buffered in each stream; returns their versions.
    #[pyo3(signature = (uuids, *, return_errors=false))]
    fn flush<'py>(
        &self,
        py: Python<'py>,
        uuids: Vec<Uuid>,
        return_errors: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let work = |core: pingthings_client::Client, uuid| async move { core.flush(uuid).await };
        self.fan_out(py, uuids, on_error(return_errors), work, |version| {
            version.major
        })
    }

    /// Points of each stream, given with its version, in `[start, end)`.
    #[pyo3(signature = (streams, start, end, schema, *, return_errors=false))]
    fn raw_values<'py>(
        &self,
        py: Python<'py>,
        streams: Vec<(Uuid, u64)>,
        start: Integer,
        end: Integer,
        schema: Option<PySchema>,
        return_errors: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let range = range(py, start, end)?;
        let wanted = wanted(py, Wanted::raw, schema)?;
        let work = move |core: pingthings_client::Client, (uuid, version)| {
            let wanted = wanted.clone();
            async move { core.raw_values(uuid, range, version, &wanted).await }
        };
        self.fan_out(py, streams, on_error(return_errors), work, table)
    }

    /// Windows of 2^p ns of each stream in `[start, end)`.
    #[pyo3(signature = (streams, start, end, point_width, schema, *, return_errors=false))]
    fn aligned_windows<'py>(
        &self,
        py: Python<'py>,
        streams: Vec<(Uuid, u64)>,
        start: Integer,
        end: Integer,
        point_width: Integer,
        schema: Option<PySchema>,
        return_errors: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let range = range(py, start, end)?;
        let width = u32::try_from(point_width.0)
            .ok()
            .and_then(PointWidth::new)
            .ok_or_else(|| {
                let message = format!(
                    "a point width of {}: it must be between 0 and 63",
                    point_width.0
                );
                to_exception(py, &Error::refused(Code::InvalidPointWidth, message))
            })?;
        let wanted = wanted(py, Wanted::windows, schema)?;
        let work = move |core: pingthings_client::Client, (uuid, version)| {
            let wanted = wanted.clone();
            async move {
                core.aligned_windows(uuid, range, width, version, &wanted)
                    .await
            }
        };
        self.fan_out(py, streams, on_error(return_errors), work, table)
    }

    /// Windows of any length of each stream, from `start` on.
    #[pyo3(signature = (streams, start, end, width_ns, schema, *, return_errors=false))]
    fn precise_windows<'py>(
        &self,
        py: Python<'py>,
        streams: Vec<(Uuid, u64)>,
        start: Integer,
        end: Integer,
        width_ns: Integer,
        schema: Option<PySchema>,
        return_errors: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let range = range(py, start, end)?;
        let width = u64::try_from(width_ns.0)
            .ok()
            .filter(|&width| width > 0)
            .ok_or_else(|| {
                let message = format!(
                    "a window of {} ns: the width must be at least 1 ns",
                    width_ns.0
                );
                to_exception(py, &Error::refused(Code::InvalidPointWidth, message))
            })?;
        let wanted = wanted(py, Wanted::windows, schema)?;
        let work = move |core: pingthings_client::Client, (uuid, version)| {
            let wanted = wanted.clone();
            async move {
                core.precise_windows(uuid, range, width, version, &wanted)
                    .await
            }
        };
        self.fan_out(py, streams, on_error(return_errors), work, table)
    }

    /// The point of each stream nearest to `time`, as a pair, or `None`.
    #[pyo3(signature = (streams, time, backward, *, return_errors=false))]
    fn nearest<'py>(
        &self,
        py: Python<'py>,
        streams: Vec<(Uuid, u64)>,
        time: Integer,
        backward: bool,
        return_errors: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let work = move |core: pingthings_client::Client, (uuid, version)| async move {
            core.nearest(uuid, time.0, version, backward).await
        };
        self.fan_out(py, streams, on_error(return_errors), work, |point| {
            point.map(|point| (point.time, point.value))
        })
    }
}

const fn on_error(return_errors: bool) -> OnError {
    if return_errors {
        OnError::Return
    } else {
        OnError::Raise
    }
}

fn table(table: Table) -> TableOut {
    TableOut(table)
}

fn range(py: Python<'_>, start: Integer, end: Integer) -> PyResult<TimeRange> {
    TimeRange::new(start.0, end.0).map_err(|error| to_exception(py, &error.into()))
}

fn wanted(
    py: Python<'_>,
    read: impl Fn(Option<SchemaRef>) -> Result<Wanted, Error>,
    schema: Option<PySchema>,
) -> PyResult<Wanted> {
    read(schema.map(PySchema::into_inner)).map_err(|error| to_exception(py, &error))
}

struct Info(pingthings_client::Info);

impl<'py> IntoPyObject<'py> for Info {
    type Target = PyDict;
    type Output = Bound<'py, PyDict>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let proxy = PyDict::new(py);
        proxy.set_item("proxy_endpoints", self.0.proxy_endpoints)?;
        let info = PyDict::new(py);
        info.set_item("major_version", self.0.major_version)?;
        info.set_item("minor_version", self.0.minor_version)?;
        info.set_item("build", self.0.build)?;
        info.set_item("proxy", proxy)?;
        Ok(info)
    }
}
