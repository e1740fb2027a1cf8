//! The one way a call is made: take a permit, send, check `stat`, translate errors.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use pingthings_types::{Version, WriteOrder};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::{
    answer::{
        arrow_body::ArrowBody,
        budget::Share,
        rows::Rows,
        rpc::{Answer, Item, Stub},
    },
    error::{Error, ErrorKind},
    method::{Lane, Method, Repeat},
    session::{Session, client::Client, limit::Permit},
    stats::{Counters, Present},
    transport::pool::Lease,
};

/// How long a read that is under way may be silent.
const LONGEST_GAP: Duration = Duration::from_mins(1);

/// A uuid as requests hold it.
pub(crate) fn uuid_bytes(uuid: Uuid) -> Bytes {
    Bytes::copy_from_slice(uuid.as_bytes())
}

impl Client {
    /// One request, one answer; repeated as far as its method allows.
    pub(crate) async fn unary<S, Q, A, F>(
        &self,
        method: Method,
        request: Q,
        send: impl Fn(S, Request<Q>) -> F + Send + Sync,
    ) -> Result<A, Error>
    where
        S: Stub,
        Q: Clone + Send + Sync,
        A: Answer + Send,
        F: Future<Output = Result<Response<A>, Status>> + Send,
    {
        let call = self.begin(method.kind());
        let repeat = method.repeat();
        let outcome = self.unary_as(repeat, None, method, request, send).await;
        call.end(&outcome);
        outcome
    }

    /// One request, one answer; repeated as far as is said. `written` is the stream whose points
    /// are changed, if any are.
    pub(crate) async fn unary_as<S, Q, A, F>(
        &self,
        repeat: Repeat,
        written: Option<Uuid>,
        method: Method,
        request: Q,
        send: impl Fn(S, Request<Q>) -> F + Send + Sync,
    ) -> Result<A, Error>
    where
        S: Stub,
        Q: Clone + Send + Sync,
        A: Answer + Send,
        F: Future<Output = Result<Response<A>, Status>> + Send,
    {
        self.repeated(repeat, method, || {
            self.send(method, repeat.lane(), written, request.clone(), &send)
        })
        .await
    }

    async fn send<S, Q, A, F>(
        &self,
        method: Method,
        lane: Lane,
        written: Option<Uuid>,
        request: Q,
        send: impl FnOnce(S, Request<Q>) -> F + Send,
    ) -> Result<A, Error>
    where
        S: Stub,
        Q: Send,
        A: Answer,
        F: Future<Output = Result<Response<A>, Status>> + Send,
    {
        let mut flight = self.take_off(method, lane).await?;
        let mut request = self.request(request);
        // Dropped when the request was answered, or is given up.
        let writing = written.map(|stream| flight.session.order.begin(stream));
        if let Some(header) = writing.as_ref().and_then(|writing| writing.header.clone()) {
            request.metadata_mut().insert(WriteOrder::HEADER, header);
        }
        let rpc = S::over(flight.lease.channel(), &flight.session.budget, method);
        let answer = flight
            .wait(self, method, Box::pin(send(rpc, request)))
            .await?;
        flight.is_over = true;
        let mut answer = answer.into_inner();
        flight.check(&mut answer)?;
        Ok(answer)
    }

    /// One request, everything that a stream of answers holds; repeated as a whole.
    pub(crate) async fn collected<S, Q, A, T, F>(
        &self,
        method: Method,
        request: Q,
        send: impl Fn(S, Request<Q>) -> F + Send + Sync,
        take: impl Fn(A) -> Result<Vec<T>, Error> + Send + Sync,
    ) -> Result<Vec<T>, Error>
    where
        S: Stub,
        Q: Clone + Send + Sync,
        A: Answer + Send,
        T: Item + Send,
        F: Future<Output = Result<Response<Streaming<A>>, Status>> + Send,
    {
        let call = self.begin(method.kind());
        let outcome = async {
            let mut share = self.state.session()?.budget.join();
            let mut backoff = self.backoff();
            self.turn(method, &mut share).await?;
            loop {
                let asked = self.streaming(method, method.repeat().lane(), request.clone(), &send);
                let items = async { asked.await?.collect(&mut share, &take).await };
                match items.await {
                    Ok(Some(items)) => return Ok(items),
                    Ok(None) => {
                        share.clear();
                        self.counters().paused_reads.add(1);
                        self.turn(method, &mut share).await?;
                    }
                    Err(error) if error.is_transient() => {
                        share.clear();
                        backoff.wait(method, error).await?;
                        self.count_retry();
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let outcome = outcome.await;
        call.end(&outcome);
        outcome
    }

    /// One request, a stream of answers. The permit is held until the stream ends or is dropped, or
    /// only until it begins if an iterator reads it: whoever does so makes other calls meanwhile, and
    /// they must not wait for it.
    pub(crate) async fn streaming<S, Q, M, F>(
        &self,
        method: Method,
        lane: Lane,
        request: Q,
        send: impl FnOnce(S, Request<Q>) -> F + Send,
    ) -> Result<Answers<M>, Error>
    where
        S: Stub,
        Q: Send,
        F: Future<Output = Result<Response<M>, Status>> + Send,
    {
        let mut flight = self.take_off(method, lane).await?;
        let request = self.request(request);
        let rpc = S::over(flight.lease.channel(), &flight.session.budget, method);
        let messages = flight
            .wait(self, method, Box::pin(send(rpc, request)))
            .await?;
        if lane == Lane::Iterator {
            flight.permit = None;
        }
        Ok(Answers {
            client: self.clone(),
            method,
            messages: messages.into_inner(),
            flight,
            gap: None,
        })
    }

    /// Waits until a read may go on, or the client is closed.
    pub(crate) async fn turn(&self, method: Method, share: &mut Share) -> Result<(), Error> {
        let session = self.state.session()?;
        let turn = async {
            tokio::select! {
                () = session.alarm.closed() => Err(Error::closed()),
                () = share.turn() => Ok(()),
            }
        };
        self.in_time(method, turn).await.map_err(Error::unsent)?
    }

    async fn take_off(&self, method: Method, lane: Lane) -> Result<Flight, Error> {
        let session = self.state.session()?;
        let counters = self.counters();
        let begun = std::time::Instant::now();
        let waiting = Present::in_(&counters.requests_waiting);
        let permit = self.in_time(method, session.limit.acquire()).await;
        drop(waiting);
        counters.wait_ns.add_since(begun);
        let permit = permit.map_err(Error::unsent)??;
        counters.requests.add(1);
        counters.requests_in_flight.add(1);
        Ok(Flight {
            counters: Arc::clone(counters),
            lease: session.pool.lease(lane),
            session,
            permit: Some(permit),
            patience: self.timeout(),
            is_over: false,
        })
    }

    fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        if let Some(trace) = &self.trace {
            *request.metadata_mut() = trace.headers();
        }
        if let Some(key) = &self.state.config.api_key {
            request.metadata_mut().insert("authorization", key.header());
        }
        request
    }
}

/// A call that is under way.
#[derive(Debug)]
struct Flight {
    session: Arc<Session>,
    lease: Lease,
    counters: Arc<Counters>,
    permit: Option<Permit>,
    /// How long the server may be silent.
    patience: Option<Duration>,
    /// Whether the server has nothing more to send.
    is_over: bool,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.counters.requests_in_flight.sub(1);
        if !self.is_over {
            self.lease.cancelled();
        }
    }
}

impl Flight {
    /// Whether the server did what it was asked.
    fn check<A: Answer>(&self, answer: &mut A) -> Result<(), Error> {
        // Success is the absence of a status; a present one with code 0 is what older servers send.
        let Some(stat) = answer.stat().filter(|stat| stat.code != 0) else {
            return Ok(());
        };
        let error = Error::new(ErrorKind::Code(stat.code), stat.msg);
        if error.is_elsewhere() {
            self.lease.failed(&error, Duration::ZERO);
        }
        Err(error)
    }

    /// What the server sends, unless it is silent for too long or the client is closed first.
    async fn wait<T>(
        &self,
        client: &Client,
        method: Method,
        answer: impl Future<Output = Result<T, Status>> + Send,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let answer = async {
            let Some(limit) = self.patience else {
                return Ok(answer.await);
            };
            let answer = tokio::time::timeout(limit, answer).await;
            answer.map_err(|_| Error::no_answer(method.name(), self.lease.endpoint(), limit))
        };
        let answer = client.in_time(method, answer);
        let answer = tokio::select! {
            // Most often it is there by the second look, and nothing else needs to be.
            biased;
            answer = answer => answer,
            () = self.lease.over() => Err(Error::forgotten(method.name(), self.lease.endpoint())),
        };
        // Nothing that has arrived meanwhile is handed out after closing.
        if self.session.alarm.is_closed() {
            return Err(Error::closed());
        }
        let answer = answer.and_then(std::convert::identity).and_then(|answer| {
            answer.map_err(|status| {
                Error::from_status(
                    method.name(),
                    self.lease.endpoint(),
                    self.lease.trusted(),
                    status,
                )
            })
        });
        if let Err(error) = &answer
            && error.is_of_connection()
        {
            self.lease.failed(error, begun.elapsed());
        }
        answer
    }
}

/// The answers of a streaming call, checked one by one.
#[derive(Debug)]
pub(crate) struct Answers<M> {
    client: Client,
    method: Method,
    messages: M,
    flight: Flight,
    /// How long the next one may take before the answer counts as cut.
    gap: Option<Duration>,
}

impl<M> Answers<M> {
    /// The answer goes on at once, as long as it goes on at all, and can be asked for again where it
    /// was cut: what becomes of a part that gets lost on the way must not be waited for for ever.
    pub(crate) const fn with_short_gaps(mut self) -> Self {
        self.gap = Some(LONGEST_GAP);
        self
    }

    /// Whoever reads by an iterator has the time of a whole call for each part.
    pub(crate) fn begin_call(&mut self) {
        self.client = self.client.for_call();
    }
}

async fn in_gap<T>(
    gap: Option<Duration>,
    message: impl Future<Output = Result<T, Status>> + Send,
) -> Result<T, Status> {
    let Some(gap) = gap else {
        return message.await;
    };
    let message = tokio::time::timeout(gap, message).await;
    message.unwrap_or_else(|_| {
        let text = format!("the answer broke off: nothing more came for {gap:?}");
        Err(Status::unavailable(text))
    })
}

impl<A: Answer> Answers<Streaming<A>> {
    /// Everything, unless the call is to wait for others first.
    async fn collect<T: Item>(
        mut self,
        share: &mut Share,
        take: impl Fn(A) -> Result<Vec<T>, Error>,
    ) -> Result<Option<Vec<T>>, Error> {
        let mut items = Vec::new();
        while let Some(answer) = self.next().await? {
            let more = take(answer)?;
            let weight = |item: &T| (size_of::<T>() + item.heap()) as u64;
            if !share.add(more.iter().map(weight).sum())? {
                return Ok(None);
            }
            items.extend(more);
        }
        Ok(Some(items))
    }

    pub(crate) async fn next(&mut self) -> Result<Option<A>, Error> {
        let message = in_gap(self.gap, self.messages.message());
        let message = self.flight.wait(&self.client, self.method, message).await?;
        let Some(mut answer) = message else {
            self.flight.is_over = true;
            return Ok(None);
        };
        self.flight.check(&mut answer)?;
        Ok(Some(answer))
    }
}

impl Answers<ArrowBody> {
    /// Adds the rows of the next message; the version they belong to.
    pub(crate) async fn next_into(&mut self, rows: &mut Rows) -> Result<Option<Version>, Error> {
        let message = self.messages.receive(rows, &self.flight.counters);
        let message = in_gap(self.gap, message);
        let message = self
            .flight
            .wait(&self.client, self.method, message)
            .await??;
        let Some(mut received) = message else {
            self.flight.is_over = true;
            return Ok(None);
        };
        self.flight.check(&mut received)?;
        Ok(Some(received.version))
    }
}
