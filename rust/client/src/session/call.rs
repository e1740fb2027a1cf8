//! How every request is made: take a permit, send, check `stat`, convert errors.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use pingthings_types::{Version, WriteOrder};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::{
    answer::{
        arrow_body::ArrowBody,
        budget::Reservation,
        rows::Rows,
        rpc::{Answer, Item, Stub},
    },
    error::{Error, ErrorKind},
    method::{ConnectionClass, Method, RetryPolicy},
    session::{Session, client::Client, concurrency_limit::Permit},
    stats::{Counters, GaugeGuard},
    transport::pool::Lease,
};

/// The longest pause between two messages of a read.
const MAX_GAP: Duration = Duration::from_mins(1);

/// The bytes of a uuid, as messages contain them.
pub(crate) fn uuid_bytes(uuid: Uuid) -> Bytes {
    Bytes::copy_from_slice(uuid.as_bytes())
}

impl Client {
    /// Makes a call with one request and one answer, and retries it according to its method.
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
        let call = self.count_call(method.kind());
        let policy = method.retry_policy();
        let outcome = self.unary_with(policy, None, method, request, send).await;
        call.end(&outcome);
        outcome
    }

    /// Makes a call with one request and one answer, with this retry policy. `stream` is the stream
    /// whose points the call changes, if any.
    pub(crate) async fn unary_with<S, Q, A, F>(
        &self,
        policy: RetryPolicy,
        stream: Option<Uuid>,
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
        self.retry(policy, method, || {
            self.send(
                method,
                policy.connection_class(),
                stream,
                request.clone(),
                &send,
            )
        })
        .await
    }

    async fn send<S, Q, A, F>(
        &self,
        method: Method,
        class: ConnectionClass,
        stream: Option<Uuid>,
        request: Q,
        send: impl FnOnce(S, Request<Q>) -> F + Send,
    ) -> Result<A, Error>
    where
        S: Stub,
        Q: Send,
        A: Answer,
        F: Future<Output = Result<Response<A>, Status>> + Send,
    {
        let mut active = self.start_request(method, class).await?;
        let mut request = self.request(request);
        // Dropped when the request is answered or cancelled.
        let pending_write = stream.map(|stream| active.session.pending_writes.begin(stream));
        if let Some(header) = pending_write
            .as_ref()
            .and_then(|write| write.header.clone())
        {
            request.metadata_mut().insert(WriteOrder::HEADER, header);
        }
        let rpc = S::over(active.lease.channel(), &active.session.budget, method);
        let answer = active
            .wait(self, method, Box::pin(send(rpc, request)))
            .await?;
        active.is_finished = true;
        let mut answer = answer.into_inner();
        active.check(&mut answer)?;
        Ok(answer)
    }

    /// Makes a call with one request and a stream of answers, and collects all items. The whole
    /// call is repeated after a failure.
    pub(crate) async fn collect_stream<S, Q, A, T, F>(
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
        let call = self.count_call(method.kind());
        let outcome = async {
            let mut reservation = self.state.session()?.budget.begin_read();
            let mut backoff = self.backoff();
            self.wait_for_turn(method, &mut reservation).await?;
            loop {
                let stream = self.streaming(
                    method,
                    method.retry_policy().connection_class(),
                    request.clone(),
                    &send,
                );
                let items = async { stream.await?.collect(&mut reservation, &take).await };
                match items.await {
                    Ok(Some(items)) => return Ok(items),
                    Ok(None) => {
                        reservation.clear();
                        self.counters().paused_reads.add(1);
                        self.wait_for_turn(method, &mut reservation).await?;
                    }
                    Err(error) if error.is_transient() => {
                        reservation.clear();
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

    /// Makes a call with one request and a stream of answers.
    ///
    /// The permit is held until the stream ends or is dropped. For an iterator it is held only
    /// until the stream begins: the program may make other calls while it iterates, and these must
    /// not wait for the permit.
    pub(crate) async fn streaming<S, Q, M, F>(
        &self,
        method: Method,
        class: ConnectionClass,
        request: Q,
        send: impl FnOnce(S, Request<Q>) -> F + Send,
    ) -> Result<AnswerStream<M>, Error>
    where
        S: Stub,
        Q: Send,
        F: Future<Output = Result<Response<M>, Status>> + Send,
    {
        let mut active = self.start_request(method, class).await?;
        let request = self.request(request);
        let rpc = S::over(active.lease.channel(), &active.session.budget, method);
        let messages = active
            .wait(self, method, Box::pin(send(rpc, request)))
            .await?;
        if class == ConnectionClass::Iterator {
            active.permit = None;
        }
        Ok(AnswerStream {
            client: self.clone(),
            method,
            messages: messages.into_inner(),
            active,
            gap_limit: None,
        })
    }

    /// Waits until a read may use memory, or the client is closed.
    pub(crate) async fn wait_for_turn(
        &self,
        method: Method,
        reservation: &mut Reservation,
    ) -> Result<(), Error> {
        let session = self.state.session()?;
        let wait = async {
            tokio::select! {
                () = session.interrupt.wait_until_closed() => Err(Error::closed()),
                () = reservation.wait_for_turn() => Ok(()),
            }
        };
        self.within_deadline(method, wait)
            .await
            .map_err(Error::unsent)?
    }

    async fn start_request(
        &self,
        method: Method,
        class: ConnectionClass,
    ) -> Result<ActiveRequest, Error> {
        let session = self.state.session()?;
        let counters = self.counters();
        let begun = std::time::Instant::now();
        let waiting = GaugeGuard::new(&counters.requests_waiting);
        let permit = self.within_deadline(method, session.limit.acquire()).await;
        drop(waiting);
        counters.wait_ns.add_since(begun);
        let permit = permit.map_err(Error::unsent)??;
        counters.requests.add(1);
        counters.requests_in_flight.add(1);
        Ok(ActiveRequest {
            counters: Arc::clone(counters),
            lease: session.pool.lease(class),
            session,
            permit: Some(permit),
            answer_timeout: self.timeout(),
            is_finished: false,
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

/// A request that was sent and whose answer is not complete.
#[derive(Debug)]
struct ActiveRequest {
    session: Arc<Session>,
    lease: Lease,
    counters: Arc<Counters>,
    permit: Option<Permit>,
    /// How long the server may send nothing.
    answer_timeout: Option<Duration>,
    /// Whether the answer is complete.
    is_finished: bool,
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.counters.requests_in_flight.sub(1);
        if !self.is_finished {
            self.lease.report_cancellation();
        }
    }
}

impl ActiveRequest {
    /// Returns the error that an answer reports, if any.
    fn check<A: Answer>(&self, answer: &mut A) -> Result<(), Error> {
        // An answer without status is a success. Older servers send a status with code 0 instead.
        let Some(stat) = answer.stat().filter(|stat| stat.code != 0) else {
            return Ok(());
        };
        let error = Error::new(ErrorKind::Code(stat.code), stat.msg);
        if error.needs_other_endpoint() {
            self.lease.report_failure(&error, Duration::ZERO);
        }
        Err(error)
    }

    /// Waits for the server. Fails if it sends nothing for too long, or if the client is closed.
    async fn wait<T>(
        &self,
        client: &Client,
        method: Method,
        answer: impl Future<Output = Result<T, Status>> + Send,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let answer = async {
            let Some(limit) = self.answer_timeout else {
                return Ok(answer.await);
            };
            let answer = tokio::time::timeout(limit, answer).await;
            answer.map_err(|_| Error::no_answer(method.name(), self.lease.endpoint(), limit))
        };
        let answer = client.within_deadline(method, answer);
        let answer = tokio::select! {
            // The answer is usually ready at the second poll, and then the other future is not
            // polled.
            biased;
            answer = answer => answer,
            () = self.lease.wait_until_lost() => {
                Err(Error::connection_lost(method.name(), self.lease.endpoint()))
            }
        };
        // Answers that arrived before the client was closed are discarded.
        if self.session.interrupt.is_closed() {
            return Err(Error::closed());
        }
        let answer = answer.and_then(std::convert::identity).and_then(|answer| {
            answer.map_err(|status| {
                Error::from_status(
                    method.name(),
                    self.lease.endpoint(),
                    self.lease.trusted_roots(),
                    status,
                )
            })
        });
        if let Err(error) = &answer
            && error.is_connection_error()
        {
            self.lease.report_failure(error, begun.elapsed());
        }
        answer
    }
}

/// The messages of a streaming answer; each one is checked for an error.
#[derive(Debug)]
pub(crate) struct AnswerStream<M> {
    client: Client,
    method: Method,
    messages: M,
    active: ActiveRequest,
    /// How long the next message may take before the answer counts as interrupted.
    gap_limit: Option<Duration>,
}

impl<M> AnswerStream<M> {
    /// Limits the pause between messages, for an answer that the server sends without pauses and
    /// that can be requested again. Otherwise a lost packet could make the call wait for ever.
    pub(crate) const fn with_gap_limit(mut self) -> Self {
        self.gap_limit = Some(MAX_GAP);
        self
    }

    /// Starts the deadline again, because each step of an iterator counts as a call.
    pub(crate) fn begin_call(&mut self) {
        self.client = self.client.for_call();
    }
}

async fn within_gap<T>(
    gap_limit: Option<Duration>,
    message: impl Future<Output = Result<T, Status>> + Send,
) -> Result<T, Status> {
    let Some(gap) = gap_limit else {
        return message.await;
    };
    let message = tokio::time::timeout(gap, message).await;
    message.unwrap_or_else(|_| {
        let text = format!("the answer was interrupted: the server sent nothing more for {gap:?}");
        Err(Status::unavailable(text))
    })
}

impl<A: Answer> AnswerStream<Streaming<A>> {
    /// Collects all items, or returns `None` if the call must wait for memory.
    async fn collect<T: Item>(
        mut self,
        reservation: &mut Reservation,
        take: impl Fn(A) -> Result<Vec<T>, Error>,
    ) -> Result<Option<Vec<T>>, Error> {
        let mut items = Vec::new();
        while let Some(answer) = self.next().await? {
            let more = take(answer)?;
            let memory = |item: &T| (size_of::<T>() + item.heap_bytes()) as u64;
            if !reservation.add(more.iter().map(memory).sum())? {
                return Ok(None);
            }
            items.extend(more);
        }
        Ok(Some(items))
    }

    pub(crate) async fn next(&mut self) -> Result<Option<A>, Error> {
        let message = within_gap(self.gap_limit, self.messages.message());
        let message = self.active.wait(&self.client, self.method, message).await?;
        let Some(mut answer) = message else {
            self.active.is_finished = true;
            return Ok(None);
        };
        self.active.check(&mut answer)?;
        Ok(Some(answer))
    }
}

impl AnswerStream<ArrowBody> {
    /// Adds the rows of the next message and returns their version; `None` at the end.
    pub(crate) async fn next_into(&mut self, rows: &mut Rows) -> Result<Option<Version>, Error> {
        let message = self.messages.receive(rows, &self.active.counters);
        let message = within_gap(self.gap_limit, message);
        let message = self
            .active
            .wait(&self.client, self.method, message)
            .await??;
        let Some(mut received) = message else {
            self.active.is_finished = true;
            return Ok(None);
        };
        self.active.check(&mut received)?;
        Ok(Some(received.version))
    }
}
