//! The class `Server`, which runs an embedded server, and functions for servers and their data.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use parking_lot::Mutex;
use pingthings_client::{Error, ErrorKind};
use pingthings_server::{Config, Durability, Fault, FaultKind, Limits, Role, Storage, Tls};
use pyo3::prelude::*;

use crate::{
    error::to_exception,
    exit::{self, FirstArgument, Receiver},
    runtime,
};

/// A server in this process, with its own threads.
#[pyclass(module = "pingthings.timeseries.pyo3_client", frozen)]
pub(crate) struct Server {
    running: Mutex<Option<Running>>,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    missing: Vec<String>,
    /// The id of the process that started it. The child of a fork must not stop the server.
    process: u32,
}

struct Running {
    server: pingthings_server::Server,
    tokio: tokio::runtime::Runtime,
}

/// A fault in Python: its kind, its amount (seconds or bytes), the calls it applies to, and how
/// often it occurs.
type FaultParts = (String, f64, Vec<String>, Option<u64>);

#[pymethods]
impl Server {
    /// Starts a server. It accepts calls when this returns.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is an option of the Python class"
    )]
    #[staticmethod]
    #[pyo3(signature = (*, directory, host, port, api_keys, key_file, anonymous, tls, relaxed,
                        salvage, arrow, metrics, memory_limit, fault, sql))]
    fn start(
        py: Python<'_>,
        directory: FirstArgument<Option<PathBuf>>,
        host: &str,
        port: u16,
        api_keys: Vec<String>,
        key_file: Option<PathBuf>,
        anonymous: Option<&str>,
        tls: Option<(PathBuf, PathBuf)>,
        relaxed: bool,
        salvage: bool,
        arrow: bool,
        metrics: Option<&str>,
        memory_limit: Option<usize>,
        fault: Option<FaultParts>,
        sql: (usize, usize),
    ) -> PyResult<Self> {
        let FirstArgument {
            value: directory,
            guard,
        } = directory;
        let listen = host.parse::<IpAddr>().map_err(|_| {
            let message = format!("cannot listen on `{host}`: give an IP address");
            failed(py, ErrorKind::InvalidArgument, message)
        })?;
        let limits = Limits::default();
        let config = Config {
            listen: SocketAddr::new(listen, port),
            storage: directory.map_or(Storage::Memory, Storage::Directory),
            durability: if relaxed {
                Durability::Relaxed
            } else {
                Durability::Synced
            },
            salvage,
            api_keys,
            key_file,
            anonymous: anonymous.is_some(),
            anonymous_role: anonymous.map_or(Ok(Role::Read), |name| role(py, name))?,
            tls: tls.map(|(certificate, key)| Tls::Files { certificate, key }),
            arrow,
            metrics: metrics.map(|at| socket_address(py, at)).transpose()?,
            fault: fault.map(|fault| self::fault(py, fault)).transpose()?,
            limits: Limits {
                sql_statements: sql.0,
                sql_memory: sql.1,
                memory_bytes: memory_limit.unwrap_or(limits.memory_bytes),
                ..limits
            },
            ..Config::default()
        };
        let started = guard.without_gil(py, || {
            let tokio = runtime::for_server().map_err(|error| error.to_string())?;
            let server = tokio
                .block_on(pingthings_server::Server::start(config))
                .map_err(|error| error.to_string())?;
            Ok::<_, String>(Running { server, tokio })
        });
        let running = started.map_err(|message| {
            failed(
                py,
                ErrorKind::Server,
                format!("the server cannot start: {message}"),
            )
        })?;
        Ok(Self {
            address: running.server.addr(),
            metrics: running.server.metrics_addr(),
            missing: running.server.missing().to_vec(),
            running: Mutex::new(Some(running)),
            process: std::process::id(),
        })
    }

    /// The IP address on which the server listens.
    #[getter]
    fn host(&self) -> String {
        self.address.ip().to_string()
    }

    /// The port on which the server listens.
    #[getter]
    fn port(&self) -> u16 {
        self.address.port()
    }

    /// The address of the metrics for Prometheus, if they are served.
    #[getter]
    fn metrics(&self) -> Option<String> {
        self.metrics.map(|metrics| metrics.to_string())
    }

    /// What was missing from a directory that was opened in salvage: a sentence for each part.
    #[getter]
    fn missing(&self) -> Vec<String> {
        self.missing.clone()
    }

    /// Whether the server runs in this process.
    #[getter]
    fn is_running(&self) -> bool {
        self.process == std::process::id() && self.running.lock().is_some()
    }

    /// Reads the key file and the certificate again.
    fn reload(&self) {
        if let Some(running) = &*self.running.lock() {
            running.server.reload();
        }
    }

    /// Sets the fault that the server simulates from now on.
    fn set_fault(
        slf: Receiver<'_, Self>,
        py: Python<'_>,
        fault: Option<FaultParts>,
    ) -> PyResult<()> {
        let fault = fault.map(|fault| self::fault(py, fault)).transpose()?;
        match &*slf.running.lock() {
            Some(running) => running
                .server
                .set_fault(fault)
                .map_err(|error| failed(py, ErrorKind::InvalidArgument, error.to_string())),
            None => Ok(()),
        }
    }

    /// Sends GOAWAY on all connections.
    fn go_away(&self) {
        if let Some(running) = &*self.running.lock() {
            running.server.go_away();
        }
    }

    /// Closes all connections and does not listen for `down` seconds.
    fn interrupt(slf: Receiver<'_, Self>, py: Python<'_>, down: f64) -> PyResult<()> {
        let down = seconds(py, down)?;
        if let Some(running) = &*slf.running.lock() {
            running.server.interrupt(down);
        }
        Ok(())
    }

    /// Answers the calls in flight, commits, and stops. Stopping it again does nothing.
    fn stop(slf: Receiver<'_, Self>, py: Python<'_>) -> PyResult<()> {
        if slf.process != std::process::id() {
            // The server belongs to the parent process, which has its threads.
            return Ok(());
        }
        let this = &*slf;
        let stopped = slf.guard.without_gil(py, || {
            let Some(Running { server, tokio }) = this.running.lock().take() else {
                return Ok(());
            };
            let stopped = tokio.block_on(server.stop());
            tokio.shutdown_background();
            stopped
        });
        stopped.map_err(|error| {
            failed(
                py,
                ErrorKind::Server,
                format!("the server stopped with an error: {error}"),
            )
        })
    }
}

/// Writes the log of the servers in this process to standard error from now on.
#[pyfunction]
pub(crate) fn log_to_stderr(
    py: Python<'_>,
    level: FirstArgument<&str>,
    as_json: bool,
) -> PyResult<()> {
    pingthings_server::log_to_stderr(level.value, as_json)
        .map_err(|error| failed(py, ErrorKind::InvalidArgument, error.to_string()))
}

/// Forgets old versions in a data directory and compacts its segments.
///
/// `progress` is called after each segment with the number of segments so far and their bytes
/// before and after. The result is the number of forgotten versions, the numbers of segments that
/// were examined, rewritten and removed, and the bytes before and after.
#[pyfunction]
pub(crate) fn compact(
    py: Python<'_>,
    directory: FirstArgument<PathBuf>,
    forget_older_than: Option<f64>,
    progress: &Bound<'_, PyAny>,
) -> PyResult<(usize, usize, usize, usize, u64, u64)> {
    let age = forget_older_than.map(|age| seconds(py, age)).transpose()?;
    let progress = progress.clone().unbind();
    let mut interrupted = None;
    let FirstArgument {
        value: directory,
        guard,
    } = directory;
    let compacted = guard.without_gil(py, || {
        pingthings_server::compact(&directory, age, &mut |so_far| {
            let arguments = (so_far.segments, so_far.bytes_before, so_far.bytes_after);
            exit::with_gil(|py| {
                if let Err(error) = progress.call1(py, arguments) {
                    interrupted.get_or_insert(error);
                }
            });
        })
        .map_err(|error| error.to_string())
    });
    let (forgotten, done) = compacted.map_err(|message| failed(py, ErrorKind::Server, message))?;
    match interrupted {
        Some(error) => Err(error),
        None => Ok((
            forgotten,
            done.segments,
            done.rewritten,
            done.removed,
            done.bytes_before,
            done.bytes_after,
        )),
    }
}

fn failed(py: Python<'_>, kind: ErrorKind, message: String) -> PyErr {
    to_exception(py, &Error::new(kind, message))
}

fn role(py: Python<'_>, name: &str) -> PyResult<Role> {
    Role::from_name(name).ok_or_else(|| {
        let message = format!("role `{name}`: give `read`, `write` or `admin`");
        failed(py, ErrorKind::InvalidArgument, message)
    })
}

fn socket_address(py: Python<'_>, text: &str) -> PyResult<SocketAddr> {
    text.parse().map_err(|_| {
        let message = format!("cannot listen on `{text}`: give an IP address and a port");
        failed(py, ErrorKind::InvalidArgument, message)
    })
}

fn seconds(py: Python<'_>, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| {
        let message = format!("{seconds} seconds: {error}");
        failed(py, ErrorKind::InvalidArgument, message)
    })
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float outside the range of u64 becomes the nearest u64, which has the same effect"
)]
fn fault(py: Python<'_>, (kind, amount, calls, times): FaultParts) -> PyResult<Fault> {
    let kind = match kind.as_str() {
        "delay" => FaultKind::Delay(seconds(py, amount)?),
        "hang" => FaultKind::Hang,
        "busy" => FaultKind::Busy,
        "cut" => FaultKind::Cut {
            after: amount as u64,
        },
        "go_away" => FaultKind::GoAway,
        "slow_reader" => FaultKind::SlowReader {
            bytes_per_second: amount as u64,
        },
        "restart" => FaultKind::Restart {
            down: seconds(py, amount)?,
        },
        other => {
            let message = format!("unknown fault `{other}`");
            return Err(failed(py, ErrorKind::InvalidArgument, message));
        }
    };
    Ok(Fault { kind, calls, times })
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.get_mut().take() {
            if self.process == std::process::id() {
                running.tokio.shutdown_background();
                drop(running.server);
            } else {
                std::mem::forget(running);
            }
        }
    }
}
