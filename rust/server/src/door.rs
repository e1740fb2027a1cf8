//! What every call passes on its way in and out: the key, what it may hold, the fault that is set.

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

use crate::auth::{Auth, Role};
use crate::budget::{Budget, Kind};
use crate::call::{self, CALLS};
use crate::caller::Caller;
use crate::config::Limits;
use crate::fault::{Command, FaultKind, Faults};
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::ongoing::Ongoing;
use crate::owner::{Owner, Owners};
use crate::status::{Refusal, Refuse};
use crate::unpack::{Packing, Unpacker};

/// What stands at the door.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) auth: Arc<Auth>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) owners: Arc<Owners>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) unpacker: Unpacker,
    pub(crate) limits: Arc<Limits>,
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
        let mut ongoing = Ongoing::begin(&door.metrics, &request);
        // Whoever may not call costs nothing more than this.
        let (request, mut refused) = match door.admit(request, &mut ongoing) {
            Ok(admitted) => admitted,
            Err(status) => {
                return Box::pin(std::future::ready(Ok(ongoing.follow(status.into_http()))));
            }
        };
        Box::pin(async move {
            let mut answer = match door.fault(&ongoing).await {
                Some(answer) => answer,
                None => inner.call(request).await?,
            };
            if let Ok(refusal) = refused.try_recv() {
                door.metrics.refused(refusal.code);
                answer = self::refused(refusal);
            }
            Ok(ongoing.follow(answer))
        })
    }
}

/// Why a call is let in.
enum Admitted {
    /// Anybody may make it.
    Anybody,
    /// Its caller needs no key.
    WithoutKey,
    /// Its caller has this key.
    WithKey(Arc<Owner>),
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
                return Some(refused(refusal));
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

    /// Lets a call in whose caller may make it; from then on its bytes are counted. What it gives
    /// besides learns of it if the request is refused on its way in.
    fn admit(
        &self,
        request: Request<Body>,
        ongoing: &mut Ongoing,
    ) -> Result<(Request<Body>, oneshot::Receiver<Refusal>), Status> {
        let control = ongoing.peer.as_ref().map(|peer| Arc::clone(&peer.control));
        let checked = self.check(request.uri().path(), request.headers());
        let admitted = checked.inspect_err(|_| {
            if let Some(control) = &control {
                control.count_in_vain(1);
            }
        })?;
        let may_call = !matches!(admitted, Admitted::Anybody);
        let of_connection = || match &control {
            Some(control) => Arc::clone(&control.owner),
            None => Owner::new(&self.limits),
        };
        let owner = match admitted {
            Admitted::WithKey(owner) => owner,
            Admitted::Anybody | Admitted::WithoutKey => of_connection(),
        };
        if let Some(control) = control.as_ref().filter(|_| may_call) {
            control.recognize(&owner);
        }
        let hold = |kind| self.budget.hold(kind, Arc::clone(&owner), control.clone());
        let caller = Caller {
            owner: Arc::clone(&owner),
            request: hold(Kind::Request),
            answer: hold(Kind::Answer),
        };
        ongoing.answer = Some(Arc::clone(&caller.answer));

        let (tell, refused) = oneshot::channel();
        let (mut head, body) = request.into_parts();
        let packing = Packing::of(&head.headers);
        if packing.is_some() {
            // Nobody behind the door is to unpack it again.
            head.headers.remove("grpc-encoding");
        }
        let intake = Intake::new(
            body,
            &head,
            &self.limits,
            packing,
            self.unpacker.clone(),
            &caller,
            tell,
        );
        head.extensions.insert(caller);
        Ok((Request::from_parts(head, Body::new(intake)), refused))
    }

    /// Checks that the caller may make the call.
    fn check(&self, path: &str, headers: &HeaderMap) -> Result<Admitted, Status> {
        let needed = match call::position(path).and_then(|at| CALLS.get(at)) {
            Some((_, None)) => return Ok(Admitted::Anybody),
            Some((_, Some(role))) => *role,
            // A call that does not exist is said not to, to whoever has a key.
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
        Ok(key.map_or(Admitted::WithoutKey, |key| {
            Admitted::WithKey(self.owners.with_key(key))
        }))
    }
}

/// Whether no service of this server can be at the path.
fn path_is_unknown(path: &str) -> bool {
    let service = |path: &str| path.rsplit_once('/').map(|(service, _)| service.to_owned());
    let asked = service(path);
    !CALLS.iter().any(|(known, _)| service(known) == asked)
}

/// An answer that says nothing but why there is none.
pub(crate) fn refused(refusal: Refusal) -> Response<Body> {
    // In every answer `stat` is at the same place.
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
