//! Connections that the server can cut.
//!
//! The transport waits for a connection until its peer is done with it. A peer that holds an
//! answer without reading it would never be, so each connection also ends when the server says so.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// A connection that fails once it is cut.
pub(crate) struct Connection {
    io: TcpStream,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// The connections that arrive at `listener`; all are cut when `cut` turns true or its sender goes.
pub(crate) fn incoming(
    listener: TcpListener,
    cut: watch::Receiver<bool>,
) -> impl Stream<Item = io::Result<Connection>> {
    stream::unfold((listener, cut), |(listener, cut)| async {
        let io = accept(&listener).await;
        let connection = Connection::new(io, cut.clone());
        Some((Ok(connection), (listener, cut)))
    })
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((io, _)) => return io,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Most likely no file descriptor is free; trying at once would only burn time.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Connection {
    fn new(io: TcpStream, mut cut: watch::Receiver<bool>) -> Self {
        // Answers are small and waited for; a socket that refuses the option still works.
        if let Err(error) = io.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch off the delay of a connection");
        }
        Self {
            io,
            cut: Box::pin(async move {
                let _ = cut.wait_for(|cut| *cut).await;
            }),
        }
    }

    /// The socket, or the error that says it was cut; wakes the task when it is.
    fn io(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            // A future that has ended must not be polled again, but a cut one stays cut.
            self.cut = Box::pin(std::future::ready(()));
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the server stopped",
            ));
        }
        Ok(Pin::new(&mut self.io))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.io(cx)?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io(cx)?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io(cx)?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.io.connect_info()
    }
}
