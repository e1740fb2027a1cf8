//! The layer in front of all services: it checks the key, counts memory and injects faults.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use pingthings_proto::v5api::CreateResponse;
use pingthings_types::Code;
use prost::Message as _;
use tokio::sync::oneshot;
use tonic::Status;
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::account::{Account, Accounts};
use crate::active_call::ActiveCall;
use crate::auth::{Auth, Role};
use crate::budget::{Budget, HoldKind};
use crate::call::{self, CALLS};
use crate::caller::Caller;
use crate::config::Limits;
use crate::decompress::{Decompressor, Encoding};
use crate::fault::{Command, FaultKind, Faults};
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::status::{Refusal, Refuse};

/// The layer and what it needs.
#[derive(Clone, Debug)]
pub(crate) struct CallLayer {
    pub(crate) auth: Arc<Auth>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) decompressor: Decompressor,
    pub(crate) limits: Arc<Limits>,
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> CallService<S> {
        CallService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service behind the layer.
#[derive(Clone, Debug)]
pub(crate) struct CallService<S> {
    inner: S,
    layer: CallLayer,
}

type Answer = Result<Response<Body>, Infallible>;

impl<S> Service<Request<Body>> for CallService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
    S: Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The instance that was polled ready must be the one that is called.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let layer = self.layer.clone();
        let mut active_call = ActiveCall::begin(&layer.metrics, &request);
        // A call without permission costs no more than this.
        let (request, mut refused) = match layer.admit(request, &mut active_call) {
            Ok(admitted) => admitted,
            Err(status) => {
                let answer = active_call.track(status.into_http());
                return Box::pin(std::future::ready(Ok(answer)));
            }
        };
        Box::pin(async move {
            let mut answer = match layer.inject_fault(&active_call).await {
                Some(answer) => answer,
                None => inner.call(request).await?,
            };
            if let Ok(refusal) = refused.try_recv() {
                layer.metrics.count_refusal(refusal.code);
                answer = refusal_answer(refusal);
            }
            Ok(active_call.track(answer))
        })
    }
}

/// Why a call is permitted.
enum Admission {
    /// The call is public.
    Public,
    /// The server permits it without a key.
    WithoutKey,
    /// The key of this account permits it.
    WithKey(Arc<Account>),
}

impl CallLayer {
    /// Applies the current fault to a call. Returns the answer if the fault makes one.
    async fn inject_fault(&self, call: &ActiveCall) -> Option<Response<Body>> {
        let fault = self.faults.take_for(&call.path)?;
        tracing::debug!(path = call.path, ?fault, "injecting a fault");
        let control = call.peer.as_ref().map(|peer| &peer.control);
        match fault {
            FaultKind::Delay(time) => tokio::time::sleep(time).await,
            FaultKind::Hang => std::future::pending().await,
            FaultKind::Busy => {
                let refusal =
                    Refusal::new(Code::ResourceDepleted, "overloaded by an injected fault");
                self.metrics.count_refusal(refusal.code);
                return Some(refusal_answer(refusal));
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
                // The call must not be handled before its connection closes.
                std::future::pending::<()>().await;
            }
        }
        None
    }

    /// Admits a permitted call and counts its bytes from then on.
    ///
    /// The receiver gets the refusal if the request is refused while it arrives.
    fn admit(
        &self,
        request: Request<Body>,
        active_call: &mut ActiveCall,
    ) -> Result<(Request<Body>, oneshot::Receiver<Refusal>), Status> {
        let peer = active_call.peer.as_ref();
        let control = peer.map(|peer| Arc::clone(&peer.control));
        let checked = self.check(request.uri().path(), request.headers());
        let admitted = checked.inspect_err(|_| {
            if let Some(control) = &control {
                control.count_wasted_calls(1);
            }
        })?;
        let is_authorized = !matches!(admitted, Admission::Public);
        let of_connection = || match &control {
            Some(control) => Arc::clone(&control.account),
            None => Account::new(&self.limits),
        };
        let account = match admitted {
            Admission::WithKey(account) => account,
            Admission::Public | Admission::WithoutKey => of_connection(),
        };
        if let Some(control) = control.as_ref().filter(|_| is_authorized) {
            control.authorize(&account);
        }
        let hold = |kind| {
            self.budget
                .new_hold(kind, Arc::clone(&account), control.clone())
        };
        let caller = Caller {
            account: Arc::clone(&account),
            request: hold(HoldKind::Request),
            answer: hold(HoldKind::Answer),
        };
        active_call.answer = Some(Arc::clone(&caller.answer));

        let (refusals, refused) = oneshot::channel();
        let (mut head, body) = request.into_parts();
        let encoding = Encoding::from_headers(&head.headers);
        if encoding.is_some() {
            // The intake decompresses the request, so tonic must not do it again.
            head.headers.remove("grpc-encoding");
        }
        let intake = Intake::new(
            body,
            &head,
            &self.limits,
            encoding,
            self.decompressor.clone(),
            &caller,
            refusals,
        );
        head.extensions.insert(caller);
        Ok((Request::from_parts(head, Body::new(intake)), refused))
    }

    /// Checks that the caller may make the call.
    fn check(&self, path: &str, headers: &HeaderMap) -> Result<Admission, Status> {
        let needed = match call::position(path).and_then(|at| CALLS.get(at)) {
            Some((_, None)) => return Ok(Admission::Public),
            Some((_, Some(role))) => *role,
            // Every key may learn that a call does not exist.
            None if path_is_unknown(path) => Role::Read,
            None => Role::Admin,
        };
        let (role, key) = self.auth.check(headers)?;
        if role < needed {
            return Err(Status::permission_denied(format!(
                "this api key has the role `{}`, but `{}` needs `{}`",
                role.name(),
                call::name(path),
                needed.name()
            )));
        }
        Ok(key.map_or(Admission::WithoutKey, |key| {
            Admission::WithKey(self.accounts.with_key(key))
        }))
    }
}

/// Whether this server has no service with this path.
fn path_is_unknown(path: &str) -> bool {
    let service = |path: &str| path.rsplit_once('/').map(|(service, _)| service.to_owned());
    let requested = service(path);
    !CALLS.iter().any(|(known, _)| service(known) == requested)
}

/// An answer that contains only a refusal.
pub(crate) fn refusal_answer(refusal: Refusal) -> Response<Body> {
    // `stat` has the same field number in every answer.
    let message = CreateResponse::refuse(refusal);
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
