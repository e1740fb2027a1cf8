//! A running server: start, address, stop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingthings_storage::{Engine, Options};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tonic::service::Routes;
use tonic::transport::server::Server as Transport;
use tonic::transport::{Identity, ServerTlsConfig};

use crate::auth::Auth;
use crate::connection::incoming;
use crate::service::Service;
use crate::{Config, Error, Storage, Tls};

/// Bytes a client may send ahead in one call: an insert should never wait for a window update.
const STREAM_WINDOW: u32 = 4 << 20;
/// Bytes a client may send ahead in all its calls together.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Calls a client may have open on one connection, unread answers included.
const CALLS_PER_CONNECTION: u32 = 1_024;
/// Calls that a client may have cancelled before the server came to look at them; one more costs
/// the connection. The transport allows 20, but here one cancelled query is many calls.
const RESETS_PER_CONNECTION: usize = 4_096;
/// How often a silent peer is asked whether it still lives; a dead one may hold unread answers.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// A running server. Dropping it stops it in the background; [`Server::stop`] also waits.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    // Sending or dropping it starts the end.
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), Error>>,
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
        let transport = transport(config.tls.as_ref())?;
        let engine = Arc::new(open(&config).await?);
        let failed = |source| Error::Listen {
            listen: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;

        let auth = Auth::new(config.api_keys, config.anonymous);
        let (working, idle) = mpsc::channel(1);
        let service = Service::new(Arc::clone(&engine), config.arrow, config.limits, working);
        let routes = Routes::new(service.into_grpc(auth));
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let served = serve(transport, routes, listener, stopped, config.grace).await;
            close(engine, idle).await?;
            served
        });
        tracing::info!(%addr, storage = ?config.storage, "serving");
        Ok(Self {
            addr,
            stop,
            serving,
        })
    }

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
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

fn transport(tls: Option<&Tls>) -> Result<Transport, Error> {
    let transport = Transport::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(CALLS_PER_CONNECTION)
        .http2_max_pending_accept_reset_streams(Some(RESETS_PER_CONNECTION))
        .http2_keepalive_interval(Some(KEEPALIVE));
    let Some(tls) = tls else {
        return Ok(transport);
    };
    let identity = Identity::from_pem(&tls.certificate, &tls.key);
    transport
        .tls_config(ServerTlsConfig::new().identity(identity))
        .map_err(Error::Certificate)
}

async fn open(config: &Config) -> Result<Engine, Error> {
    let storage = config.storage.clone();
    let clock = Arc::clone(&config.clock);
    let options = Options {
        durability: config.durability,
        ..Options::default()
    };
    let engine = spawn_blocking(move || match storage {
        Storage::Memory => Engine::in_memory(clock, options),
        Storage::Directory(path) => Engine::open_directory(&path, clock, options),
    });
    Ok(engine.await??)
}

/// Closes the storage once nobody works with it any more, and gives up its directory.
async fn close(engine: Arc<Engine>, mut idle: mpsc::Receiver<Infallible>) -> Result<(), Error> {
    // Calls whose clients are gone still finish the batch at hand.
    idle.recv().await;
    spawn_blocking(move || engine.close()).await??;
    tracing::info!("stopped");
    Ok(())
}

/// Serves until `stopped`, then ends in order: no new connections, then no calls in flight.
async fn serve(
    mut transport: Transport,
    routes: Routes,
    listener: TcpListener,
    stopped: oneshot::Receiver<()>,
    grace: Duration,
) -> Result<(), Error> {
    let (cut, is_cut) = watch::channel(false);
    let (ending, ended) = oneshot::channel();
    let transport = transport.add_routes(routes).serve_with_incoming_shutdown(
        incoming(listener, is_cut),
        async move {
            // A dropped sender asks for the same.
            let _ = stopped.await;
            let _ = ending.send(());
        },
    );
    let mut transport = std::pin::pin!(transport);
    tokio::select! {
        served = &mut transport => Ok(served?),
        () = async {
            let _ = ended.await;
            tokio::time::sleep(grace).await;
        } => {
            cut.send_replace(true);
            Ok(transport.await?)
        }
    }
}
