//! The class `Server`: the embedded server, started and stopped.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use parking_lot::Mutex;
use pingthings_client::{Error, ErrorKind};
use pingthings_server::{Config, Durability, Storage};
use pyo3::prelude::*;

use crate::{error::to_exception, runtime};

/// A running server, on threads of its own in this process.
#[pyclass(module = "pingthings.timeseries.pyo3_client", frozen)]
pub(crate) struct Server {
    running: Mutex<Option<Running>>,
    address: SocketAddr,
    /// The process that started it; a fork of that is another one.
    process: u32,
}

struct Running {
    server: pingthings_server::Server,
    tokio: tokio::runtime::Runtime,
}

#[pymethods]
impl Server {
    /// Starts a server; it accepts calls when this returns.
    #[staticmethod]
    #[pyo3(signature = (*, directory, host, port, api_keys, relaxed, arrow))]
    fn start(
        py: Python<'_>,
        directory: Option<PathBuf>,
        host: &str,
        port: u16,
        api_keys: Vec<String>,
        relaxed: bool,
        arrow: bool,
    ) -> PyResult<Self> {
        let listen = host.parse::<IpAddr>().map_err(|_| {
            let message = format!("cannot listen on `{host}`: give an IP address");
            failed(py, ErrorKind::InvalidArgument, message)
        })?;
        let config = Config {
            listen: SocketAddr::new(listen, port),
            storage: directory.map_or(Storage::Memory, Storage::Directory),
            durability: if relaxed {
                Durability::Relaxed
            } else {
                Durability::Synced
            },
            api_keys,
            arrow,
            ..Config::default()
        };
        let started = py.detach(|| {
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
            running: Mutex::new(Some(running)),
            process: std::process::id(),
        })
    }

    /// The address it listens on.
    #[getter]
    fn host(&self) -> String {
        self.address.ip().to_string()
    }

    /// The port it listens on.
    #[getter]
    fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whether it has not been stopped.
    #[getter]
    fn is_running(&self) -> bool {
        self.process == std::process::id() && self.running.lock().is_some()
    }

    /// Answers what it took, commits, and ends. Stopping twice is fine.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        if self.process != std::process::id() {
            // The parent's server: its threads are not here.
            return Ok(());
        }
        let stopped = py.detach(|| {
            let Some(Running { server, tokio }) = self.running.lock().take() else {
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
                format!("the server did not stop well: {error}"),
            )
        })
    }
}

fn failed(py: Python<'_>, kind: ErrorKind, message: String) -> PyErr {
    to_exception(py, &Error::new(kind, message))
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
