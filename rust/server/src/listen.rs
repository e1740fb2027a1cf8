//! Listening: the transport, and how it ends in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tonic::service::Routes;
use tonic::transport::server::Server as Transport;

use crate::Error;
use crate::door::Door;
use crate::entrance::Entrance;
use crate::fault::Command;

/// Bytes a client may send ahead in one call: an insert should never wait for a window update.
const STREAM_WINDOW: u32 = 4 << 20;
/// Bytes a client may send ahead in all its calls together.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// How much a client may send in one piece: four times what is usual, for fewer calls of the system.
const FRAME: u32 = 64 << 10;
/// Calls that a client may have cancelled before the server came to look at them; one more costs
/// the connection. The transport allows 20, but here one cancelled query is many calls.
const RESETS_PER_CONNECTION: usize = 4_096;
/// How often a silent peer is asked whether it still lives; a dead one may hold unread answers.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// How long binding an address again is tried: the last connection may still be closing.
const REBIND: Duration = Duration::from_millis(20);

/// What serves connections.
pub(crate) struct Listening {
    pub(crate) routes: Routes,
    pub(crate) door: Door,
    pub(crate) entrance: Entrance,
    pub(crate) addr: SocketAddr,
    pub(crate) grace: Duration,
    pub(crate) calls_per_connection: usize,
}

/// A transport with its connections. There is more than one only while old connections go away.
struct Generation {
    // Sending or dropping it starts the end.
    stop: oneshot::Sender<()>,
    cut: watch::Sender<bool>,
    /// Ends when nobody listens for this generation any more.
    listens: JoinHandle<()>,
}

type Serving = JoinSet<Result<(), Error>>;

impl Listening {
    /// Serves until `stopped`, then ends in order: no new connections, then no calls in flight.
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
        // Those that go away; each is cut at the end at the latest.
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
                    let _ = present.listens.await;
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
        let (connections, listens) = self.entrance.clone().open(Arc::clone(listener), is_cut);
        let transport = transport(self.calls_per_connection)
            .layer(self.door.clone())
            .add_routes(self.routes.clone());
        serving.spawn(async move {
            let stopped = async {
                // A dropped sender asks for the same.
                let _ = stopped.await;
            };
            let served = transport.serve_with_incoming_shutdown(connections, stopped);
            Ok(served.await?)
        });
        Generation { stop, cut, listens }
    }

    /// Waits for the calls in flight, and cuts the connections of those that take too long.
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

    /// Listens again where it listened before.
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
            tokio::time::sleep(REBIND).await;
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
        .max_frame_size(FRAME)
        .max_concurrent_streams(u32::try_from(calls).unwrap_or(u32::MAX))
        .http2_max_pending_accept_reset_streams(Some(RESETS_PER_CONNECTION))
        .http2_keepalive_interval(Some(KEEPALIVE))
}
