//! A call under way, until the last of its answer is taken: counted, followed, and held to account.

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
use crate::door::refused;
use crate::metrics::{CANCELLED, Metrics};
use crate::peer::{End, Peer};
use crate::status::Refusal;

/// Parts of answers that are smaller are not counted: most answers are, and are taken at once.
pub(crate) const COUNTED: usize = 4 << 10;

/// A call under way; counted when it ends.
pub(crate) struct Ongoing {
    metrics: Arc<Metrics>,
    call: Option<usize>,
    pub(crate) path: String,
    pub(crate) peer: Option<Peer>,
    /// Of which trace of the caller it is a part, where that is logged.
    trace: Option<HeaderValue>,
    since: Instant,
    status: usize,
    /// What is held of the answer.
    pub(crate) answer: Option<Arc<Hold>>,
}

impl Ongoing {
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

    /// Takes the status from headers or trailers, if it is there.
    fn note(&mut self, headers: &HeaderMap) {
        let status = headers
            .get("grpc-status")
            .and_then(|value| value.to_str().ok());
        if let Some(status) = status.and_then(|status| status.parse().ok()) {
            self.status = status;
        }
    }

    /// Counts what the call takes until its answer is taken, unless there are only so many of them.
    fn count(&self) {
        let Some(hold) = self.answer.as_ref().filter(|hold| !hold.is_placed()) else {
            return;
        };
        if hold.take(CALL_BYTES).is_err()
            && let Some(peer) = &self.peer
        {
            // To refuse it would take as much.
            peer.control.end(End::Cut);
        }
    }

    /// The answer, followed until its end.
    pub(crate) fn follow(mut self, answer: Response<Body>) -> Response<Body> {
        self.note(answer.headers());
        self.count();
        answer.map(|inner| {
            Body::new(Followed {
                inner,
                ongoing: self,
            })
        })
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
        let after = self.since.elapsed();
        if let Some(call) = self.call {
            self.metrics.ended(call, self.status, after);
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

/// What a caller that is traced says of its trace, if somebody may read it.
fn traceparent(headers: &HeaderMap) -> Option<HeaderValue> {
    /// Later versions of it may say more.
    const LONGEST: usize = 128;
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return None;
    }
    let trace = headers.get("traceparent")?;
    (trace.len() <= LONGEST).then(|| trace.clone())
}

/// The body of an answer, followed until its end.
struct Followed {
    inner: Body,
    ongoing: Ongoing,
}

impl Followed {
    /// Counts a part of the answer until the last of it was sent.
    fn count(&self, part: Frame<Bytes>) -> Result<Frame<Bytes>, Refusal> {
        let bytes = match part.into_data() {
            Ok(bytes) => bytes,
            Err(trailers) => return Ok(trailers),
        };
        let Some(hold) = self
            .ongoing
            .answer
            .as_ref()
            .filter(|_| bytes.len() >= COUNTED)
        else {
            return Ok(Frame::data(bytes));
        };
        hold.take(bytes.len())?;
        let hold = Arc::clone(hold);
        Ok(Frame::data(Bytes::from_owner(Part { bytes, hold })))
    }
}

/// A part of an answer, which gives its bytes back once it was sent.
struct Part {
    bytes: Bytes,
    hold: Arc<Hold>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.hold.give(self.bytes.len());
    }
}

impl http_body::Body for Followed {
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
                    // Parts are whole messages, so what says why is the next one.
                    self.ongoing.metrics.refused(refusal.code);
                    self.inner = refused(refusal).into_body();
                    frame = Pin::new(&mut self.inner).poll_frame(cx);
                }
            }
        }
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.ongoing.note(trailers);
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
