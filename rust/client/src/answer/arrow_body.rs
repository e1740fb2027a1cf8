//! Arrow answers, decoded from HTTP/2 frames as they arrive.
//!
//! A general gRPC client assembles each message before it is decoded. Rows are most of the data
//! that a client receives, so they are copied from each frame at once, which frees the frame.

use std::{sync::Arc, time::Instant};

use bytes::{Buf, Bytes};
use http::{HeaderMap, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use prost::Message;
use tonic::{Code, Request, Response, Status, body::Body, transport::Channel};
use tower_service::Service;

use crate::{
    answer::{
        budget::{Budget, MessageMemory},
        decompress::{Decompressor, Encoding, MAX_MESSAGE_BYTES},
        framing::{INCOMPLETE_ANSWER, PREFIX, encoding, prefix},
        ipc::{IpcDecoder, MessageInfo},
        rows::Rows,
        rpc::Stub,
    },
    error::Error,
    method::Method,
    stats::Counters,
};

/// Calls that return rows in Arrow.
pub(crate) struct ArrowRpc {
    channel: Channel,
    budget: Arc<Budget>,
    method: Method,
}

impl Stub for ArrowRpc {
    fn over(channel: Channel, budget: &Arc<Budget>, method: Method) -> Self {
        Self {
            channel,
            budget: Arc::clone(budget),
            method,
        }
    }
}

impl ArrowRpc {
    /// Sends the request and returns when the headers of the answer have arrived.
    pub(crate) async fn call<Q: Message>(
        &mut self,
        request: Request<Q>,
    ) -> Result<Response<ArrowBody>, Status> {
        let (metadata, _, message) = request.into_parts();
        let mut request = http::Request::new(Body::new(Full::new(framed(&message)?)));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = http::Uri::from_static(self.method.path());
        let headers = request.headers_mut();
        *headers = metadata.into_headers();
        for (name, value) in [
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("grpc-accept-encoding", "gzip,zstd,identity"),
        ] {
            headers.insert(name, header::HeaderValue::from_static(value));
        }
        let failed = |error: tonic::transport::Error| Status::from_error(error.into());
        std::future::poll_fn(|context| self.channel.poll_ready(context))
            .await
            .map_err(failed)?;
        let response = self.channel.call(request).await.map_err(failed)?;
        ArrowBody::from_response(self.method.answer_name(), response, &self.budget)
            .map(Response::new)
    }
}

fn framed(message: &impl Message) -> Result<Bytes, Status> {
    let mut bytes = Vec::with_capacity(PREFIX + message.encoded_len());
    bytes.extend_from_slice(&prefix(message.encoded_len())?);
    message.encode_raw(&mut bytes);
    Ok(bytes.into())
}

/// The body of an answer whose headers have arrived.
#[derive(Debug)]
pub(crate) struct ArrowBody {
    body: Body,
    /// The unread rest of the last frame.
    frame: Bytes,
    prefix: [u8; PREFIX],
    prefix_length: usize,
    /// Number of bytes of the message that have not arrived.
    missing: usize,
    /// The memory of the incomplete message.
    incomplete: MessageMemory,
    decoder: IpcDecoder,
    /// The message, if the answer is compressed.
    compressed: Vec<u8>,
    decompressor: Decompressor,
    /// How the answer ended. Messages may still be waiting in `decompressor`.
    ended: Option<Result<(), Status>>,
}

impl ArrowBody {
    fn from_response(
        answer_name: &'static str,
        response: http::Response<Body>,
        budget: &Arc<Budget>,
    ) -> Result<Self, Status> {
        let (head, body) = response.into_parts();
        // An answer with a status in its headers has ended, even if the server does not end the
        // body.
        let ended = match Status::from_header_map(&head.headers) {
            Some(status) if status.code() != Code::Ok => return Err(status),
            status => status.map(|_| Ok(())),
        };
        if head.status != StatusCode::OK {
            return Err(status_from_http(head.status));
        }
        Ok(Self {
            body,
            incomplete: MessageMemory::new(Arc::clone(budget)),
            frame: Bytes::new(),
            prefix: [0; PREFIX],
            prefix_length: 0,
            missing: 0,
            decoder: IpcDecoder::new(answer_name),
            compressed: Vec::new(),
            decompressor: Decompressor::new(
                answer_name,
                encoding(&head.headers)?,
                Arc::clone(budget),
            ),
            ended,
        })
    }

    /// Receives the next message and adds its rows to `rows`; `None` at the end. Cancel safe.
    pub(crate) async fn receive(
        &mut self,
        rows: &mut Rows,
        counters: &Counters,
    ) -> Result<Result<Option<MessageInfo>, Error>, Status> {
        loop {
            while self.frame.has_remaining() && self.decompressor.has_room() {
                let begun = Instant::now();
                let taken = self.decode_frame(rows);
                counters.decode_ns.add_since(begun);
                match taken {
                    Ok(None) => {}
                    done => return Ok(done),
                }
            }
            if self.decompressor.is_empty()
                && let Some(ended) = &self.ended
            {
                return ended.clone().map(|()| Ok(None));
            }
            let has_no_frame = self.frame.is_empty() && self.ended.is_none();
            tokio::select! {
                biased;
                message = self.decompressor.next(counters), if !self.decompressor.is_empty() => {
                    let begun = Instant::now();
                    let received =
                        message.and_then(|message| self.decode_decompressed(message, rows));
                    counters.decode_ns.add_since(begun);
                    return Ok(received.map(Some));
                }
                frame = self.body.frame(), if has_no_frame => self.take_frame(frame.transpose()),
            }
        }
    }

    fn take_frame(&mut self, frame: Result<Option<Frame<Bytes>>, Status>) {
        let ended = match frame {
            Ok(None) => Err(Status::unavailable(INCOMPLETE_ANSWER)),
            Err(status) => Err(status),
            Ok(Some(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.frame = data;
                    return;
                }
                // Nothing follows the trailers, so the end of the body is not awaited.
                Err(frame) => frame
                    .into_trailers()
                    .map_or(Ok(()), |trailers| self.end(&trailers)),
            },
        };
        self.ended = Some(ended);
    }

    /// The status of an answer that ends with these trailers. Fails if a message is incomplete.
    fn end(&self, trailers: &HeaderMap) -> Result<(), Status> {
        match Status::from_header_map(trailers) {
            Some(status) if status.code() != Code::Ok => Err(status),
            Some(_) if self.prefix_length == 0 => Ok(()),
            _ => Err(Status::unavailable(INCOMPLETE_ANSWER)),
        }
    }

    /// Reads a part of a message from the last frame. Returns the message if it is complete.
    fn decode_frame(&mut self, rows: &mut Rows) -> Result<Option<MessageInfo>, Error> {
        if self.prefix_length < PREFIX {
            let length = self.frame.len().min(PREFIX - self.prefix_length);
            let prefix = &mut self.prefix[self.prefix_length..][..length];
            self.frame.copy_to_slice(prefix);
            self.prefix_length += length;
            if self.prefix_length < PREFIX {
                return Ok(None);
            }
            self.begin()?;
        }
        let now = self.frame.split_to(self.frame.len().min(self.missing));
        self.missing -= now.len();
        let is_compressed = self.decompressor.encoding() != Encoding::Identity;
        if is_compressed {
            self.compressed.extend_from_slice(&now);
        } else {
            self.decoder.push(&now, rows)?;
        }
        if self.missing > 0 {
            return Ok(None);
        }
        self.prefix_length = 0;
        self.incomplete.resize(0)?;
        if is_compressed {
            let compressed = std::mem::take(&mut self.compressed);
            self.decompressor.push(self.prefix[0] == 1, compressed);
            return Ok(None);
        }
        self.decoder.end(rows).map(Some)
    }

    /// Decodes a decompressed message.
    fn decode_decompressed(
        &mut self,
        message: Vec<u8>,
        rows: &mut Rows,
    ) -> Result<MessageInfo, Error> {
        self.decoder.begin(message.len());
        self.decoder.push(&message, rows)?;
        self.decompressor.recycle(message);
        self.decoder.end(rows)
    }

    fn begin(&mut self) -> Result<(), Error> {
        let [flag, length @ ..] = self.prefix;
        let length = u32::from_be_bytes(length);
        self.missing = usize::try_from(length).unwrap_or(usize::MAX);
        let decompressor = &self.decompressor;
        if flag > 1 || (flag == 1 && decompressor.encoding() == Encoding::Identity) {
            return Err(decompressor.unreadable("a message is compressed with an unknown method"));
        }
        if self.missing > MAX_MESSAGE_BYTES {
            return Err(decompressor.unreadable(&format!(
                "a message of {length} bytes is longer than the maximum of {MAX_MESSAGE_BYTES}"
            )));
        }
        self.incomplete.resize(self.missing as u64)?;
        self.compressed.clear();
        self.decoder.begin(self.missing);
        Ok(())
    }
}

/// The gRPC status for an HTTP status, which a proxy may send instead of the server.
fn status_from_http(status: StatusCode) -> Status {
    let code = match status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        StatusCode::BAD_REQUEST => Code::Internal,
        _ => Code::Unknown,
    };
    Status::new(
        code,
        format!("the server or a proxy answered with HTTP status {status}"),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use arrow_array::{cast::AsArray, types::Float64Type};
    use futures_util::{FutureExt, StreamExt, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;
    use crate::answer::ipc::tests::{batch, message, no_rows};

    fn prefixed(flag: u8, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        [&[flag], &length.to_be_bytes()[..], message].concat()
    }

    fn answer(
        encoding: Option<&'static str>,
        bytes: &[u8],
        size: usize,
        trailers: Option<&'static str>,
    ) -> Result<ArrowBody, Status> {
        let mut frames: Vec<Result<_, Status>> = Vec::new();
        for chunk in bytes.chunks(size) {
            frames.push(Ok(Frame::data(Bytes::copy_from_slice(chunk))));
        }
        if let Some(status) = trailers {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", header::HeaderValue::from_static(status));
            frames.push(Ok(Frame::trailers(trailers)));
        }
        let mut response = http::Response::new(Body::new(StreamBody::new(stream::iter(frames))));
        if let Some(encoding) = encoding {
            let value = header::HeaderValue::from_static(encoding);
            response.headers_mut().insert("grpc-encoding", value);
        }
        ArrowBody::from_response("test", response, &budget())
    }

    fn budget() -> Arc<Budget> {
        Arc::new(Budget::new(16 << 20, 16 << 20, Arc::default()))
    }

    /// The number of rows of an answer, or the message of its error.
    async fn read(frames: Result<ArrowBody, Status>) -> Result<usize, String> {
        let mut rows = no_rows();
        let counters = Counters::default();
        let mut frames = frames.map_err(|status| status.message().to_owned())?;
        loop {
            match frames.receive(&mut rows, &counters).await {
                Err(status) => return Err(status.message().to_owned()),
                Ok(Err(error)) => return Err(error.to_string()),
                Ok(Ok(None)) => return Ok(rows.len()),
                Ok(Ok(Some(_))) => {}
            }
        }
    }

    fn plain() -> Vec<u8> {
        message(1, &[batch(&[(1, 1.0), (2, 2.0), (3, 3.0)])])
    }

    /// A message that may follow `plain`.
    fn later() -> Vec<u8> {
        message(1, &[batch(&[(3, 1.0), (4, 2.0), (5, 3.0)])])
    }

    fn gzip(message: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(message).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn messages_may_begin_anywhere_in_frames() {
        let messages = [prefixed(0, &plain()), prefixed(0, &later())].concat();
        for size in [1, 4, 5, 6, 100, 10_000] {
            assert_eq!(read(answer(None, &messages, size, Some("0"))).await, Ok(6));
        }
        assert_eq!(read(answer(None, &[], 1, Some("0"))).await, Ok(0));
    }

    #[tokio::test]
    async fn compressed_messages_are_read_like_others() {
        let zstd = zstd::encode_all(&*plain(), 0).unwrap();
        for (encoding, compressed) in [("gzip", gzip(&plain())), ("zstd", zstd)] {
            let messages = [prefixed(1, &compressed), prefixed(0, &later())].concat();
            for size in [1, 50, 10_000] {
                let found = read(answer(Some(encoding), &messages, size, Some("0"))).await;
                assert_eq!(found, Ok(6), "{encoding}");
            }
        }
    }

    #[tokio::test]
    async fn concurrently_decompressed_messages_keep_their_order() {
        let values = |k: u32| f64::from(k % 7);
        let messages: Vec<_> = (0..40)
            .map(|k| {
                let first = i64::from(k) * 5_000;
                let rows = (first..first + 5_000).map(|row| (row, values(k)));
                let rows: Vec<_> = rows.collect();
                let message = message(u64::from(k), &[batch(&rows)]);
                // Some messages are not compressed.
                if k % 5 == 0 {
                    prefixed(0, &message)
                } else {
                    prefixed(1, &gzip(&message))
                }
            })
            .collect();
        for status in ["0", "14"] {
            let frames = answer(Some("gzip"), &messages.concat(), 3_000, Some(status));
            let (mut frames, mut rows) = (frames.unwrap(), no_rows());
            let counters = Counters::default();
            for k in 0..40_u64 {
                let received = loop {
                    // Cancelled when it has to wait, and called again.
                    let receiving = frames.receive(&mut rows, &counters);
                    match receiving.now_or_never() {
                        Some(received) => break received.unwrap().unwrap().unwrap(),
                        None => tokio::task::yield_now().await,
                    }
                };
                assert_eq!(received.version.major, k);
            }
            // Complete messages are returned before the failure.
            let ended = frames.receive(&mut rows, &counters).await;
            assert_eq!(ended.is_ok(), status == "0");
            let tables = rows.take().unwrap();
            let found: Vec<_> = tables
                .iter()
                .flat_map(|table| table.column(1).as_primitive::<Float64Type>().values())
                .copied()
                .collect();
            let expected: Vec<_> = (0..40 * 5_000).map(|row| values(row / 5_000)).collect();
            assert_eq!(found, expected);
            assert!(counters.decode_ns.get() > 0);
        }
    }

    #[tokio::test]
    async fn answers_without_trailers_are_incomplete() {
        let message = prefixed(0, &plain());
        let cut = INCOMPLETE_ANSWER;
        for (bytes, status) in [
            (&message[..], None),
            (&message[..message.len() - 1], Some("0")),
            (&message[..3], Some("0")),
            (&[], None),
        ] {
            let found = read(answer(None, bytes, 1_000, status)).await;
            assert_eq!(found.unwrap_err(), cut);
        }
        let found = read(answer(None, &message, 1_000, Some("14"))).await;
        assert_eq!(found, Err(String::new()));
    }

    #[tokio::test]
    async fn malformed_messages_are_errors() {
        let longest = [&[0][..], &u32::MAX.to_be_bytes()].concat();
        let bomb = prefixed(1, &gzip(&vec![0; 1 << 20]));
        for (encoding, bytes, why) in [
            (None, longest, "4294967295 bytes"),
            (None, prefixed(1, &plain()), "unknown method"),
            (Some("gzip"), prefixed(2, &plain()), "unknown method"),
            (Some("gzip"), prefixed(1, &plain()), "gzip"),
            (Some("gzip"), bomb, "cannot be read"),
            (Some("br"), prefixed(1, &plain()), "did not request: br"),
        ] {
            let error = read(answer(encoding, &bytes, 1_000, Some("0"))).await;
            let error = error.unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[tokio::test]
    async fn small_messages_that_expand_to_large_ones_are_refused() {
        let much = vec![0; 100 << 20];
        let zstd = zstd::encode_all(&*much, 0).unwrap();
        for (encoding, compressed) in [("gzip", gzip(&much)), ("zstd", zstd)] {
            assert!(compressed.len() < 1 << 20);
            let bytes = prefixed(1, &compressed);
            let error = read(answer(Some(encoding), &bytes, 10_000, Some("0"))).await;
            let error = error.unwrap_err();
            assert!(error.contains("`memory_limit`"), "{error}");
        }
        // A length beyond the limit is refused before the message is sent.
        let bytes = [&[0][..], &(100_u32 << 20).to_be_bytes()].concat();
        let error = read(answer(None, &bytes, 10_000, None)).await.unwrap_err();
        assert!(error.contains("`memory_limit`"), "{error}");
    }

    #[tokio::test]
    async fn a_status_in_headers_or_trailers_ends_the_answer() {
        let ends_never = || {
            Body::new(StreamBody::new(stream::pending::<
                Result<Frame<Bytes>, Status>,
            >()))
        };
        let mut response = http::Response::new(ends_never());
        let zero = header::HeaderValue::from_static("0");
        response.headers_mut().insert("grpc-status", zero.clone());
        assert_eq!(
            read(ArrowBody::from_response("test", response, &budget())).await,
            Ok(0)
        );

        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", zero);
        let frames = [
            Ok::<_, Status>(Frame::data(Bytes::from(prefixed(0, &plain())))),
            Ok(Frame::trailers(trailers)),
        ];
        let frames = stream::iter(frames).chain(stream::pending());
        let response = http::Response::new(Body::new(StreamBody::new(frames)));
        let mut frames = ArrowBody::from_response("test", response, &budget()).unwrap();
        let (mut rows, counters) = (no_rows(), Counters::default());
        assert!(
            frames
                .receive(&mut rows, &counters)
                .await
                .unwrap()
                .unwrap()
                .is_some()
        );
        // Later calls return the same.
        for _ in 0..3 {
            assert!(
                frames
                    .receive(&mut rows, &counters)
                    .await
                    .unwrap()
                    .unwrap()
                    .is_none()
            );
        }
    }

    #[tokio::test]
    async fn http_errors_of_proxies_are_errors() {
        let of = |status: u16| {
            let mut response = http::Response::new(Body::empty());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            ArrowBody::from_response("test", response, &budget())
                .unwrap_err()
                .code()
        };
        assert_eq!(of(503), Code::Unavailable);
        assert_eq!(of(404), Code::Unimplemented);
        assert_eq!(of(401), Code::Unauthenticated);
        assert_eq!(of(302), Code::Unknown);
    }
}
