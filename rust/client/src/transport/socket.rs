//! The socket of a connection, which counts its bytes.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{stats::Counters, transport::socket_state::SocketState};

/// An open socket; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    counters: Arc<Counters>,
    /// The state of its connection, and the number of this socket.
    state: Arc<SocketState>,
    number: u64,
}

impl Socket {
    pub(crate) fn new(
        stream: TcpStream,
        counters: Arc<Counters>,
        state: Arc<SocketState>,
        number: u64,
    ) -> Self {
        counters.connections_opened.add(1);
        counters.connections_open.add(1);
        Self {
            stream,
            counters,
            state,
            number,
        }
    }

    fn sent(&self, bytes: usize) -> usize {
        self.counters.bytes_sent.add(bytes as u64);
        bytes
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.counters.connections_open.sub(1);
        self.state.record_close(self.number);
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let bytes = buffer.filled().len() - before;
        self.counters.bytes_received.add(bytes as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        written.map_ok(|bytes| self.sent(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        written.map_ok(|bytes| self.sent(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
