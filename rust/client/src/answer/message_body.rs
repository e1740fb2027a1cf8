//! The bodies of answers that are not Arrow tables, checked before tonic and prost decode them.
//!
//! Each message is assembled and decompressed here, and the memory of its decoded form is
//! estimated, because a few bytes can expand to many: through compression, or through a field that
//! is repeated many times. An answer is complete only when its trailers arrive.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::Frame;
use tokio::time::{Sleep, sleep};
use tonic::{Code, Status, body::Body, transport::Channel};
use tower_service::Service;

use crate::{
    answer::{
        budget::{Budget, MessageMemory},
        decompress::{Encoding, MAX_MESSAGE_BYTES, decompress},
        framing::{INCOMPLETE_ANSWER, PREFIX, encoding, prefix},
    },
    error::{Error, ErrorKind},
    method::Method,
};

/// How long a server may take to end an answer with a single message after it has sent the message.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// A channel that checks all answers.
#[derive(Clone, Debug)]
pub(crate) struct CheckedChannel {
    channel: Channel,
    budget: Arc<Budget>,
    method: Method,
}

impl CheckedChannel {
    /// A channel for calls of this method.
    pub(crate) fn new(channel: Channel, budget: &Arc<Budget>, method: Method) -> Self {
        Self {
            channel,
            budget: Arc::clone(budget),
            method,
        }
    }
}

impl Service<http::Request<Body>> for CheckedChannel {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        debug_assert_eq!(request.uri().path(), self.method.path());
        let shape = AnswerShape::for_method(self.method);
        let incomplete = MessageMemory::new(Arc::clone(&self.budget));
        let response = self.channel.call(request);
        Box::pin(async move { Ok(checked_response(response.await?, shape, incomplete)) })
    }
}

fn checked_response(
    response: http::Response<Body>,
    shape: AnswerShape,
    incomplete: MessageMemory,
) -> http::Response<Body> {
    let (mut head, body) = response.into_parts();
    // An answer with a status in its headers has ended, even if the server does not end the body.
    if Status::from_header_map(&head.headers).is_some() {
        return http::Response::from_parts(head, Body::default());
    }
    let (encoding, failure) = match encoding(&head.headers) {
        Ok(encoding) => (encoding, None),
        Err(status) => (Encoding::Identity, Some(status)),
    };
    head.headers.remove("grpc-encoding");
    let answer = CheckedBody {
        body,
        shape,
        encoding,
        incomplete,
        frame: Bytes::new(),
        partial: Vec::new(),
        failure,
        has_message: false,
        is_ended: false,
        limit: None,
    };
    http::Response::from_parts(head, Body::new(answer))
}

/// The properties of the answers of a method.
#[derive(Clone, Copy, Debug)]
struct AnswerShape {
    name: &'static str,
    /// Whether the answer is a single message.
    is_single: bool,
    /// The maximum memory of a decoded field, in bytes.
    field_bytes: u64,
    /// The nesting depth of the fields that take memory.
    depth: u8,
}

impl AnswerShape {
    const fn for_method(method: Method) -> Self {
        let (is_single, field_bytes, depth) = match method {
            Method::RawValues | Method::Changes => (false, 2 * 16, 1),
            Method::AlignedWindows | Method::Windows => (false, 2 * 48, 1),
            Method::LookupStreams => (false, 2 * 160, 2),
            Method::StreamInfo => (true, 2 * 160, 2),
            Method::ListCollections => (false, 2 * 24, 1),
            Method::SQLQuery => (false, 2 * 32, 1),
            Method::ListDevices | Method::ListUnits => (false, 2 * 56, 1),
            // Arrow answers are not decoded here.
            Method::ArrowRawValues
            | Method::ArrowMultiValues
            | Method::ArrowAlignedWindows
            | Method::ArrowWindows
            | Method::Info
            | Method::Nearest
            | Method::Insert
            | Method::ArrowInsert
            | Method::Flush
            | Method::Delete
            | Method::Create
            | Method::SetStreamTags
            | Method::SetStreamAnnotations
            | Method::Obliterate
            | Method::GetStreamRetention
            | Method::SetStreamRetention
            | Method::GetCollection
            | Method::SetCollectionRetention
            | Method::GetVersionAtTime
            | Method::GetDevice
            | Method::CreateDevice
            | Method::UpdateDevice
            | Method::DeleteDevice
            | Method::GetUnit
            | Method::CreateUnit
            | Method::UpdateUnit
            | Method::DeleteUnit => (true, 2 * 56, 2),
        };
        Self {
            name: method.answer_name(),
            is_single,
            field_bytes,
            depth,
        }
    }

    /// An upper estimate of the memory of a message and its decoded form.
    fn memory(&self, message: &[u8]) -> u64 {
        const NESTED_FIELD_BYTES: u64 = 2 * 48;
        let length = message.len() as u64;
        // A field takes at least two bytes of the message.
        if length / 2 * (self.field_bytes + NESTED_FIELD_BYTES) <= MAX_UNCHECKED_BYTES {
            return length;
        }
        length.saturating_add(estimate_memory(
            message,
            self.field_bytes,
            NESTED_FIELD_BYTES,
            self.depth,
        ))
    }
}

/// Estimates up to this size need no exact calculation.
const MAX_UNCHECKED_BYTES: u64 = 1 << 20;

/// The memory of the decoded fields of a message. Stops at the first field that is malformed.
fn estimate_memory(mut message: &[u8], field_bytes: u64, nested_bytes: u64, depth: u8) -> u64 {
    let mut total: u64 = 0;
    while !message.is_empty() {
        // Most answers consist of short fields of one kind, whose key and length take one byte
        // each.
        while depth == 1
            && let [key, length @ ..=127, ..] = message
            && key & 0x87 == 2
        {
            total = total.saturating_add(field_bytes);
            message = message.get(2 + usize::from(*length)..).unwrap_or_default();
        }
        if message.is_empty() {
            break;
        }
        total = total.saturating_add(field_bytes);
        let Ok(key) = prost::encoding::decode_varint(&mut message) else {
            break;
        };
        let skipped = match key & 7 {
            0 => match prost::encoding::decode_varint(&mut message) {
                Ok(_) => 0,
                Err(_) => break,
            },
            1 => 8,
            5 => 4,
            2 => {
                let length = prost::encoding::decode_varint(&mut message);
                let length = length.ok().and_then(|length| usize::try_from(length).ok());
                let Some(length) = length.filter(|length| *length <= message.len()) else {
                    break;
                };
                if depth > 1 {
                    let inner =
                        estimate_memory(&message[..length], nested_bytes, nested_bytes, depth - 1);
                    total = total.saturating_add(inner);
                }
                length
            }
            _ => break,
        };
        message = message.get(skipped..).unwrap_or_default();
    }
    total
}

/// The body of an answer, with each message complete and decompressed.
struct CheckedBody {
    body: Body,
    shape: AnswerShape,
    encoding: Encoding,
    incomplete: MessageMemory,
    /// The unread rest of the last frame.
    frame: Bytes,
    /// The beginning of an incomplete message, including its prefix.
    partial: Vec<u8>,
    failure: Option<Status>,
    has_message: bool,
    is_ended: bool,
    /// When the server must have ended the answer.
    limit: Option<Pin<Box<Sleep>>>,
}

impl CheckedBody {
    fn unreadable(&self, why: &str) -> Error {
        let answer_name = self.shape.name;
        let message = format!("the server's answer to {answer_name} cannot be read: {why}");
        Error::new(ErrorKind::Decode, message)
    }

    /// Whether the message with this prefix is compressed, and its length; `None` if the prefix is
    /// incomplete.
    fn length(&self, head: &[u8]) -> Result<Option<(bool, usize)>, Error> {
        let Some(&[flag, ref length @ ..]) = head.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if flag > 1 || (flag == 1 && self.encoding == Encoding::Identity) {
            return Err(self.unreadable("a message is compressed with an unknown method"));
        }
        if length > MAX_MESSAGE_BYTES {
            return Err(self.unreadable(&format!(
                "a message of {length} bytes is longer than the maximum of {MAX_MESSAGE_BYTES}"
            )));
        }
        Ok(Some((flag == 1, length)))
    }

    /// The next message, if it has arrived completely.
    fn next_message(&mut self) -> Result<Option<Bytes>, Error> {
        if self.partial.is_empty() {
            // A message is nearly always in one frame, and then it is not copied.
            let Some((is_compressed, length)) = self.length(&self.frame)? else {
                self.buffer_bytes(self.frame.len());
                return Ok(None);
            };
            if !is_compressed && self.frame.len() >= PREFIX + length {
                let message = self.frame.split_to(PREFIX + length);
                self.count_memory(&message[PREFIX..])?;
                return Ok(Some(message));
            }
        }
        self.buffer_bytes(PREFIX.saturating_sub(self.partial.len()));
        let Some((is_compressed, length)) = self.length(&self.partial)? else {
            return Ok(None);
        };
        self.incomplete.resize(length as u64)?;
        self.buffer_bytes((PREFIX + length).saturating_sub(self.partial.len()));
        if self.partial.len() < PREFIX + length {
            return Ok(None);
        }
        let message = std::mem::take(&mut self.partial);
        if !is_compressed {
            self.count_memory(&message[PREFIX..])?;
            return Ok(Some(message.into()));
        }
        let message = decompress(
            self.shape.name,
            self.encoding,
            &message[PREFIX..],
            Vec::new(),
            &mut self.incomplete,
        )?;
        self.count_memory(&message)?;
        let head = prefix(message.len()).map_err(|_| self.unreadable("a message is too long"))?;
        Ok(Some([&head[..], &message].concat().into()))
    }

    /// Moves up to this number of bytes from the frame to the incomplete message.
    fn buffer_bytes(&mut self, bytes: usize) {
        let now = self.frame.split_to(bytes.min(self.frame.len()));
        self.partial.extend_from_slice(&now);
    }

    fn count_memory(&mut self, message: &[u8]) -> Result<(), Error> {
        self.incomplete.resize(self.shape.memory(message))
    }

    fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if self.frame.has_remaining() {
            // The memory of the decoded previous message is counted by its reader.
            let message = self.next_message();
            return message.map_err(|error| Status::from_error(Box::new(error)));
        }
        Ok(None)
    }

    /// Whether the answer is complete when these trailers arrive.
    fn end(&self, frame: &Frame<Bytes>) -> bool {
        let trailers = frame.trailers_ref();
        match trailers.and_then(Status::from_header_map) {
            Some(status) => status.code() != Code::Ok || self.partial.is_empty(),
            None => false,
        }
    }
}

impl http_body::Body for CheckedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let incomplete = || Status::unavailable(INCOMPLETE_ANSWER);
        loop {
            match this.next() {
                Ok(Some(message)) => {
                    this.has_message = true;
                    return Poll::Ready(Some(Ok(Frame::data(message))));
                }
                Ok(None) => {}
                Err(status) => {
                    this.is_ended = true;
                    this.frame = Bytes::new();
                    return Poll::Ready(Some(Err(status)));
                }
            }
            if this.is_ended {
                return Poll::Ready(None);
            }
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
                if this.shape.is_single && this.has_message {
                    let limit = this
                        .limit
                        .get_or_insert_with(|| Box::pin(sleep(END_TIMEOUT)));
                    if limit.as_mut().poll(cx).is_ready() {
                        this.is_ended = true;
                        return Poll::Ready(Some(Err(incomplete())));
                    }
                }
                return Poll::Pending;
            };
            match frame {
                Some(Ok(frame)) if frame.is_data() => {
                    this.frame = frame.into_data().unwrap_or_default();
                }
                Some(Ok(frame)) => {
                    this.is_ended = true;
                    let is_whole = this.end(&frame);
                    let end = if is_whole {
                        Ok(frame)
                    } else {
                        Err(incomplete())
                    };
                    return Poll::Ready(Some(end));
                }
                Some(Err(status)) => {
                    this.is_ended = true;
                    return Poll::Ready(Some(Err(status)));
                }
                None => {
                    this.is_ended = true;
                    return Poll::Ready(Some(Err(incomplete())));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures_util::{StreamExt, stream};
    use http::{HeaderMap, HeaderValue};
    use http_body_util::{BodyExt, StreamBody};
    use pingthings_proto::v5api;
    use prost::Message;

    use super::*;

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        [&[flag], &length.to_be_bytes()[..], message].concat()
    }

    fn trailers(status: &'static str) -> Frame<Bytes> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(status));
        Frame::trailers(trailers)
    }

    /// An answer that arrives in pieces of `piece` bytes. It never ends if `end` is `None`.
    fn answer(
        method: Method,
        encoding: Option<&'static str>,
        bytes: &[u8],
        piece: usize,
        end: Option<&'static str>,
    ) -> Body {
        let pieces: Vec<_> = bytes.chunks(piece).map(Bytes::copy_from_slice).collect();
        let frames = pieces.into_iter().map(Frame::data).chain(end.map(trailers));
        let frames = stream::iter(frames.map(Ok::<_, Status>).collect::<Vec<_>>());
        let body = Body::new(StreamBody::new(frames.chain(stream::pending())));
        let mut response = http::Response::new(body);
        if let Some(encoding) = encoding {
            let value = HeaderValue::from_static(encoding);
            response.headers_mut().insert("grpc-encoding", value);
        }
        let budget = Arc::new(Budget::new(16 << 20, 16 << 20, Arc::default()));
        let shape = AnswerShape::for_method(method);
        checked_response(response, shape, MessageMemory::new(budget)).into_body()
    }

    /// All data of a body, or the message of its error.
    async fn read(mut body: Body) -> Result<Vec<u8>, String> {
        let mut found = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => found.extend(frame.into_data().unwrap_or_default()),
                Err(status) => return Err(status.message().to_owned()),
            }
        }
        Ok(found)
    }

    fn gzip(message: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(message).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn messages_are_complete_and_decompressed() {
        let messages = [b"one".to_vec(), Vec::new(), vec![7; 100_000]];
        let plain: Vec<u8> = messages.iter().flat_map(|m| framed(0, m)).collect();
        let mut compressed: Vec<u8> = messages.iter().flat_map(|m| framed(1, &gzip(m))).collect();
        compressed.extend(framed(0, b"as it is"));
        let decompressed = [&plain[..], &framed(0, b"as it is")].concat();
        for piece in [1, 4, 5, 6, 1_000, 1 << 20] {
            let found = read(answer(Method::SQLQuery, None, &plain, piece, Some("0"))).await;
            assert_eq!(found.as_ref(), Ok(&plain));
            let found = read(answer(
                Method::SQLQuery,
                Some("gzip"),
                &compressed,
                piece,
                Some("0"),
            ))
            .await;
            assert_eq!(found.as_ref(), Ok(&decompressed));
        }
    }

    #[tokio::test]
    async fn malformed_answers_are_errors() {
        let message = framed(0, b"message");
        for (encoding, bytes, end, why) in [
            (None, framed(1, b"x"), Some("0"), "unknown method"),
            (None, framed(2, b"x"), Some("0"), "unknown method"),
            (Some("gzip"), framed(1, b"x"), Some("0"), "cannot be read"),
            (Some("br"), framed(0, b"x"), Some("0"), "did not request"),
            (None, vec![0, 255, 255, 255, 255], None, "4294967295 bytes"),
            (None, vec![0, 2, 0, 0, 0], None, "`memory_limit`"),
            (None, message[..9].to_vec(), Some("0"), INCOMPLETE_ANSWER),
            (None, message[..3].to_vec(), Some("0"), INCOMPLETE_ANSWER),
        ] {
            for piece in [1, 100] {
                let error = read(answer(Method::SQLQuery, encoding, &bytes, piece, end)).await;
                let error = error.unwrap_err();
                assert!(error.contains(why), "{error}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_with_a_single_message_must_end() {
        let begun = tokio::time::Instant::now();
        let error = read(answer(Method::Nearest, None, &framed(0, b"x"), 100, None)).await;
        assert_eq!(error, Err(INCOMPLETE_ANSWER.to_owned()));
        assert_eq!(begun.elapsed(), END_TIMEOUT);
        // Answers with many messages may take any time.
        let endless = read(answer(Method::SQLQuery, None, &framed(0, b"x"), 100, None));
        assert!(
            tokio::time::timeout(END_TIMEOUT * 9, endless)
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn small_messages_that_expand_to_large_ones_are_refused() {
        let bomb = framed(1, &gzip(&vec![0; 64 << 20]));
        let error = read(answer(
            Method::SQLQuery,
            Some("gzip"),
            &bomb,
            10_000,
            Some("0"),
        ))
        .await;
        assert!(error.unwrap_err().contains("`memory_limit`"));
        // Each of these takes two bytes in the message.
        let windows = vec![v5api::StatPoint::default(); 1 << 18];
        let windows = v5api::WindowsResponse {
            values: windows,
            ..Default::default()
        };
        let collections = vec![String::new(); 1 << 20];
        let collections = v5api::ListCollectionsResponse {
            collections,
            ..Default::default()
        };
        let pairs = vec![v5api::KeyOptValue::default(); 1 << 20];
        let results = vec![v5api::StreamDescriptor {
            tags: pairs,
            ..Default::default()
        }];
        let streams = v5api::LookupStreamsResponse {
            results,
            ..Default::default()
        };
        for (method, message) in [
            (Method::Windows, windows.encode_to_vec()),
            (Method::ListCollections, collections.encode_to_vec()),
            (Method::LookupStreams, streams.encode_to_vec()),
        ] {
            assert!(message.len() < 12 << 20, "{method:?}: {}", message.len());
            let bytes = framed(0, &message);
            let error = read(answer(method, None, &bytes, 65_536, Some("0"))).await;
            let is_refused = error.is_err_and(|error| error.contains("`memory_limit`"));
            assert!(is_refused, "{method:?}");
        }
    }

    #[tokio::test]
    async fn usual_messages_are_accepted() {
        let pair = |key: &str| v5api::KeyOptValue {
            key: key.to_owned(),
            val: Some(v5api::OptValue {
                value: "some value".to_owned(),
            }),
        };
        let stream = v5api::StreamDescriptor {
            uuid: vec![7; 16].into(),
            collection: "a/collection".to_owned(),
            tags: ["name", "unit", "ingress", "distiller"].map(pair).to_vec(),
            annotations: ["one", "two", "three"].map(pair).to_vec(),
            ..Default::default()
        };
        let streams = vec![stream; 7_000];
        let streams = v5api::LookupStreamsResponse {
            results: streams,
            ..Default::default()
        };
        let bytes = framed(0, &streams.encode_to_vec());
        assert!(bytes.len() > 1 << 20);
        let found = read(answer(
            Method::LookupStreams,
            None,
            &bytes,
            16_384,
            Some("0"),
        ))
        .await;
        assert_eq!(found, Ok(bytes));
        let texts = vec!["{\"a\": 1}".repeat(1_000); 800].into_iter();
        let rows = texts.map(Bytes::from).collect();
        let rows = v5api::SqlQueryResponse {
            sql_query_row: rows,
            ..Default::default()
        };
        let bytes = framed(0, &rows.encode_to_vec());
        let found = read(answer(Method::SQLQuery, None, &bytes, 16_384, Some("0"))).await;
        assert_eq!(found.unwrap().len(), bytes.len());
    }

    #[tokio::test]
    async fn a_status_in_the_headers_ends_the_answer() {
        let mut response = http::Response::new(Body::new(StreamBody::new(stream::pending::<
            Result<Frame<Bytes>, Status>,
        >())));
        let zero = HeaderValue::from_static("0");
        response.headers_mut().insert("grpc-status", zero);
        let budget = Arc::new(Budget::new(16 << 20, 16 << 20, Arc::default()));
        let body = checked_response(
            response,
            AnswerShape::for_method(Method::Info),
            MessageMemory::new(budget),
        )
        .into_body();
        assert_eq!(read(body).await, Ok(Vec::new()));
    }
}
