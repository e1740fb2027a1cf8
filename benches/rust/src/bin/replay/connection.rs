//! HTTP/2 with gRPC on it: reads requests, sends kept messages without copying them.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use h2::{
    RecvStream,
    server::{self, SendResponse},
};
use http::{HeaderMap, HeaderValue, Request, Response};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::answers::{Answers, Found, Refusal};

/// What a client may send ahead, on a stream and on a connection.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 32 << 20;
/// As with the server of this package. A larger frame is read into memory that is fresh each time,
/// which then takes longer than what is measured.
const MAX_FRAME: u32 = 64 << 10;

/// Bytes that are written in one system call.
const WRITE: usize = 256 << 10;

pub(crate) async fn serve(socket: TcpStream, answers: Arc<Answers>) -> Result<(), h2::Error> {
    let cork = Cork(Arc::new(Mutex::new(Corked {
        socket,
        waiting: BytesMut::with_capacity(2 * WRITE),
    })));
    let handshake = server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_concurrent_streams(10_000)
        .handshake(Uncorked(cork.clone()));
    let mut connection = handshake.await?;
    loop {
        let accepted = std::future::poll_fn(|cx| {
            let accepted = connection.poll_accept(cx);
            // Whatever this turn has written goes out in one piece.
            match cork.poll_drain(cx) {
                Poll::Ready(Err(_hung_up)) => Poll::Ready(None),
                _ => accepted,
            }
        });
        let Some(accepted) = accepted.await else {
            return Ok(());
        };
        let (request, respond) = accepted?;
        tokio::spawn(answer(request, respond, Arc::clone(&answers)));
    }
}

async fn answer(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    answers: Arc<Answers>,
) -> Result<(), h2::Error> {
    let (head, body) = request.into_parts();
    let method = head.uri.path().rsplit('/').next().unwrap_or_default();
    let message = if method.ends_with("Insert") {
        drain(body).await?
    } else {
        read(body).await?
    };
    let is_gzip = answers.face.is_gzip;
    let outcome = match answers.to(method, message) {
        Ok(Found::Kept(messages)) => Ok(messages),
        // Elsewhere, so that pings are answered meanwhile.
        Ok(Found::ToMake(key)) => tokio::task::spawn_blocking(move || answers.make(key))
            .await
            .unwrap_or(Err(Refusal::Unimplemented)),
        Err(refusal) => Err(refusal),
    };
    send(respond, outcome, is_gzip)
}

/// Counts a body and drops it. Nothing of an insert is looked at.
async fn drain(mut body: RecvStream) -> Result<Bytes, h2::Error> {
    while let Some(chunk) = body.data().await {
        let count = chunk?.len();
        body.flow_control().release_capacity(count)?;
    }
    Ok(Bytes::new())
}

/// The only message of a body, without its prefix.
async fn read(mut body: RecvStream) -> Result<Bytes, h2::Error> {
    let mut message = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        message.extend_from_slice(&chunk);
    }
    message.advance(message.len().min(5));
    Ok(message.freeze())
}

fn send(
    mut respond: SendResponse<Bytes>,
    outcome: Result<Arc<[Bytes]>, Refusal>,
    is_gzip: bool,
) -> Result<(), h2::Error> {
    let mut head = Response::new(());
    head.headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    let (status, details, messages) = match outcome {
        Ok(messages) => ("0", String::new(), messages),
        Err(Refusal::Unimplemented) => ("12", "no such method".to_owned(), Arc::default()),
        Err(Refusal::Invalid(details)) => ("3", details, Arc::default()),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    if let Ok(details) = HeaderValue::try_from(details)
        && !details.is_empty()
    {
        trailers.insert("grpc-message", details);
    }
    if messages.is_empty() {
        head.headers_mut().extend(trailers);
        respond.send_response(head, true)?;
        return Ok(());
    }
    if is_gzip {
        head.headers_mut()
            .insert("grpc-encoding", HeaderValue::from_static("gzip"));
    }
    let mut stream = respond.send_response(head, false)?;
    for message in messages.iter() {
        stream.send_data(message.clone(), false)?;
    }
    stream.send_trailers(trailers)
}

/// Writes to a socket in large pieces. h2 flushes after each frame, which would be a system call
/// and a wake-up of the client for every 16 KiB.
#[derive(Clone)]
struct Cork(Arc<Mutex<Corked>>);

struct Corked {
    socket: TcpStream,
    waiting: BytesMut,
}

impl Corked {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let written = Pin::new(&mut self.socket).poll_write(cx, &self.waiting);
            let written = ready!(written)?;
            self.waiting.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Makes room for another piece.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.len() < WRITE {
            return Poll::Ready(Ok(()));
        }
        self.poll_drain(cx)
    }
}

impl Cork {
    fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_drain(cx)
    }
}

/// The side of a [`Cork`] that h2 sees: it only flushes when the turn is over.
struct Uncorked(Cork);

impl AsyncRead for Uncorked {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.0.lock().socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Uncorked {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut corked = self.0.0.lock();
        ready!(corked.poll_room(cx))?;
        let before = corked.waiting.len();
        for slice in slices {
            corked.waiting.extend_from_slice(slice);
        }
        Poll::Ready(Ok(corked.waiting.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut corked = self.0.0.lock();
        ready!(corked.poll_drain(cx))?;
        Pin::new(&mut corked.socket).poll_shutdown(cx)
    }
}
