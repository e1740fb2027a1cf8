//! A call in flight, from its request until its answer is read: counters, log and memory.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use crate::budget::{CALL_BYTES, Hold};
use crate::call;
use crate::call_layer::refusal_answer;
use crate::metrics::{CANCELLED, Metrics};
use crate::peer::{End, Peer};
use crate::status::Refusal;

/// Parts of answers below this size are not counted. Most answers are smaller and read at once.
pub(crate) const MIN_COUNTED_BYTES: usize = 4 << 10;

/// A connection with at most this many calls is not cut when the memory budget is full: the memory
/// is in use by others, and a client that cannot read the answer of an insert does not know whether
/// its points were stored.
const MAX_UNCOUNTED_CALLS: usize = 4;

/// A call in flight. It is counted and logged when it is dropped.
pub(crate) struct ActiveCall {
    metrics: Arc<Metrics>,
    call: Option<usize>,
    pub(crate) path: String,
    pub(crate) peer: Option<Peer>,
    /// The caller's trace, if the log includes it.
    trace: Option<HeaderValue>,
    since: Instant,
    status: usize,
    /// Counts the bytes of the answer.
    pub(crate) answer: Option<Arc<Hold>>,
}

impl ActiveCall {
    pub(crate) fn begin(metrics: &Arc<Metrics>, request: &Request<Body>) -> Self {
        metrics.in_flight.fetch_add(1, Ordering::Relaxed);
        let path = request.uri().path();
        let peer = request.extensions().get::<Peer>().cloned();
        if let Some(peer) = &peer {
            peer.control.begin_call();
        }
        Self {
            metrics: Arc::clone(metrics),
            call: call::position(path),
            path: path.to_owned(),
            peer,
            trace: traceparent(request.headers()),
            since: Instant::now(),
            status: CANCELLED,
            answer: None,
        }
    }

    /// Reads the status from headers or trailers, if they have it.
    fn read_status(&mut self, headers: &HeaderMap) {
        let status = headers
            .get("grpc-status")
            .and_then(|value| value.to_str().ok());
        if let Some(status) = status.and_then(|status| status.parse().ok()) {
            self.status = status;
        }
    }

    /// Counts the memory of the call until its answer is read. Open answers are not counted: their
    /// number is limited instead.
    fn count_memory(&self) {
        let Some(hold) = self.answer.as_ref().filter(|hold| !hold.is_open_answer()) else {
            return;
        };
        if hold.reserve(CALL_BYTES).is_err()
            && let Some(peer) = &self.peer
            && peer.control.calls() > MAX_UNCOUNTED_CALLS
        {
            // A refusal would take as much memory.
            peer.control.end(End::Cut);
        }
    }

    /// Tracks the answer until its end.
    pub(crate) fn track(mut self, answer: Response<Body>) -> Response<Body> {
        self.read_status(answer.headers());
        self.count_memory();
        answer.map(|inner| Body::new(AnswerBody { inner, call: self }))
    }
}

impl Drop for ActiveCall {
    fn drop(&mut self) {
        self.metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
        let after = self.since.elapsed();
        if let Some(call) = self.call {
            self.metrics.count_call(call, self.status, after);
        }
        if let Some(peer) = &self.peer {
            peer.control.end_call();
        }
        let peer = self.peer.as_ref().map(|peer| peer.addr);
        let (path, status) = (&self.path, self.status);
        let trace = self.trace.as_ref().and_then(|trace| trace.to_str().ok());
        tracing::debug!(path, ?peer, status, ?after, trace, "call");
    }
}

/// The `traceparent` header of a traced caller, if the log level includes it.
fn traceparent(headers: &HeaderMap) -> Option<HeaderValue> {
    /// Later versions of the header may be longer than the current 55 bytes.
    const MAX_BYTES: usize = 128;
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return None;
    }
    let trace = headers.get("traceparent")?;
    (trace.len() <= MAX_BYTES).then(|| trace.clone())
}

/// The body of an answer, tracked until its end.
struct AnswerBody {
    inner: Body,
    call: ActiveCall,
}

impl AnswerBody {
    /// Counts a part of the answer until it is sent.
    fn count(&self, part: Frame<Bytes>) -> Result<Frame<Bytes>, Refusal> {
        let bytes = match part.into_data() {
            Ok(bytes) => bytes,
            Err(trailers) => return Ok(trailers),
        };
        let Some(hold) = self
            .call
            .answer
            .as_ref()
            .filter(|_| bytes.len() >= MIN_COUNTED_BYTES)
        else {
            return Ok(Frame::data(bytes));
        };
        hold.reserve(bytes.len())?;
        let hold = Arc::clone(hold);
        Ok(Frame::data(Bytes::from_owner(CountedPart { bytes, hold })))
    }
}

/// A part of an answer. Its bytes are released when it is dropped after sending.
struct CountedPart {
    bytes: Bytes,
    hold: Arc<Hold>,
}

impl AsRef<[u8]> for CountedPart {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for CountedPart {
    fn drop(&mut self) {
        self.hold.release(self.bytes.len());
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(part))) = frame {
            match self.count(part) {
                Ok(part) => frame = Poll::Ready(Some(Ok(part))),
                Err(refusal) => {
                    // Parts are whole messages, so the refusal can be the next one.
                    self.call.metrics.count_refusal(refusal.code);
                    self.inner = refusal_answer(refusal).into_body();
                    frame = Pin::new(&mut self.inner).poll_frame(cx);
                }
            }
        }
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.read_status(trailers);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
