//! A running server: start, address, stop.

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

use crate::auth::Auth;
use crate::budget::Budget;
use crate::door::Door;
use crate::entrance::{Entrance, Places, calls_per_connection};
use crate::fault::{Command, Faults};
use crate::listen::Listening;
use crate::metrics::Metrics;
use crate::observe::observe;
use crate::owner::Owners;
use crate::service::{Service, Shared};
use crate::supervise::{Supervised, supervise};
use crate::tls::Identity;
use crate::unpack::Unpacker;
use crate::{Config, Error, Fault, Storage};

/// A running server. Dropping it stops it in the background; [`Server::stop`] also waits.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    // Sending or dropping it starts the end.
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), Error>>,
    faults: Arc<Faults>,
    wake: Arc<Notify>,
    missing: Vec<String>,
}

impl Server {
    /// Opens the storage and serves it, on the tokio runtime this is called from.
    ///
    /// When it returns, the server answers.
    ///
    /// # Errors
    /// If the configuration would serve strangers, the storage does not open, or the address is
    /// taken.
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
        let observed = match config.metrics {
            Some(metrics) => Some(bind(metrics).await?),
            None => None,
        };
        let metrics_addr = observed
            .as_ref()
            .and_then(|observed| observed.local_addr().ok());

        let metrics = Arc::new(Metrics::default());
        let (commands, told) = mpsc::unbounded_channel();
        let faults = Arc::new(Faults::new(config.fault, commands));
        let wake = Arc::new(Notify::new());
        let (working, idle) = mpsc::channel(1);
        let (stopping, is_stopping) = watch::channel(false);
        let shared = Shared::new(
            Arc::clone(&engine),
            config.limits.clone(),
            config.arrow,
            Arc::clone(&metrics),
            is_stopping,
            working,
        );
        let service = Service::new(shared.with_clock(Arc::clone(&config.clock)));
        let door = Door {
            auth: Arc::clone(&auth),
            faults: Arc::clone(&faults),
            metrics: Arc::clone(&metrics),
            owners: Arc::new(Owners::new(config.limits.clone())),
            budget: Budget::new(config.limits.memory_bytes, Arc::clone(&metrics)),
            unpacker: Unpacker::new(),
            limits: Arc::new(config.limits.clone()),
        };
        let mut health = HealthReporter::new();
        let listening = Listening {
            routes: routes(service, health.clone())?,
            door,
            entrance: Entrance {
                tls: identity.clone(),
                places: Places::new(config.limits.clone(), Arc::clone(&metrics)),
            },
            addr,
            grace: config.grace,
            calls_per_connection: calls_per_connection(&config.limits),
        };
        let supervised = Supervised {
            engine: Arc::clone(&engine),
            auth,
            identity,
            metrics: Arc::clone(&metrics),
            wake: Arc::clone(&wake),
        };
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let stopped = async move {
                // A dropped sender asks for the same.
                let _ = stopped.await;
                // Whoever balances load looks elsewhere, and what has no end by itself gets one.
                health
                    .set_service_status("", ServingStatus::NotServing)
                    .await;
                health.clear_service_status("").await;
                stopping.send_replace(true);
            };
            let beside = async {
                match observed {
                    Some(observed) => observe(observed, metrics).await,
                    None => std::future::pending().await,
                }
            };
            let served = tokio::select! {
                served = listening.serve(listener, told, stopped) => served,
                () = supervise(supervised) => Ok(()),
                () = beside => Ok(()),
            };
            // With it goes the last that may still use the engine.
            drop(listening);
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

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where Prometheus is answered, if it is.
    pub const fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// What was missing from the directory, a sentence each, if it was opened with
    /// [`Config::salvage`]; nothing otherwise.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Looks at the key file and the certificate now, and not only within a second.
    pub fn reload(&self) {
        self.wake.notify_one();
    }

    /// Sets what goes wrong from now on; `None` is nothing. What it did to connections stays.
    ///
    /// # Errors
    /// If it is to happen at a call that does not exist.
    pub fn set_fault(&self, fault: Option<Fault>) -> Result<(), Error> {
        if let Some(fault) = &fault {
            fault.check()?;
        }
        self.faults.set(fault);
        Ok(())
    }

    /// Tells all connections to go away, and serves new ones.
    pub fn go_away(&self) {
        self.faults.command(Command::GoAway);
    }

    /// Breaks all connections and does not listen for some time; the data stay.
    pub fn interrupt(&self, down: Duration) {
        self.faults.command(Command::Restart(down));
    }

    /// Stops accepting calls, answers those it took, commits every buffer and closes the storage.
    ///
    /// Calls that take longer than [`Config::grace`] lose their connection.
    pub async fn stop(self) -> Result<(), Error> {
        // Nobody listens only if serving has ended already, and then its result says why.
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

/// What salvage could not bring back; it is logged as well.
fn missing(engine: &Engine) -> Vec<String> {
    let missing: Vec<String> = engine.missing().iter().map(ToString::to_string).collect();
    for problem in &missing {
        tracing::error!(problem, "salvaged");
    }
    missing
}

/// Closes the storage once nobody works with it any more, and gives up its directory.
async fn close(engine: Arc<Engine>, mut idle: mpsc::Receiver<Infallible>) -> Result<(), Error> {
    // Calls whose clients are gone still finish the batch at hand.
    idle.recv().await;
    spawn_blocking(move || engine.close()).await??;
    tracing::info!("stopped");
    Ok(())
}
