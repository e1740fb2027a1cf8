//! Connections: TLS, limits on reading, and closing.
//!
//! The transport waits until the peer closes a connection. A peer that does not read its answer may
//! never do that, so the server can also close each connection itself.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::Connected;

use crate::acceptor::ConnectionSlot;
use crate::frames::OpenCalls;
use crate::goaway::ENHANCE_YOUR_CALM;
use crate::peer::{End, Peer, SLOW_TICK, UNLIMITED};
use crate::tls::Identity;

/// How long a peer may take for the TLS handshake, and then for the HTTP/2 connection preface.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// The length of the connection preface.
const PREFACE_BYTES: u64 = 24;
/// How long a peer may take to close a connection after the server has closed its side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum number of bytes to read before the calls in them are started. The transport reads
/// while bytes are available, and they may contain calls that are already cancelled.
const MAX_READ_BYTES: usize = 64 << 10;
/// The same for unauthorized connections, and for peers that cancel many calls.
const MAX_SUSPECT_BYTES: usize = 1 << 10;
/// The maximum number of cancelled calls to read before the other calls are started.
const MAX_CANCELLED: usize = 32;
/// The maximum number of bytes to read in each [`SLOW_TICK`] from a peer that was sent GOAWAY. A
/// peer that ignores the frame must not keep a processor busy.
const MAX_DISCARDED_BYTES: usize = 256 << 10;

enum Io {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

/// A connection. Reading and writing fail once it is cut.
pub(crate) struct Connection {
    io: Io,
    peer: Peer,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The time limit for the connection preface.
    preface_timeout: Option<Pin<Box<Sleep>>>,
    received: u64,
    /// The number of bytes read since calls were last started.
    taken: usize,
    /// The number of calls that these bytes cancel.
    cancelled: usize,
    /// The pause of the fault `slow_reader`.
    pause: Option<Pin<Box<Sleep>>>,
    /// The time limit for the peer to close the connection, once the server has closed its side.
    close_timeout: Option<Pin<Box<Sleep>>>,
    calls: OpenCalls,
    /// Set once the peer is to get GOAWAY.
    goaway: Option<GoAwayProgress>,
    _slot: ConnectionSlot,
}

/// The progress of ending a connection with GOAWAY.
struct GoAwayProgress {
    /// The number of bytes of the frame that were written.
    written: usize,
    /// Whether the server has closed its side.
    is_ended: bool,
    until: Pin<Box<Sleep>>,
    pause: Pin<Box<Sleep>>,
}

impl Connection {
    pub(crate) async fn open(
        io: TcpStream,
        addr: SocketAddr,
        tls: Option<Arc<Identity>>,
        mut cut: watch::Receiver<bool>,
        slot: ConnectionSlot,
    ) -> Option<Self> {
        let control = Arc::clone(&slot.control);
        // Without Nagle's algorithm small answers are sent at once. The connection also works if
        // the option cannot be set.
        if let Err(error) = io.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY on a connection");
        }
        let io = match tls {
            None => Io::Plain(io),
            Some(identity) => {
                let acceptor = TlsAcceptor::from(identity.config());
                let handshake = timeout(PREFACE_TIMEOUT, acceptor.accept(io));
                let ended = std::future::poll_fn(|cx| match control.poll_end(cx) {
                    End::Open => Poll::Pending,
                    _ => Poll::Ready(()),
                });
                let done = tokio::select! { done = handshake => done, () = ended => return None };
                match done {
                    Ok(Ok(io)) => Io::Tls(Box::new(io)),
                    Ok(Err(error)) => {
                        tracing::debug!(%addr, %error, "a TLS handshake failed");
                        return None;
                    }
                    Err(_) => return None,
                }
            }
        };
        Some(Self {
            io,
            peer: Peer { addr, control },
            cut: Box::pin(async move {
                let _ = cut.wait_for(|cut| *cut).await;
            }),
            preface_timeout: Some(Box::pin(sleep(PREFACE_TIMEOUT))),
            received: 0,
            taken: 0,
            cancelled: 0,
            pause: None,
            close_timeout: None,
            calls: OpenCalls::default(),
            goaway: None,
            _slot: slot,
        })
    }

    /// Fails once the connection is cut. The task is woken then.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.cut.as_mut().poll(cx).is_ready() {
            // A finished future must not be polled again. Its replacement is ready at every poll.
            self.cut = Box::pin(std::future::ready(()));
            return Err(closed("the server stopped"));
        }
        if let Some(preface_timeout) = &mut self.preface_timeout
            && preface_timeout.as_mut().poll(cx).is_ready()
        {
            self.preface_timeout = None;
            return Err(closed(
                "the peer did not send the connection preface in time",
            ));
        }
        match self.peer.control.poll_end(cx) {
            End::Open => Ok(()),
            End::GoAway => self.send_goaway(cx),
            End::Cut => Err(closed("the server closed the connection")),
        }
    }

    /// Sends GOAWAY after the current frame and closes the server's side. Fails once the peer has
    /// closed the connection too, or the time limit for that is over. The transport reads nothing
    /// any more.
    fn send_goaway(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut goaway = self.goaway.take().unwrap_or_else(|| {
            tracing::debug!(addr = %self.peer.addr, "too many wasted calls");
            GoAwayProgress {
                written: 0,
                is_ended: false,
                until: Box::pin(sleep(CLOSE_TIMEOUT)),
                pause: Box::pin(sleep(Duration::ZERO)),
            }
        });
        if goaway.until.as_mut().poll(cx).is_ready() {
            return Err(closed("too many wasted calls"));
        }
        if goaway.written == 0 && !self.calls.is_between_frames() {
            self.goaway = Some(goaway);
            return Ok(());
        }
        while goaway.written < ENHANCE_YOUR_CALM.len() {
            let rest = [io::IoSlice::new(&ENHANCE_YOUR_CALM[goaway.written..])];
            match self.write(cx, &rest) {
                Poll::Ready(count) => goaway.written += count?,
                Poll::Pending => break,
            }
        }
        if goaway.written == ENHANCE_YOUR_CALM.len() {
            goaway.is_ended = goaway.is_ended || self.end(cx)?.is_ready();
            while goaway.is_ended && goaway.pause.as_mut().poll(cx).is_ready() {
                goaway.pause = Box::pin(sleep(SLOW_TICK));
                if self.discard(cx, MAX_DISCARDED_BYTES).is_ready() {
                    return Err(closed("too many wasted calls"));
                }
            }
        }
        self.goaway = Some(goaway);
        Ok(())
    }

    /// Whether GOAWAY is being sent, so that nothing else may be sent.
    fn is_sending_goaway(&self) -> bool {
        self.goaway
            .as_ref()
            .is_some_and(|goaway| goaway.written > 0)
    }

    /// Reads and drops bytes until the peer closes the connection. Also pending after `max` bytes.
    ///
    /// If a socket is closed while it has unread bytes, the system resets the connection and drops
    /// the last answers. Clients send until they see the end, so the server has to read until then.
    fn discard(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<()> {
        let mut scratch = [0; 4096];
        let mut count = 0;
        while count < max {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(self.read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => count += buffer.filled().len(),
                _ => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    fn read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buffer),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_read(cx, buffer),
        }
    }

    fn end(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        let ended = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
        };
        match ended {
            Poll::Ready(ended) => ended.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
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

fn closed(why: &'static str) -> io::Error {
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
        if this.goaway.is_some() || !this.peer.control.has_room(this.calls.open()) {
            // The task is woken when a call ends.
            return Poll::Pending;
        }
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        let max_bytes = if this.peer.control.is_trusted() {
            MAX_READ_BYTES
        } else {
            MAX_SUSPECT_BYTES
        };
        if this.taken >= max_bytes || this.cancelled >= MAX_CANCELLED {
            this.taken = 0;
            this.cancelled = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let slow = this.peer.control.readable();
        let max = usize::try_from(slow).unwrap_or(usize::MAX);
        let room = (max_bytes - this.taken).min(max).min(buffer.remaining());
        let before = buffer.filled().len();
        if room == buffer.remaining() {
            ready!(this.read(cx, buffer))?;
        } else {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
            ready!(this.read(cx, &mut part))?;
            let count = part.filled().len();
            buffer.advance(count);
        }
        if slow != UNLIMITED {
            this.pause = Some(Box::pin(sleep(SLOW_TICK)));
        }
        let received = &buffer.filled()[before..];
        let cancelled = this.calls.received(received);
        if cancelled > 0 {
            this.cancelled += cancelled;
            this.peer.control.count_wasted_calls(cancelled);
        }
        this.taken += received.len();
        this.received += received.len() as u64;
        if this.received >= PREFACE_BYTES {
            this.preface_timeout = None;
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
        if this.is_sending_goaway() {
            return Poll::Pending;
        }
        let left = this.peer.control.sendable();
        if left == UNLIMITED {
            let written = ready!(this.write(cx, slices))?;
            let mut rest = written;
            for slice in slices {
                let part = rest.min(slice.len());
                this.calls.sent(&slice[..part]);
                rest -= part;
            }
            return Poll::Ready(Ok(written));
        }
        let max = usize::try_from(left).unwrap_or(usize::MAX);
        let first = slices.iter().find(|slice| !slice.is_empty());
        let part = first.map_or(&[][..], |slice| &slice[..slice.len().min(max)]);
        if part.is_empty() {
            return Poll::Ready(Err(closed("closed by an injected fault")));
        }
        let written = ready!(this.write(cx, &[io::IoSlice::new(part)]))?;
        this.calls.sent(&part[..written]);
        this.peer.control.cut_after(left - written as u64);
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

    /// Closes the connection once the peer has closed it too, or the time limit for that is over.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check(cx)?;
        if this.close_timeout.is_none() {
            ready!(this.end(cx)?);
        }
        let mut close_timeout = this.close_timeout.take();
        let until = close_timeout.get_or_insert_with(|| Box::pin(sleep(CLOSE_TIMEOUT)));
        if until.as_mut().poll(cx).is_pending() && this.discard(cx, usize::MAX).is_pending() {
            this.close_timeout = close_timeout;
            return Poll::Pending;
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
    use tokio::net::TcpListener;
    use tokio_stream::StreamExt;

    use super::*;
    use crate::acceptor::{Acceptor, ConnectionSlots};
    use crate::config::Limits;

    /// A connection, and the socket of its peer.
    async fn connected() -> (Connection, TcpStream, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let acceptor = Acceptor {
            tls: None,
            slots: ConnectionSlots::new(Limits::default(), Arc::default()),
        };
        let (cut, is_cut) = watch::channel(false);
        let (mut connections, _listening) = acceptor.open(Arc::new(listener), is_cut);
        let peer = TcpStream::connect(addr).await.unwrap();
        (connections.next().await.unwrap().unwrap(), peer, cut)
    }

    #[tokio::test]
    async fn an_answer_arrives_although_the_peer_is_still_sending() {
        let (mut connection, mut peer, _cut) = connected().await;
        // More than the socket buffers hold.
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
    async fn closing_does_not_wait_for_a_silent_peer_for_ever() {
        let (mut connection, _peer, _cut) = connected().await;
        let closing = timeout(10 * CLOSE_TIMEOUT, connection.shutdown()).await;
        closing.unwrap().unwrap();
    }
}
