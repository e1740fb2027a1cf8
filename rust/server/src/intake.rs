//! The body of a request on its way in: counted, bounded and unpacked before anything is made of it.

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

use crate::budget::{CALL_BYTES, Hold};
use crate::call::{self, INSERTS, STREAMED_REQUESTS};
use crate::caller::Caller;
use crate::config::Limits;
use crate::fields::Fields;
use crate::owner::Owner;
use crate::status::Refusal;
use crate::unpack::{self, Failure, Packing, Unpacked, Unpacker};

/// What stands before each message: whether it is packed, and its length.
const HEAD: usize = 5;
/// Bytes of one request that is no insert: a list of 65,536 streams has 1.5 MB.
const MESSAGE_BYTES: usize = 8 << 20;
/// Fields in one request that is no insert: streams, tags or annotations.
const FIELDS: usize = 1 << 16;
/// Fields of an insert beside its points.
const FIELDS_BESIDE_POINTS: usize = 16;
/// What a field takes in memory beside its bytes, about.
const FIELD_BYTES: usize = 64;

/// What headers take, about.
fn header_bytes(headers: &HeaderMap) -> usize {
    let each = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + size_of::<(HeaderName, HeaderValue)>()
    };
    headers.iter().map(each).sum()
}

/// How large the request of a call may be.
#[derive(Clone, Copy, Debug)]
struct Most {
    bytes: usize,
    fields: usize,
    /// What is answered if there are more fields.
    code: Code,
    field_bytes: usize,
    /// Whether a message is done with when the next one begins.
    is_stream: bool,
}

impl Most {
    fn of(path: &str, limits: &Limits) -> Self {
        if INSERTS.contains(&call::name(path)) {
            Self {
                bytes: limits.message_bytes,
                fields: limits
                    .points_per_insert
                    .saturating_add(FIELDS_BESIDE_POINTS),
                code: Code::InsertTooBig,
                // A point takes less than its bytes did.
                field_bytes: 0,
                is_stream: false,
            }
        } else {
            Self {
                bytes: limits.message_bytes.min(MESSAGE_BYTES),
                fields: FIELDS,
                code: Code::InvalidParameter,
                field_bytes: FIELD_BYTES,
                is_stream: STREAMED_REQUESTS.contains(&call::name(path)),
            }
        }
    }
}

/// Where in the messages of a request the next byte belongs.
#[derive(Debug)]
enum State {
    Head(BytesMut),
    /// Within a message as it is.
    Plain {
        left: usize,
        fields: Fields,
    },
    /// Within a packed one.
    Packed {
        left: usize,
        gathered: BytesMut,
    },
}

type Unpacking = Pin<Box<dyn Future<Output = Result<Unpacked, Failure>> + Send>>;

/// The body of a request.
pub(crate) struct Intake {
    inner: Body,
    hold: Arc<Hold>,
    /// What the call takes itself, until its first message is there.
    call_bytes: usize,
    is_begun: bool,
    /// Bytes that are counted of the message at hand and those before it.
    taken: usize,
    most: Most,
    packing: Option<Packing>,
    unpacker: Unpacker,
    owner: Arc<Owner>,
    state: State,
    /// What came and was not looked at.
    rest: Bytes,
    unpacking: Option<Unpacking>,
    /// What was unpacked and not passed on, the next last.
    unpacked: Vec<Bytes>,
    /// The door learns here why the request was refused.
    refused: Option<tokio::sync::oneshot::Sender<Refusal>>,
}

impl Intake {
    /// What comes of a request that begins with `head`; `refused` is told if it is refused.
    pub(crate) fn new(
        inner: Body,
        head: &Parts,
        limits: &Limits,
        packing: Option<Packing>,
        unpacker: Unpacker,
        caller: &Caller,
        refused: tokio::sync::oneshot::Sender<Refusal>,
    ) -> Self {
        Self {
            inner,
            hold: Arc::clone(&caller.request),
            call_bytes: CALL_BYTES + header_bytes(&head.headers),
            is_begun: false,
            taken: 0,
            most: Most::of(head.uri.path(), limits),
            packing,
            unpacker,
            owner: Arc::clone(&caller.owner),
            state: State::Head(BytesMut::new()),
            rest: Bytes::new(),
            unpacking: None,
            unpacked: Vec::new(),
            refused: Some(refused),
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Status {
        let status = Status::resource_exhausted(&refusal.message);
        if let Some(refused) = self.refused.take() {
            // If this fails, the call has been answered.
            let _ = refused.send(refusal);
        }
        status
    }

    /// Looks at what came; gives the part of it that goes on as it is.
    fn look(&mut self) -> Result<Option<Bytes>, Status> {
        match &mut self.state {
            State::Head(head) => {
                let taken = (HEAD - head.len()).min(self.rest.len());
                head.extend_from_slice(&self.rest.split_to(taken));
                if head.len() < HEAD {
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
            State::Packed { left, gathered } => {
                let part = self.rest.split_to((*left).min(self.rest.len()));
                gathered.extend_from_slice(&part);
                *left -= part.len();
                if *left == 0 {
                    let packed = std::mem::take(gathered).freeze();
                    self.state = State::Head(BytesMut::new());
                    self.unpack(packed);
                }
                Ok(None)
            }
        }
    }

    /// Begins a message.
    fn begin(&mut self, head: &Bytes) -> Result<Option<Bytes>, Status> {
        let length = head[1..]
            .iter()
            .fold(0, |length, &byte| length << 8 | usize::from(byte));
        let most = self.most.bytes;
        if self.most.is_stream {
            self.hold.give(std::mem::take(&mut self.taken));
            self.take(self.rest.len())?;
        }
        if length > most {
            return Err(Status::out_of_range(format!(
                "a request of {length} bytes: send at most {most}"
            )));
        }
        if head[0] == 1 && self.packing.is_some() {
            let gathered = BytesMut::new();
            self.state = State::Packed {
                left: length,
                gathered,
            };
            if length == 0 {
                self.state = State::Head(BytesMut::new());
                self.unpack(Bytes::new());
            }
            return Ok(None);
        }
        if length > 0 {
            let fields = Fields::default();
            self.state = State::Plain {
                left: length,
                fields,
            };
        } else {
            self.end_message();
        }
        // Whatever else is wrong with it, its reader says.
        Ok(Some(head.clone()))
    }

    /// The next byte begins another message. What the call goes on with is counted otherwise.
    fn end_message(&mut self) {
        self.state = State::Head(BytesMut::new());
        self.hold.give(std::mem::take(&mut self.call_bytes));
    }

    fn count_fields(&mut self, count: usize, more: usize) -> Result<(), Status> {
        let Most {
            fields,
            field_bytes,
            ..
        } = self.most;
        if count > fields {
            return Err(self.too_many_fields());
        }
        self.take(more * field_bytes)
    }

    fn too_many_fields(&mut self) -> Status {
        let Most { fields, code, .. } = self.most;
        let what = if code == Code::InsertTooBig {
            "points"
        } else {
            "entries"
        };
        let message = format!("a request of more than {fields} {what}: send it in parts");
        self.refuse(Refusal::new(code, message))
    }

    /// Counts bytes before they are kept.
    fn take(&mut self, bytes: usize) -> Result<(), Status> {
        let taken = self.hold.take(bytes);
        taken.map_err(|refusal| self.refuse(refusal))?;
        self.taken += bytes;
        Ok(())
    }

    fn unpack(&mut self, packed: Bytes) {
        if let Some(packing) = self.packing {
            let most = unpack::Most {
                bytes: self.most.bytes,
                fields: self.most.fields,
            };
            let (owner, hold) = (Arc::clone(&self.owner), Arc::clone(&self.hold));
            let unpacker = self.unpacker.clone();
            let unpacking = unpacker.unpack(packing, packed, most, owner, hold);
            self.unpacking = Some(Box::pin(unpacking));
        }
    }

    /// Takes what was unpacked.
    fn unpacked(&mut self, unpacked: Result<Unpacked, Failure>) -> Result<(), Status> {
        let unpacked = unpacked.map_err(|failure| match failure {
            Failure::Refused(refusal) => self.refuse(refusal),
            Failure::TooManyFields => self.too_many_fields(),
            Failure::TooLarge => Status::resource_exhausted(format!(
                "a request of more than {} bytes once it is unpacked: send it in parts",
                self.most.bytes
            )),
            Failure::Damaged(error) => {
                Status::internal(format!("the request cannot be unpacked: {error}"))
            }
        })?;
        let Unpacked { mut pieces, fields } = unpacked;
        self.count_fields(fields.count(), fields.count())?;
        let length: usize = pieces.iter().map(Bytes::len).sum();
        self.taken += length;
        self.end_message();
        let mut head = BytesMut::with_capacity(HEAD);
        head.put_u8(0);
        head.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        pieces.reverse();
        pieces.push(head.freeze());
        self.unpacked = pieces;
        Ok(())
    }

    /// What goes on next, if it is there.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.is_begun {
            self.is_begun = true;
            if let Err(refusal) = self.hold.take(self.call_bytes) {
                return Poll::Ready(Some(Err(self.refuse(refusal))));
            }
        }
        loop {
            if let Poll::Ready(refusal) = self.hold.poll_revoked(cx) {
                return Poll::Ready(Some(Err(self.refuse(refusal))));
            }
            if let Some(piece) = self.unpacked.pop() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if let Some(unpacking) = &mut self.unpacking {
                let pieces = ready!(unpacking.as_mut().poll(cx));
                self.unpacking = None;
                if let Err(status) = self.unpacked(pieces) {
                    return Poll::Ready(Some(Err(status)));
                }
                continue;
            }
            if !self.rest.is_empty() {
                match self.look() {
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
                    if let Err(status) = self.take(data.len()) {
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
