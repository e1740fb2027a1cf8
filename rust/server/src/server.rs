//! A running server: starting, stopping, and settings that change while it runs.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingthings_storage::{Engine, Options};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::acceptor::{Acceptor, ConnectionSlots, calls_per_connection};
use crate::account::Accounts;
use crate::auth::Auth;
use crate::budget::Budget;
use crate::call_layer::CallLayer;
use crate::decompress::Decompressor;
use crate::fault::{Command, Faults};
use crate::listener::Listener;
use crate::metrics::Metrics;
use crate::metrics_page::serve_metrics;
use crate::service::{Service, Shared};
use crate::supervisor::Supervisor;
use crate::tls::Identity;
use crate::{Config, Error, Fault, Storage};

/// A running server. Dropping it stops it in the background; [`Server::stop`] also waits.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    /// Sending to it or dropping it stops the server.
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), Error>>,
    faults: Arc<Faults>,
    wake: Arc<Notify>,
    missing: Vec<String>,
}

impl Server {
    /// Opens the storage and serves it on the current tokio runtime. The server accepts calls when
    /// this returns.
    ///
    /// # Errors
    /// If the configuration would be open to the network without a key, if the storage cannot be
    /// opened, or if the address is in use.
    pub async fn start(config: Config) -> Result<Self, Error> {
        config.check()?;
        let auth = Arc::new(Auth::new(&config)?);
        let identity = config.tls.clone().map(Identity::new).transpose()?;
        let identity = identity.map(Arc::new);
        let engine = Arc::new(open(&config).await?);
        let missing = missing(&engine);
        let listener = bind(config.listen).await?;
        let addr = listener
            .local_addr()
            .map_err(listen_failed(config.listen))?;
        let metrics_listener = match config.metrics {
            Some(metrics) => Some(bind(metrics).await?),
            None => None,
        };
        let metrics_addr = metrics_listener
            .as_ref()
            .and_then(|metrics_listener| metrics_listener.local_addr().ok());

        let metrics = Arc::new(Metrics::default());
        let (commands, received_commands) = mpsc::unbounded_channel();
        let faults = Arc::new(Faults::new(config.fault, commands));
        let wake = Arc::new(Notify::new());
        let (guard, idle) = mpsc::channel(1);
        let (stopping, is_stopping) = watch::channel(false);
        let shared = Shared::new(
            Arc::clone(&engine),
            config.limits.clone(),
            config.arrow,
            Arc::clone(&metrics),
            is_stopping,
            guard,
        );
        let service = Service::new(shared.with_clock(Arc::clone(&config.clock)));
        let layer = CallLayer {
            auth: Arc::clone(&auth),
            faults: Arc::clone(&faults),
            metrics: Arc::clone(&metrics),
            accounts: Arc::new(Accounts::new(config.limits.clone())),
            budget: Budget::new(config.limits.memory_bytes, Arc::clone(&metrics)),
            decompressor: Decompressor::new(),
            limits: Arc::new(config.limits.clone()),
        };
        let mut health = HealthReporter::new();
        let transport_listener = Listener {
            routes: routes(service, health.clone())?,
            layer,
            acceptor: Acceptor {
                tls: identity.clone(),
                slots: ConnectionSlots::new(config.limits.clone(), Arc::clone(&metrics)),
            },
            addr,
            grace: config.grace,
            calls_per_connection: calls_per_connection(&config.limits),
        };
        let supervisor = Supervisor {
            engine: Arc::clone(&engine),
            auth,
            identity,
            metrics: Arc::clone(&metrics),
            wake: Arc::clone(&wake),
        };
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let stopped = async move {
                // A dropped sender also stops the server.
                let _ = stopped.await;
                // Load balancers use other servers from now on, and health watches end.
                health
                    .set_service_status("", ServingStatus::NotServing)
                    .await;
                health.clear_service_status("").await;
                stopping.send_replace(true);
            };
            let serving_metrics = async {
                match metrics_listener {
                    Some(metrics_listener) => serve_metrics(metrics_listener, metrics).await,
                    None => std::future::pending().await,
                }
            };
            let served = tokio::select! {
                served = transport_listener.serve(listener, received_commands, stopped) => served,
                () = supervisor.run() => Ok(()),
                () = serving_metrics => Ok(()),
            };
            // This drops the services, so that only running calls still use the engine.
            drop(transport_listener);
            close(engine, idle).await?;
            served
        });
        tracing::info!(%addr, storage = ?config.storage, "serving");
        Ok(Self {
            addr,
            metrics_addr,
            stop,
            serving,
            faults,
            wake,
            missing,
        })
    }

    /// The address on which it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of the metrics for Prometheus, if they are served.
    pub const fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// What was missing from the directory if it was opened with [`Config::salvage`]: a sentence
    /// for each part.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Reads the key file and the certificate again at once, instead of within a second.
    pub fn reload(&self) {
        self.wake.notify_one();
    }

    /// Sets the fault to inject from now on, or none. The effects of earlier faults on open
    /// connections remain.
    ///
    /// # Errors
    /// If the fault names a call that does not exist.
    pub fn set_fault(&self, fault: Option<Fault>) -> Result<(), Error> {
        if let Some(fault) = &fault {
            fault.check()?;
        }
        self.faults.set(fault);
        Ok(())
    }

    /// Sends GOAWAY on all connections and serves new ones.
    pub fn go_away(&self) {
        self.faults.command(Command::GoAway);
    }

    /// Closes all connections and does not listen for some time. The data stay.
    pub fn interrupt(&self, down: Duration) {
        self.faults.command(Command::Restart(down));
    }

    /// Stops accepting calls, answers those in flight, commits every buffer and closes the storage.
    ///
    /// The connections of calls that take longer than [`Config::grace`] are closed.
    pub async fn stop(self) -> Result<(), Error> {
        // This fails only if the server has already ended. Its result contains the error then.
        let _ = self.stop.send(());
        self.serving.await?
    }
}

fn listen_failed(listen: SocketAddr) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Listen { listen, source }
}

async fn bind(listen: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(listen)
        .await
        .map_err(listen_failed(listen))
}

fn routes(service: Service, health: HealthReporter) -> Result<Routes, Error> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pingthings_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(
                tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
            )
            .include_reflection_service(false)
    };
    let failed = |error: tonic_reflection::server::Error| Error::Reflection(error.to_string());
    let health = HealthServer::new(HealthService::from_health_reporter(health));
    Ok(Routes::new(service.clone().into_grpc())
        .add_service(service.into_management())
        .add_service(health)
        .add_service(reflection().build_v1().map_err(failed)?)
        .add_service(reflection().build_v1alpha().map_err(failed)?))
}

async fn open(config: &Config) -> Result<Engine, Error> {
    let storage = config.storage.clone();
    let clock = Arc::clone(&config.clock);
    let options = Options {
        durability: config.durability,
        salvage: config.salvage,
        ..Options::default()
    };
    let engine = spawn_blocking(move || match storage {
        Storage::Memory => Engine::in_memory(clock, options),
        Storage::Directory(path) => Engine::open_directory(&path, clock, options),
    });
    Ok(engine.await??)
}

/// What salvage could not recover. It is logged too.
fn missing(engine: &Engine) -> Vec<String> {
    let missing: Vec<String> = engine.missing().iter().map(ToString::to_string).collect();
    for problem in &missing {
        tracing::error!(problem, "salvaged");
    }
    missing
}

/// Closes the storage once no call uses it any more.
async fn close(engine: Arc<Engine>, mut idle: mpsc::Receiver<Infallible>) -> Result<(), Error> {
    // Calls whose clients have disconnected still finish their current batch.
    idle.recv().await;
    spawn_blocking(move || engine.close()).await??;
    tracing::info!("stopped");
    Ok(())
}
