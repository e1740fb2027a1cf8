//! The class `Client`: connecting, closing, settings and statistics.

#![allow(clippy::too_many_arguments, reason = "the signatures are Python's")]

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use pingthings_client::{ApiKey, Config, Endpoint, Error, Identity, Proxies, Route, Trace};
use pingthings_types::Code;
use pyo3::{
    prelude::*,
    types::{PyDict, PyTuple},
};

use crate::{
    call::{Mode, call},
    error::{self, to_exception},
    exit::{FirstArgument, Receiver},
};

/// Every status code of the protocol with its name.
#[pyfunction]
pub(crate) fn status_codes() -> BTreeMap<u32, &'static str> {
    Code::ALL
        .iter()
        .map(|code| (code.number(), code.name()))
        .collect()
}

fn seconds(what: &str, seconds: f64) -> Result<Duration, Error> {
    Duration::try_from_secs_f64(seconds).map_err(|error| {
        Error::new(
            pingthings_client::ErrorKind::InvalidArgument,
            format!("{what} of {seconds} s: {error}"),
        )
    })
}

/// Connects to the first endpoint that answers, and checks the API key.
///
/// `proxies` has four texts: the proxy for TLS, the proxy without TLS, the proxy for both, and the
/// hosts to connect to without a proxy. `identity` is a certificate and its private key.
#[pyfunction]
#[pyo3(signature = (endpoints, *, apikey, tls, require_tls, ca_bundle, identity, proxies,
                    concurrency_limit, memory_limit, connect_timeout_s, retry_for_s, blocking))]
pub(crate) fn connect<'py>(
    py: Python<'py>,
    endpoints: FirstArgument<Vec<String>>,
    apikey: Option<&str>,
    tls: Option<bool>,
    require_tls: bool,
    ca_bundle: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    proxies: (String, String, String, String),
    concurrency_limit: usize,
    memory_limit: u64,
    connect_timeout_s: f64,
    retry_for_s: f64,
    blocking: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let FirstArgument {
        value: endpoints,
        guard,
    } = endpoints;
    error::prepare(py)?;
    let config = || {
        let endpoints = endpoints.iter();
        let (https, http, all, no) = proxies;
        Ok(Config {
            endpoints: endpoints
                .map(|endpoint| Endpoint::parse(endpoint, tls))
                .collect::<Result<_, _>>()?,
            proxies: Proxies {
                https,
                http,
                all,
                no,
            },
            api_key: apikey.map(ApiKey::new).transpose()?,
            require_tls,
            ca_bundle,
            identity: identity.map(|(certificate, key)| Identity { certificate, key }),
            concurrency_limit,
            memory_limit,
            connect_timeout: seconds("a connect timeout", connect_timeout_s)?,
            retry_for: seconds("retries", retry_for_s)?,
            ..Config::default()
        })
    };
    let config = config().map_err(|error: Error| to_exception(py, &error))?;
    let mode = if blocking {
        Mode::Blocking
    } else {
        Mode::Async
    };
    call(&guard, py, mode, async move {
        let core = pingthings_client::Client::connect(config).await?;
        Ok(Client::new(core, mode))
    })
}

/// Host, port, whether TLS is used, whether the host is a loopback address, and the proxy. The
/// proxy is its host, its port, and the header with its credentials.
type RouteParts = (
    String,
    u16,
    bool,
    bool,
    Option<(String, u16, Option<String>)>,
);

/// Returns how [`connect`] would reach an endpoint. It opens no connection.
#[pyfunction]
pub(crate) fn route(
    py: Python<'_>,
    endpoint: FirstArgument<String>,
    proxies: (String, String, String, String),
) -> PyResult<RouteParts> {
    error::prepare(py)?;
    let (https, http, all, no) = proxies;
    let proxies = Proxies {
        https,
        http,
        all,
        no,
    };
    let found = Endpoint::parse(&endpoint.value, None)
        .and_then(|endpoint| Ok((Route::to(&endpoint, &proxies)?, endpoint)));
    let (route, endpoint) = found.map_err(|error| to_exception(py, &error))?;
    let proxy = route.proxy().map(|(host, port, authorization)| {
        (host.to_owned(), port, authorization.map(str::to_owned))
    });
    Ok((
        endpoint.host().to_owned(),
        endpoint.port(),
        endpoint.is_tls(),
        endpoint.is_loopback(),
        proxy,
    ))
}

/// A client of a server. Every call returns an awaitable, which is already finished if the client
/// is blocking.
#[pyclass(module = "pingthings.timeseries.pyo3_client", frozen)]
pub(crate) struct Client {
    pub(crate) core: pingthings_client::Client,
    pub(crate) mode: Mode,
    trace: Option<Arc<Trace>>,
}

impl Client {
    const fn new(core: pingthings_client::Client, mode: Mode) -> Self {
        Self {
            core,
            mode,
            trace: None,
        }
    }
}

impl Receiver<'_, Client> {
    /// Runs `work` for each item, converts the results, and returns them as one list.
    pub(crate) fn fan_out<'py, I, T, R, F>(
        &self,
        py: Python<'py>,
        items: Vec<I>,
        work: impl Fn(pingthings_client::Client, I) -> F + Send + Sync + 'static,
        convert: impl Fn(T) -> R + Send + 'static,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        I: Send + 'static,
        T: Send + 'static,
        R: for<'a> IntoPyObject<'a> + Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let core = self.core.for_call();
        call(&self.guard, py, self.mode, async move {
            let done = core.for_each(items, work).await?;
            Ok(done.into_iter().map(convert).collect::<Vec<_>>())
        })
    }
}

#[pymethods]
impl Client {
    /// This client with calls that wait for their result.
    fn blocking(&self) -> Self {
        Self::new(self.core.clone(), Mode::Blocking)
    }

    /// This client with calls that return asyncio futures.
    fn asynchronous(&self) -> Self {
        Self::new(self.core.clone(), Mode::Async)
    }

    /// This client with its own copy of the time limits. Changing them does not affect the
    /// original.
    fn with_own_time_limits(&self) -> Self {
        Self::new(self.core.with_own_time_limits(), self.mode)
    }

    /// This client for one traced call. Its requests carry these headers.
    fn traced(slf: Receiver<'_, Self>, headers: Vec<(String, String)>) -> Self {
        let trace = Arc::new(Trace::new(headers));
        Self {
            core: slf.core.traced(Arc::clone(&trace)),
            mode: slf.mode,
            trace: Some(trace),
        }
    }

    /// How many requests of the traced call were retried.
    #[getter]
    fn retries(&self) -> u64 {
        self.trace.as_ref().map_or(0, |trace| trace.retries())
    }

    /// Counts of calls and requests since the client was created.
    fn stats<'py>(slf: Receiver<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        Stats(slf.core.stats()).into_pyobject(py)
    }

    /// The servers, as `host:port`, separated by commas.
    #[getter]
    fn endpoint(&self) -> String {
        self.core.endpoint()
    }

    /// Whether the API key is sent to another machine without encryption.
    #[getter]
    fn exposes_key(&self) -> bool {
        self.core.exposes_key()
    }

    /// Whether the client was closed.
    #[getter]
    fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// The maximum number of requests in flight.
    #[getter]
    fn concurrency_limit(&self) -> usize {
        self.core.concurrency_limit()
    }

    #[setter]
    fn set_concurrency_limit(
        slf: Receiver<'_, Self>,
        py: Python<'_>,
        limit: usize,
    ) -> PyResult<()> {
        slf.core
            .set_concurrency_limit(limit)
            .map_err(|error| to_exception(py, &error))
    }

    /// The maximum size in bytes of received answers that are not yet returned to the caller.
    #[getter]
    fn memory_limit(&self) -> u64 {
        self.core.memory_limit()
    }

    #[setter]
    fn set_memory_limit(slf: Receiver<'_, Self>, py: Python<'_>, limit: u64) -> PyResult<()> {
        slf.core
            .set_memory_limit(limit)
            .map_err(|error| to_exception(py, &error))
    }

    /// The time limit of a whole call, in seconds.
    #[getter]
    fn deadline(&self) -> Option<f64> {
        self.core.deadline().map(|deadline| deadline.as_secs_f64())
    }

    #[setter]
    fn set_deadline(
        slf: Receiver<'_, Self>,
        py: Python<'_>,
        deadline: Option<f64>,
    ) -> PyResult<()> {
        let deadline = deadline
            .map(|deadline| seconds("a deadline", deadline))
            .transpose();
        slf.core
            .set_deadline(deadline.map_err(|error| to_exception(py, &error))?);
        Ok(())
    }

    /// The time limit for an answer, or for the next message of one, in seconds.
    #[getter]
    fn timeout(&self) -> Option<f64> {
        self.core.timeout().map(|timeout| timeout.as_secs_f64())
    }

    #[setter]
    fn set_timeout(slf: Receiver<'_, Self>, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let timeout = timeout
            .map(|timeout| seconds("a timeout", timeout))
            .transpose();
        slf.core
            .set_timeout(timeout.map_err(|error| to_exception(py, &error))?);
        Ok(())
    }

    /// Closes the client. Calls in flight and later calls fail.
    fn close(slf: Receiver<'_, Self>) {
        slf.core.close();
    }

    /// The versions and endpoints that the server reports.
    fn info<'py>(slf: Receiver<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let core = slf.core.for_call();
        call(&slf.guard, py, slf.mode, async move {
            core.info().await.map(Info)
        })
    }
}

/// Statistics, as two dicts: for each kind of call the numbers of started, succeeded, failed and
/// cancelled calls; and all other numbers by name.
struct Stats(pingthings_client::Stats);

impl<'py> IntoPyObject<'py> for Stats {
    type Target = PyTuple;
    type Output = Bound<'py, PyTuple>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let calls = PyDict::new(py);
        for (kind, n) in &self.0.calls {
            calls.set_item(kind, (n.started, n.succeeded, n.failed, n.cancelled))?;
        }
        let numbers = PyDict::new(py);
        for (name, number) in self.0.numbers() {
            numbers.set_item(name, number)?;
        }
        (calls, numbers).into_pyobject(py)
    }
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
