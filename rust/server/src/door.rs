//! What every call passes on its way in and out: the key, the fault that is set, the counters.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use pingthings_proto::v5api::CreateResponse;
use pingthings_types::Code;
use prost::Message as _;
use tonic::Status;
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::auth::{Auth, Role};
use crate::call::{self, CALLS};
use crate::connection::Peer;
use crate::fault::{Command, FaultKind, Faults};
use crate::metrics::{CANCELLED, Metrics};
use crate::status::{Refusal, Refuse};

/// What stands at the door.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) auth: Arc<Auth>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) metrics: Arc<Metrics>,
}

impl<S> Layer<S> for Door {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            door: self.clone(),
        }
    }
}

/// A service behind a door.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<S> {
    inner: S,
    door: Door,
}

type Answered = Result<Response<Body>, Infallible>;

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
    S: Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answered> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The service that said it was ready is the one to call.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let door = self.door.clone();
        Box::pin(async move {
            let ongoing = Ongoing::begin(&door.metrics, &request);
            if let Err(status) = door.check(request.uri().path(), request.headers()) {
                return Ok(ongoing.follow(status.into_http()));
            }
            let answer = match door.fault(&ongoing).await {
                Some(answer) => answer,
                None => inner.call(request).await?,
            };
            Ok(ongoing.follow(answer))
        })
    }
}

impl Door {
    /// Does to a call what the fault that is set does; gives the answer, if that is one.
    async fn fault(&self, call: &Ongoing) -> Option<Response<Body>> {
        let fault = self.faults.strike(&call.path)?;
        tracing::debug!(path = call.path, ?fault, "a fault strikes");
        let control = call.peer.as_ref().map(|peer| &peer.control);
        match fault {
            FaultKind::Delay(time) => tokio::time::sleep(time).await,
            FaultKind::Hang => std::future::pending().await,
            FaultKind::Busy => {
                let refusal = Refusal::new(Code::ResourceDepleted, "overloaded on purpose");
                self.metrics.refused(refusal.code);
                // In every answer `stat` is at the same place.
                return Some(whole(&CreateResponse::refuse(refusal)));
            }
            FaultKind::Cut { after } => {
                if let Some(control) = control {
                    control.cut_after(after);
                }
            }
            FaultKind::SlowReader { bytes_per_second } => {
                if let Some(control) = control {
                    control.slow_down(bytes_per_second);
                }
            }
            FaultKind::GoAway => self.faults.command(Command::GoAway),
            FaultKind::Restart { down } => {
                self.faults.command(Command::Restart(down));
                // The connection breaks; nothing is to be handled before it does.
                std::future::pending::<()>().await;
            }
        }
        None
    }

    /// Checks that the caller may make the call.
    fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), Status> {
        let needed = match call::position(path).and_then(|at| CALLS.get(at)) {
            Some((_, None)) => return Ok(()),
            Some((_, Some(role))) => *role,
            // A call that does not exist is said not to, to whoever has a key.
            None if path_is_unknown(path) => Role::Read,
            None => Role::Admin,
        };
        let role = self.auth.role(headers)?;
        if role < needed {
            return Err(Status::permission_denied(format!(
                "this api key has the role `{}`, but `{}` needs `{}`",
                role.name(),
                call::name(path),
                needed.name()
            )));
        }
        Ok(())
    }
}

/// Whether no service of this server can be at the path.
fn path_is_unknown(path: &str) -> bool {
    let service = |path: &str| path.rsplit_once('/').map(|(service, _)| service.to_owned());
    let asked = service(path);
    !CALLS.iter().any(|(known, _)| service(known) == asked)
}

/// An answer of one message.
fn whole(message: &CreateResponse) -> Response<Body> {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    bytes.extend_from_slice(&message.encode_to_vec());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = http_body_util::Full::new(bytes.freeze())
        .with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut answer = Response::new(Body::new(body));
    let kind = HeaderValue::from_static("application/grpc");
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, kind);
    answer
}

/// A call under way; counted when it ends.
struct Ongoing {
    metrics: Arc<Metrics>,
    call: Option<usize>,
    path: String,
    peer: Option<Peer>,
    /// Of which trace of the caller it is a part, where that is logged.
    trace: Option<HeaderValue>,
    since: Instant,
    status: usize,
}

impl Ongoing {
    fn begin(metrics: &Arc<Metrics>, request: &Request<Body>) -> Self {
        metrics.in_flight.fetch_add(1, Ordering::Relaxed);
        let path = request.uri().path();
        Self {
            metrics: Arc::clone(metrics),
            call: call::position(path),
            path: path.to_owned(),
            peer: request.extensions().get::<Peer>().cloned(),
            trace: traceparent(request.headers()),
            since: Instant::now(),
            status: CANCELLED,
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

    fn follow(mut self, answer: Response<Body>) -> Response<Body> {
        self.note(answer.headers());
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

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
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
