//! Listening: starts and stops the transport.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tonic::service::Routes;
use tonic::transport::server::Server as Transport;

use crate::Error;
use crate::acceptor::Acceptor;
use crate::call_layer::CallLayer;
use crate::fault::Command;

/// The HTTP/2 window of a call, in bytes. An insert should never wait for a window update.
const STREAM_WINDOW: u32 = 4 << 20;
/// The HTTP/2 window of a connection, in bytes.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// The maximum length of a frame: four times the default, for fewer system calls.
const MAX_FRAME_BYTES: u32 = 64 << 10;
/// The maximum number of calls that a client may cancel before the server has started them. One
/// more closes the connection. The default of the transport is 20, but one cancelled query has many
/// calls.
const RESETS_PER_CONNECTION: usize = 4_096;
/// How often a silent peer is pinged. Unread answers of a dead peer would stay in memory.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// How long to wait between attempts to bind the address again. Old connections may still be
/// closing.
const REBIND_DELAY: Duration = Duration::from_millis(20);

/// Serves connections on an address.
pub(crate) struct Listener {
    pub(crate) routes: Routes,
    pub(crate) layer: CallLayer,
    pub(crate) acceptor: Acceptor,
    pub(crate) addr: SocketAddr,
    pub(crate) grace: Duration,
    pub(crate) calls_per_connection: usize,
}

/// A transport with its connections. There are several only while old connections end after GOAWAY.
struct Generation {
    /// Sending to it or dropping it stops the transport.
    stop: oneshot::Sender<()>,
    /// Sending true closes the connections.
    cut: watch::Sender<bool>,
    /// The task that accepts connections.
    accepting: JoinHandle<()>,
}

/// The tasks of the transports.
type Serving = JoinSet<Result<(), Error>>;

impl Listener {
    /// Serves until `stopped`. Then it closes the port and waits for the calls in flight.
    pub(crate) async fn serve(
        &self,
        listener: TcpListener,
        mut commands: mpsc::UnboundedReceiver<Command>,
        stopped: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let mut stopped = std::pin::pin!(stopped);
        let mut serving = Serving::new();
        let mut listener = Arc::new(listener);
        let mut present = self.begin(&listener, &mut serving);
        // The older generations. Their connections are closed at the end at the latest.
        let mut leaving: Vec<watch::Sender<bool>> = Vec::new();
        loop {
            let command = tokio::select! {
                () = &mut stopped => break,
                Some(command) = commands.recv() => command,
            };
            leaving.retain(|cut| !cut.is_closed());
            while let Some(ended) = serving.try_join_next() {
                result(ended)?;
            }
            match command {
                Command::GoAway => {
                    let next = self.begin(&listener, &mut serving);
                    let last = std::mem::replace(&mut present, next);
                    let _ = last.stop.send(());
                    leaving.push(last.cut);
                }
                Command::Restart(down) => {
                    drop(listener);
                    for cut in leaving.drain(..) {
                        cut.send_replace(true);
                    }
                    present.cut.send_replace(true);
                    let _ = present.stop.send(());
                    let _ = present.accepting.await;
                    tracing::info!(?down, "not listening");
                    tokio::select! {
                        () = &mut stopped => return self.end(leaving, serving).await,
                        () = tokio::time::sleep(down) => {}
                    }
                    listener = Arc::new(self.rebind().await?);
                    present = self.begin(&listener, &mut serving);
                }
            }
        }
        drop(listener);
        let _ = present.stop.send(());
        leaving.push(present.cut);
        self.end(leaving, serving).await
    }

    fn begin(&self, listener: &Arc<TcpListener>, serving: &mut Serving) -> Generation {
        let (cut, is_cut) = watch::channel(false);
        let (stop, stopped) = oneshot::channel();
        let (connections, accepting) = self.acceptor.clone().open(Arc::clone(listener), is_cut);
        let transport = transport(self.calls_per_connection)
            .layer(self.layer.clone())
            .add_routes(self.routes.clone());
        serving.spawn(async move {
            let stopped = async {
                // A dropped sender also stops the transport.
                let _ = stopped.await;
            };
            let served = transport.serve_with_incoming_shutdown(connections, stopped);
            Ok(served.await?)
        });
        Generation {
            stop,
            cut,
            accepting,
        }
    }

    /// Waits for the calls in flight for the grace period, then closes the remaining connections.
    async fn end(&self, cuts: Vec<watch::Sender<bool>>, mut serving: Serving) -> Result<(), Error> {
        let all = async |serving: &mut Serving| {
            while let Some(ended) = serving.join_next().await {
                result(ended)?;
            }
            Ok(())
        };
        if let Ok(ended) = tokio::time::timeout(self.grace, all(&mut serving)).await {
            return ended;
        }
        for cut in cuts {
            cut.send_replace(true);
        }
        all(&mut serving).await
    }

    /// Listens on the same address again.
    async fn rebind(&self) -> Result<TcpListener, Error> {
        let mut tries = 0;
        loop {
            match TcpListener::bind(self.addr).await {
                Ok(listener) => return Ok(listener),
                Err(_) if tries < 100 => tries += 1,
                Err(source) => {
                    let listen = self.addr;
                    return Err(Error::Listen { listen, source });
                }
            }
            tokio::time::sleep(REBIND_DELAY).await;
        }
    }
}

fn result(ended: Result<Result<(), Error>, JoinError>) -> Result<(), Error> {
    ended?
}

fn transport(calls: usize) -> Transport {
    Transport::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_concurrent_streams(u32::try_from(calls).unwrap_or(u32::MAX))
        .http2_max_pending_accept_reset_streams(Some(RESETS_PER_CONNECTION))
        .http2_keepalive_interval(Some(KEEPALIVE))
}
