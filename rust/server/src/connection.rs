//! Connections: how they are secured, and how they end.
//!
//! The transport waits for a connection until its peer is done with it. A peer that holds an
//! answer without reading it would never be, so each connection also ends when the server says so.

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

use crate::entrance::Place;
use crate::frames::Calls;
use crate::goaway::CALM_DOWN;
use crate::peer::{End, Peer, SLOW_TICK, UNLIMITED};
use crate::tls::Identity;

/// How long a peer has to send what every HTTP/2 connection begins with, and TLS before it.
const GREETING: Duration = Duration::from_secs(10);
/// What every HTTP/2 connection begins with is this long.
const GREETING_BYTES: u64 = 24;
/// How long a peer has to end a connection as well, after the server.
const FAREWELL: Duration = Duration::from_secs(2);
/// How much of what a peer sends is taken before the calls in it are begun. The transport reads for
/// as long as there is something, and what it reads may be calls that were given up already.
const BYTES_AT_ONCE: usize = 64 << 10;
/// The same of a stranger, and of who gives up most calls that he makes.
const BYTES_OF_SUSPECT: usize = 1 << 10;
/// Calls given up in what is taken; with more of them the others are begun first, too.
const GIVEN_UP_AT_ONCE: usize = 32;
/// How much is read of a peer that was told to calm down, in each [`SLOW_TICK`]: he who heard it stops,
/// and he who did not is not to keep a processor busy.
const BYTES_WHILE_CALMING: usize = 256 << 10;

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
    /// Bytes that were taken since calls were begun.
    taken: usize,
    /// Calls that were given up in them.
    given_up: usize,
    /// While a reader that is slow on purpose does not read.
    pause: Option<Pin<Box<Sleep>>>,
    /// Until when the peer must have ended it, once the server has.
    farewell: Option<Pin<Box<Sleep>>>,
    calls: Calls,
    /// Once the peer is told to calm down.
    calming: Option<Calming>,
    _place: Place,
}

/// How far telling a peer to calm down has come.
struct Calming {
    told: usize,
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
        place: Place,
    ) -> Option<Self> {
        let control = Arc::clone(&place.control);
        // Answers are small and waited for; a socket that refuses the option still works.
        if let Err(error) = io.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch off the delay of a connection");
        }
        let io = match tls {
            None => Io::Plain(io),
            Some(identity) => {
                let acceptor = TlsAcceptor::from(identity.config());
                let shaken = timeout(GREETING, acceptor.accept(io));
                let ended = std::future::poll_fn(|cx| match control.poll_end(cx) {
                    End::Open => Poll::Pending,
                    _ => Poll::Ready(()),
                });
                match tokio::select! { shaken = shaken => shaken, () = ended => return None } {
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
            greeting: Some(Box::pin(sleep(GREETING))),
            received: 0,
            taken: 0,
            given_up: 0,
            pause: None,
            farewell: None,
            calls: Calls::default(),
            calming: None,
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
        match self.peer.control.poll_end(cx) {
            End::Open => Ok(()),
            End::Calm => self.calm(cx),
            End::Cut => Err(broken("it gave way")),
        }
    }

    /// Tells the peer to calm down, as soon as what is being sent lets it, and fails once it was
    /// told and has ended the connection, or had the time for it. Nothing is read for the transport
    /// any more.
    fn calm(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut calming = self.calming.take().unwrap_or_else(|| {
            tracing::debug!(addr = %self.peer.addr, "too many calls in vain");
            Calming {
                told: 0,
                is_ended: false,
                until: Box::pin(sleep(FAREWELL)),
                pause: Box::pin(sleep(Duration::ZERO)),
            }
        });
        if calming.until.as_mut().poll(cx).is_ready() {
            return Err(broken("too many calls in vain"));
        }
        if calming.told == 0 && !self.calls.is_between_frames() {
            self.calming = Some(calming);
            return Ok(());
        }
        while calming.told < CALM_DOWN.len() {
            let rest = [io::IoSlice::new(&CALM_DOWN[calming.told..])];
            match self.write(cx, &rest) {
                Poll::Ready(count) => calming.told += count?,
                Poll::Pending => break,
            }
        }
        if calming.told == CALM_DOWN.len() {
            calming.is_ended = calming.is_ended || self.end(cx)?.is_ready();
            while calming.is_ended && calming.pause.as_mut().poll(cx).is_ready() {
                calming.pause = Box::pin(sleep(SLOW_TICK));
                if self.discard(cx, BYTES_WHILE_CALMING).is_ready() {
                    return Err(broken("too many calls in vain"));
                }
            }
        }
        self.calming = Some(calming);
        Ok(())
    }

    /// Whether the peer is being told, so that nothing else is to be sent or read.
    fn is_calming(&self) -> bool {
        self.calming
            .as_ref()
            .is_some_and(|calming| calming.told > 0)
    }

    /// Reads what nobody wants, until the peer ends the connection; pending, too, once it has read
    /// so much.
    ///
    /// To close a socket while something that came is unread breaks the connection: the system drops
    /// what it has not sent yet, and the last answers with it. Clients send until they see the end.
    fn discard(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<()> {
        let mut unwanted = [0; 4096];
        let mut count = 0;
        while count < most {
            let mut buffer = ReadBuf::new(&mut unwanted);
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
        if this.calming.is_some() || !this.peer.control.has_room(this.calls.open()) {
            // The task is woken once there is room.
            return Poll::Pending;
        }
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        let at_once = if this.peer.control.is_trusted() {
            BYTES_AT_ONCE
        } else {
            BYTES_OF_SUSPECT
        };
        if this.taken >= at_once || this.given_up >= GIVEN_UP_AT_ONCE {
            this.taken = 0;
            this.given_up = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let slow = this.peer.control.readable();
        let most = usize::try_from(slow).unwrap_or(usize::MAX);
        let room = (at_once - this.taken).min(most).min(buffer.remaining());
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
        let given_up = this.calls.received(received);
        if given_up > 0 {
            this.given_up += given_up;
            this.peer.control.count_in_vain(given_up);
        }
        this.taken += received.len();
        this.received += received.len() as u64;
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
        if this.is_calming() {
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
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let first = slices.iter().find(|slice| !slice.is_empty());
        let part = first.map_or(&[][..], |slice| &slice[..slice.len().min(most)]);
        if part.is_empty() {
            return Poll::Ready(Err(broken("cut on purpose")));
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

    /// Ends the connection once the peer has ended it too, or had the time for it.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check(cx)?;
        if this.farewell.is_none() {
            ready!(this.end(cx)?);
        }
        let mut farewell = this.farewell.take();
        let until = farewell.get_or_insert_with(|| Box::pin(sleep(FAREWELL)));
        if until.as_mut().poll(cx).is_pending() && this.discard(cx, usize::MAX).is_pending() {
            this.farewell = farewell;
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
    use crate::config::Limits;
    use crate::entrance::{Entrance, Places};

    /// A connection, and the socket of its peer.
    async fn connected() -> (Connection, TcpStream, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let entrance = Entrance {
            tls: None,
            places: Places::new(Limits::default(), Arc::default()),
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
