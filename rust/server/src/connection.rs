//! Connections: how many there may be, how they are secured, and how they end.
//!
//! The transport waits for a connection until its peer is done with it. A peer that holds an
//! answer without reading it would never be, so each connection also ends when the server says so.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::metrics::Metrics;
use crate::tls::Identity;

/// How long a peer has to send what every HTTP/2 connection begins with, and TLS before it.
const GREETING: Duration = Duration::from_secs(10);
/// What every HTTP/2 connection begins with is this long.
const GREETING_BYTES: u64 = 24;
/// How long a peer has to end a connection as well, after the server.
const FAREWELL: Duration = Duration::from_secs(2);
/// Connections that are ready and not taken by the transport yet.
const READY: usize = 16;
/// Stands for no limit.
const UNLIMITED: u64 = u64::MAX;
/// How often a reader that is slow on purpose reads.
const SLOW_TICK: Duration = Duration::from_millis(50);

/// What can be done to a connection from outside.
#[derive(Debug)]
pub(crate) struct Control {
    /// Bytes that are still sent before it breaks.
    sendable: AtomicU64,
    /// Bytes that are read from it in each [`SLOW_TICK`].
    readable: AtomicU64,
}

impl Control {
    /// Breaks the connection after so many more bytes.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.sendable.store(bytes, Ordering::Relaxed);
    }

    /// Reads no faster from now on.
    pub(crate) fn slow_down(&self, bytes_per_second: u64) {
        let ticks = Duration::from_secs(1).as_millis() / SLOW_TICK.as_millis();
        let bytes = bytes_per_second / u64::try_from(ticks).unwrap_or(1);
        self.readable.store(bytes.max(1), Ordering::Relaxed);
    }
}

/// Who called, and by which connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    pub(crate) control: Arc<Control>,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

/// A connection that fails once it is cut.
pub(crate) struct Connection {
    io: Io,
    peer: Peer,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Until when the peer must have greeted.
    greeting: Option<Pin<Box<Sleep>>>,
    received: u64,
    /// While a reader that is slow on purpose does not read.
    pause: Option<Pin<Box<Sleep>>>,
    /// Until when the peer must have ended it, once the server has.
    farewell: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

/// One of the connections there may be.
struct Place {
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where connections come from.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) tls: Option<Arc<Identity>>,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Entrance {
    /// The connections that arrive at `listener`; all are cut when `cut` turns true or its sender
    /// goes. Listening ends, and the task with it, when the stream is dropped.
    pub(crate) fn open(
        self,
        listener: Arc<TcpListener>,
        cut: watch::Receiver<bool>,
    ) -> (ReceiverStream<io::Result<Connection>>, JoinHandle<()>) {
        let (ready, connections) = mpsc::channel(READY);
        let task = tokio::spawn(self.listen(listener, cut, ready));
        (ReceiverStream::new(connections), task)
    }

    async fn listen(
        self,
        listener: Arc<TcpListener>,
        cut: watch::Receiver<bool>,
        ready: mpsc::Sender<io::Result<Connection>>,
    ) {
        loop {
            let (io, addr) = tokio::select! {
                () = ready.closed() => return,
                accepted = accept(&listener) => accepted,
            };
            let Some(place) = self.place() else {
                tracing::debug!(%addr, "too many connections");
                continue;
            };
            let (tls, cut) = (self.tls.clone(), cut.clone());
            let opened = async move { Connection::open(io, addr, tls, cut, place).await };
            if self.tls.is_none() {
                // Nothing to wait for but room.
                if let Some(connection) = opened.await
                    && ready.send(Ok(connection)).await.is_err()
                {
                    return;
                }
                continue;
            }
            // A handshake takes as long as its peer likes.
            let ready = ready.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = ready.closed() => {}
                    opened = opened => if let Some(connection) = opened {
                        // If this fails, the server stops.
                        let _ = ready.send(Ok(connection)).await;
                    }
                }
            });
        }
    }

    fn place(&self) -> Option<Place> {
        let metrics = &self.metrics;
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else {
            metrics.connections_refused.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        metrics.connections.fetch_add(1, Ordering::Relaxed);
        Some(Place {
            metrics: Arc::clone(metrics),
            _permit: permit,
        })
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Most likely no file descriptor is free; trying at once would only burn time.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Connection {
    async fn open(
        io: TcpStream,
        addr: SocketAddr,
        tls: Option<Arc<Identity>>,
        mut cut: watch::Receiver<bool>,
        place: Place,
    ) -> Option<Self> {
        // Answers are small and waited for; a socket that refuses the option still works.
        if let Err(error) = io.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch off the delay of a connection");
        }
        let io = match tls {
            None => Io::Plain(io),
            Some(identity) => {
                let acceptor = TlsAcceptor::from(identity.config());
                match timeout(GREETING, acceptor.accept(io)).await {
                    Ok(Ok(io)) => Io::Tls(Box::new(io)),
                    Ok(Err(error)) => {
                        tracing::debug!(%addr, %error, "a TLS handshake failed");
                        return None;
                    }
                    Err(_) => return None,
                }
            }
        };
        let control = Control {
            sendable: AtomicU64::new(UNLIMITED),
            readable: AtomicU64::new(UNLIMITED),
        };
        Some(Self {
            io,
            peer: Peer {
                addr,
                control: Arc::new(control),
            },
            cut: Box::pin(async move {
                let _ = cut.wait_for(|cut| *cut).await;
            }),
            greeting: Some(Box::pin(sleep(GREETING))),
            received: 0,
            pause: None,
            farewell: None,
            _place: place,
        })
    }

    /// Fails once it was cut; wakes the task when it is.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.cut.as_mut().poll(cx).is_ready() {
            // A future that has ended must not be polled again, but a cut one stays cut.
            self.cut = Box::pin(std::future::ready(()));
            return Err(broken("the server stopped"));
        }
        if let Some(greeting) = &mut self.greeting
            && greeting.as_mut().poll(cx).is_ready()
        {
            self.greeting = None;
            return Err(broken("the peer did not greet in time"));
        }
        Ok(())
    }

    fn read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buffer),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_read(cx, buffer),
        }
    }

    fn end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
        }
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write_vectored(cx, slices),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_write_vectored(cx, slices),
        }
    }
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, why)
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check(cx)?;
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        let most = this.peer.control.readable.load(Ordering::Relaxed);
        let before = buffer.filled().len();
        if most == UNLIMITED {
            ready!(this.read(cx, buffer))?;
        } else {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let room = buffer.remaining().min(most);
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
            ready!(this.read(cx, &mut part))?;
            let count = part.filled().len();
            buffer.advance(count);
            this.pause = Some(Box::pin(sleep(SLOW_TICK)));
        }
        this.received += (buffer.filled().len() - before) as u64;
        if this.received >= GREETING_BYTES {
            this.greeting = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check(cx)?;
        let left = this.peer.control.sendable.load(Ordering::Relaxed);
        if left == UNLIMITED {
            return this.write(cx, slices);
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let first = slices.iter().find(|slice| !slice.is_empty());
        let part = first.map_or(&[][..], |slice| &slice[..slice.len().min(most)]);
        if part.is_empty() {
            return Poll::Ready(Err(broken("cut on purpose")));
        }
        let written = ready!(this.write(cx, &[io::IoSlice::new(part)]))?;
        let control = &this.peer.control;
        control
            .sendable
            .store(left - written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_flush(cx),
        }
    }

    /// Ends the connection once the peer has ended it too, or had the time for it.
    ///
    /// To close a socket while something that came is unread breaks the connection: the system drops
    /// what it has not sent yet, and the last answers with it. Clients send until they see the end.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check(cx)?;
        if this.farewell.is_none() {
            ready!(this.end(cx))?;
        }
        let mut farewell = this.farewell.take();
        let until = farewell.get_or_insert_with(|| Box::pin(sleep(FAREWELL)));
        let mut unwanted = [0; 4096];
        while until.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut unwanted);
            let read = this.read(cx, &mut buffer);
            if read.is_pending() {
                this.farewell = farewell;
                return Poll::Pending;
            }
            if matches!(read, Poll::Ready(Err(_))) || buffer.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_stream::StreamExt;

    use super::*;

    /// A connection, and the socket of its peer.
    async fn connected() -> (Connection, TcpStream, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let entrance = Entrance {
            tls: None,
            places: Arc::new(Semaphore::new(1)),
            metrics: Arc::default(),
        };
        let (cut, is_cut) = watch::channel(false);
        let (mut connections, _listening) = entrance.open(Arc::new(listener), is_cut);
        let peer = TcpStream::connect(addr).await.unwrap();
        (connections.next().await.unwrap().unwrap(), peer, cut)
    }

    #[tokio::test]
    async fn what_was_sent_arrives_though_the_peer_went_on_sending() {
        let (mut connection, mut peer, _cut) = connected().await;
        // More than the peer's system takes before anybody reads.
        let answer = vec![7; 1 << 20];
        peer.write_all(b"more windows").await.unwrap();
        let sent = answer.clone();
        let closing = tokio::spawn(async move {
            connection.write_all(&sent).await.unwrap();
            connection.shutdown().await.unwrap();
        });
        sleep(Duration::from_millis(50)).await;
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        assert!(read == answer, "{} bytes of {}", read.len(), answer.len());
        drop(peer);
        closing.await.unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_does_not_end_it_is_not_waited_for() {
        let (mut connection, _peer, _cut) = connected().await;
        let closing = timeout(10 * FAREWELL, connection.shutdown()).await;
        closing.unwrap().unwrap();
    }
}
