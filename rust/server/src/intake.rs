//! The body of a request while it arrives. It is counted, limited and decompressed before it is
//! decoded.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body as _, Frame};
use pingthings_types::Code;
use tonic::Status;
use tonic::body::Body;

use crate::account::Account;
use crate::budget::{CALL_BYTES, Hold};
use crate::call::{self, INSERTS, STREAMED_REQUESTS};
use crate::caller::Caller;
use crate::config::Limits;
use crate::decompress::{
    DecompressError, DecompressedMessage, Decompressor, Encoding, MessageLimits,
};
use crate::field_counter::FieldCounter;
use crate::status::Refusal;

/// The length of a gRPC message header: whether the message is compressed, and its length.
const HEADER_BYTES: usize = 5;
/// The maximum length of a request other than an insert. A list of 65,536 streams has 1.5 MB.
const MAX_MESSAGE_BYTES: usize = 8 << 20;
/// The maximum number of fields in a request other than an insert: streams, tags or annotations.
const MAX_FIELDS: usize = 1 << 16;
/// The maximum number of fields of an insert besides its points.
const MAX_OTHER_FIELDS: usize = 16;
/// The estimated memory of a field besides its bytes.
const FIELD_BYTES: usize = 64;

/// The estimated memory of headers.
fn header_bytes(headers: &HeaderMap) -> usize {
    let each = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + size_of::<(HeaderName, HeaderValue)>()
    };
    headers.iter().map(each).sum()
}

/// Limits on the request of a call.
#[derive(Clone, Copy, Debug)]
struct RequestLimits {
    bytes: usize,
    fields: usize,
    /// The status code if there are more fields.
    code: Code,
    field_bytes: usize,
    /// Whether the request is a stream of messages, each of which is processed before the next.
    is_stream: bool,
}

impl RequestLimits {
    fn new(path: &str, limits: &Limits) -> Self {
        if INSERTS.contains(&call::name(path)) {
            Self {
                bytes: limits.message_bytes,
                fields: limits.points_per_insert.saturating_add(MAX_OTHER_FIELDS),
                code: Code::InsertTooBig,
                // A decoded point takes less memory than its bytes.
                field_bytes: 0,
                is_stream: false,
            }
        } else {
            Self {
                bytes: limits.message_bytes.min(MAX_MESSAGE_BYTES),
                fields: MAX_FIELDS,
                code: Code::InvalidParameter,
                field_bytes: FIELD_BYTES,
                is_stream: STREAMED_REQUESTS.contains(&call::name(path)),
            }
        }
    }
}

/// The position of the next byte in the messages of a request.
#[derive(Debug)]
enum State {
    Header(BytesMut),
    /// Within an uncompressed message.
    Plain {
        left: usize,
        fields: FieldCounter,
    },
    /// Within a compressed message.
    Compressed {
        left: usize,
        gathered: BytesMut,
    },
}

type Decompression =
    Pin<Box<dyn Future<Output = Result<DecompressedMessage, DecompressError>> + Send>>;

/// The body of a request, which wraps the body of the transport.
pub(crate) struct Intake {
    inner: Body,
    hold: Arc<Hold>,
    /// The memory of the call itself. It is counted until the first message is complete.
    call_bytes: usize,
    is_begun: bool,
    /// The bytes that are counted for the current message and those before it.
    taken: usize,
    limits: RequestLimits,
    encoding: Option<Encoding>,
    decompressor: Decompressor,
    account: Arc<Account>,
    state: State,
    /// Bytes that arrived and are not processed yet.
    rest: Bytes,
    decompression: Option<Decompression>,
    /// Decompressed pieces that are not passed on yet, in reverse order.
    decompressed: Vec<Bytes>,
    /// Reports a refusal to the call layer.
    refusals: Option<tokio::sync::oneshot::Sender<Refusal>>,
}

impl Intake {
    /// The body of the request with these headers. A refusal is sent to `refusals`.
    pub(crate) fn new(
        inner: Body,
        head: &Parts,
        limits: &Limits,
        encoding: Option<Encoding>,
        decompressor: Decompressor,
        caller: &Caller,
        refusals: tokio::sync::oneshot::Sender<Refusal>,
    ) -> Self {
        Self {
            inner,
            hold: Arc::clone(&caller.request),
            call_bytes: CALL_BYTES + header_bytes(&head.headers),
            is_begun: false,
            taken: 0,
            limits: RequestLimits::new(head.uri.path(), limits),
            encoding,
            decompressor,
            account: Arc::clone(&caller.account),
            state: State::Header(BytesMut::new()),
            rest: Bytes::new(),
            decompression: None,
            decompressed: Vec::new(),
            refusals: Some(refusals),
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Status {
        let status = Status::resource_exhausted(&refusal.message);
        if let Some(refusals) = self.refusals.take() {
            // This fails only if the call is already answered.
            let _ = refusals.send(refusal);
        }
        status
    }

    /// Processes bytes that arrived. Returns the part that is passed on unchanged.
    fn process(&mut self) -> Result<Option<Bytes>, Status> {
        match &mut self.state {
            State::Header(head) => {
                let taken = (HEADER_BYTES - head.len()).min(self.rest.len());
                head.extend_from_slice(&self.rest.split_to(taken));
                if head.len() < HEADER_BYTES {
                    return Ok(None);
                }
                let head = std::mem::take(head).freeze();
                self.begin(&head)
            }
            State::Plain { left, fields } => {
                let part = self.rest.split_to((*left).min(self.rest.len()));
                let before = fields.count();
                fields.advance(&part);
                let (count, more) = (fields.count(), fields.count() - before);
                *left -= part.len();
                if *left == 0 {
                    self.end_message();
                }
                self.count_fields(count, more)?;
                Ok(Some(part))
            }
            State::Compressed { left, gathered } => {
                let part = self.rest.split_to((*left).min(self.rest.len()));
                gathered.extend_from_slice(&part);
                *left -= part.len();
                if *left == 0 {
                    let compressed = std::mem::take(gathered).freeze();
                    self.state = State::Header(BytesMut::new());
                    self.decompress(compressed);
                }
                Ok(None)
            }
        }
    }

    /// Processes the header of a message.
    fn begin(&mut self, head: &Bytes) -> Result<Option<Bytes>, Status> {
        let length = head[1..]
            .iter()
            .fold(0, |length, &byte| length << 8 | usize::from(byte));
        let max = self.limits.bytes;
        if self.limits.is_stream {
            self.hold.release(std::mem::take(&mut self.taken));
            self.reserve(self.rest.len())?;
        }
        if length > max {
            return Err(Status::out_of_range(format!(
                "a request of {length} bytes: send at most {max}"
            )));
        }
        if head[0] == 1 && self.encoding.is_some() {
            let gathered = BytesMut::new();
            self.state = State::Compressed {
                left: length,
                gathered,
            };
            if length == 0 {
                self.state = State::Header(BytesMut::new());
                self.decompress(Bytes::new());
            }
            return Ok(None);
        }
        if length > 0 {
            let fields = FieldCounter::default();
            self.state = State::Plain {
                left: length,
                fields,
            };
        } else {
            self.end_message();
        }
        // Other errors in the message are found when it is decoded.
        Ok(Some(head.clone()))
    }

    /// Ends a message. From now on the call has or awaits a permit, whose number is limited, so its
    /// own memory is no longer counted.
    fn end_message(&mut self) {
        self.state = State::Header(BytesMut::new());
        self.hold.release(std::mem::take(&mut self.call_bytes));
    }

    fn count_fields(&mut self, count: usize, more: usize) -> Result<(), Status> {
        let RequestLimits {
            fields,
            field_bytes,
            ..
        } = self.limits;
        if count > fields {
            return Err(self.too_many_fields());
        }
        self.reserve(more * field_bytes)
    }

    fn too_many_fields(&mut self) -> Status {
        let RequestLimits { fields, code, .. } = self.limits;
        let what = if code == Code::InsertTooBig {
            "points"
        } else {
            "entries"
        };
        let message = format!("a request of more than {fields} {what}: send it in parts");
        self.refuse(Refusal::new(code, message))
    }

    /// Reserves bytes before they are stored.
    fn reserve(&mut self, bytes: usize) -> Result<(), Status> {
        let taken = self.hold.reserve(bytes);
        taken.map_err(|refusal| self.refuse(refusal))?;
        self.taken += bytes;
        Ok(())
    }

    fn decompress(&mut self, compressed: Bytes) {
        if let Some(encoding) = self.encoding {
            let limits = MessageLimits {
                bytes: self.limits.bytes,
                fields: self.limits.fields,
            };
            let (account, hold) = (Arc::clone(&self.account), Arc::clone(&self.hold));
            let decompressor = self.decompressor.clone();
            let decompression =
                decompressor.decompress(encoding, compressed, limits, account, hold);
            self.decompression = Some(Box::pin(decompression));
        }
    }

    /// Processes the result of a decompression.
    fn decompressed(
        &mut self,
        decompressed: Result<DecompressedMessage, DecompressError>,
    ) -> Result<(), Status> {
        let decompressed = decompressed.map_err(|failure| match failure {
            DecompressError::Refused(refusal) => self.refuse(refusal),
            DecompressError::TooManyFields => self.too_many_fields(),
            DecompressError::TooLarge => Status::resource_exhausted(format!(
                "a request of more than {} bytes after decompression: send it in parts",
                self.limits.bytes
            )),
            DecompressError::Damaged(error) => {
                Status::internal(format!("cannot decompress the request: {error}"))
            }
        })?;
        let DecompressedMessage { mut pieces, fields } = decompressed;
        self.count_fields(fields.count(), fields.count())?;
        let length: usize = pieces.iter().map(Bytes::len).sum();
        self.taken += length;
        self.end_message();
        let mut head = BytesMut::with_capacity(HEADER_BYTES);
        head.put_u8(0);
        head.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        pieces.reverse();
        pieces.push(head.freeze());
        self.decompressed = pieces;
        Ok(())
    }

    /// The next part to pass on, if it is available.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.is_begun {
            self.is_begun = true;
            if let Err(refusal) = self.hold.reserve(self.call_bytes) {
                return Poll::Ready(Some(Err(self.refuse(refusal))));
            }
        }
        loop {
            if let Poll::Ready(refusal) = self.hold.poll_revoked(cx) {
                return Poll::Ready(Some(Err(self.refuse(refusal))));
            }
            if let Some(piece) = self.decompressed.pop() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if let Some(decompression) = &mut self.decompression {
                let pieces = ready!(decompression.as_mut().poll(cx));
                self.decompression = None;
                if let Err(status) = self.decompressed(pieces) {
                    return Poll::Ready(Some(Err(status)));
                }
                continue;
            }
            if !self.rest.is_empty() {
                match self.process() {
                    Ok(None) => continue,
                    Ok(Some(part)) => return Poll::Ready(Some(Ok(Frame::data(part)))),
                    Err(status) => return Poll::Ready(Some(Err(status))),
                }
            }
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                ended => return Poll::Ready(ended),
            };
            match frame.into_data() {
                Ok(data) => {
                    if let Err(status) = self.reserve(data.len()) {
                        return Poll::Ready(Some(Err(status)));
                    }
                    self.rest = data;
                }
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }
}

impl http_body::Body for Intake {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.poll_next(cx)
    }
}
