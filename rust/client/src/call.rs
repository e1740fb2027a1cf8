//! The one way a call is made: take a permit, send, check `stat`, translate errors.

use std::{future::Future, sync::Arc, time::Duration};

use pingthings_proto::{
    management::{self, management_client::ManagementClient},
    v5api::{self, b_tr_db_client::BTrDbClient},
};
use tonic::{Request, Response, Status, Streaming, codec::CompressionEncoding, transport::Channel};

use crate::{
    Client,
    connection::Session,
    error::{Error, ErrorKind},
    limit::Permit,
    retry::Repeat,
};

pub(crate) type Rpc = BTrDbClient<Channel>;
pub(crate) type ManagementRpc = ManagementClient<Channel>;

/// The calls of a service over a channel.
pub(crate) trait Stub: Send {
    fn over(channel: Channel) -> Self;
}

impl Stub for Rpc {
    fn over(channel: Channel) -> Self {
        Self::new(channel)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
    }
}

impl Stub for ManagementRpc {
    fn over(channel: Channel) -> Self {
        Self::new(channel).max_decoding_message_size(usize::MAX)
    }
}

/// An answer that says in `stat` whether the server refused.
pub(crate) trait Answer {
    fn stat(&mut self) -> Option<v5api::Status>;
}

macro_rules! answers {
    ($package:ident: $($message:ident)*) => {
        $(impl Answer for $package::$message {
            fn stat(&mut self) -> Option<v5api::Status> {
                self.stat.take()
            }
        })*
    };
}

answers! { v5api:
    InfoResponse CreateResponse StreamInfoResponse LookupStreamsResponse ListCollectionsResponse
    InsertResponse NearestResponse FlushResponse RawValuesResponse ArrowRawValuesResponse
    AlignedWindowsResponse ArrowAlignedWindowsResponse WindowsResponse ArrowWindowsResponse
    ChangesResponse DeleteResponse ObliterateResponse SetStreamTagsResponse
    SetStreamAnnotationsResponse SqlQueryResponse
}

answers! { management:
    GetStreamRetentionResponse SetStreamRetentionResponse GetCollectionResponse
    SetCollectionRetentionResponse GetVersionAtTimeResponse ListRecordsResponse RecordResponse
    DeleteRecordResponse
}

fn check<A: Answer>(answer: &mut A) -> Result<(), Error> {
    // Success is the absence of a status; a present one with code 0 is what older servers send.
    match answer.stat() {
        Some(stat) if stat.code != 0 => Err(Error::new(ErrorKind::Code(stat.code), stat.msg)),
        _ => Ok(()),
    }
}

impl Client {
    /// One request, one answer; repeated as far as its method allows.
    pub(crate) async fn unary<S, Q, A, F>(
        &self,
        method: &'static str,
        request: Q,
        send: impl Fn(S, Request<Q>) -> F + Send + Sync,
    ) -> Result<A, Error>
    where
        S: Stub,
        Q: Clone + Send + Sync,
        A: Answer + Send,
        F: Future<Output = Result<Response<A>, Status>> + Send,
    {
        let repeat = Repeat::of(method);
        self.unary_as(repeat, method, request, send).await
    }

    /// One request, one answer; repeated as far as is said.
    pub(crate) async fn unary_as<S, Q, A, F>(
        &self,
        repeat: Repeat,
        method: &'static str,
        request: Q,
        send: impl Fn(S, Request<Q>) -> F + Send + Sync,
    ) -> Result<A, Error>
    where
        S: Stub,
        Q: Clone + Send + Sync,
        A: Answer + Send,
        F: Future<Output = Result<Response<A>, Status>> + Send,
    {
        self.repeated(repeat, method, || self.send(method, request.clone(), &send))
            .await
    }

    async fn send<S, Q, A, F>(
        &self,
        method: &'static str,
        request: Q,
        send: impl FnOnce(S, Request<Q>) -> F + Send,
    ) -> Result<A, Error>
    where
        S: Stub,
        Q: Send,
        A: Answer,
        F: Future<Output = Result<Response<A>, Status>> + Send,
    {
        let flight = self.take_off().await?;
        let request = self.request(request);
        let rpc = S::over(flight.session.channel());
        let answer = flight.wait(self, method, send(rpc, request)).await?;
        let mut answer = answer.into_inner();
        check(&mut answer)?;
        Ok(answer)
    }

    /// One request, everything that a stream of answers holds; repeated as a whole.
    pub(crate) async fn collected<S, Q, A, T, F>(
        &self,
        method: &'static str,
        request: Q,
        send: impl Fn(S, Request<Q>) -> F + Send + Sync,
        take: impl Fn(A) -> Result<Vec<T>, Error> + Send + Sync,
    ) -> Result<Vec<T>, Error>
    where
        S: Stub,
        Q: Clone + Send + Sync,
        A: Answer + Send,
        T: Send,
        F: Future<Output = Result<Response<Streaming<A>>, Status>> + Send,
    {
        self.repeated(Repeat::Always, method, || async {
            let mut answers = self.streaming(method, request.clone(), &send).await?;
            let mut items = Vec::new();
            while let Some(answer) = answers.next().await? {
                items.extend(take(answer)?);
            }
            Ok(items)
        })
        .await
    }

    /// One request, a stream of answers. The permit is held until the stream ends or is dropped.
    pub(crate) async fn streaming<S, Q, A, F>(
        &self,
        method: &'static str,
        request: Q,
        send: impl FnOnce(S, Request<Q>) -> F + Send,
    ) -> Result<Answers<A>, Error>
    where
        S: Stub,
        Q: Send,
        A: Answer,
        F: Future<Output = Result<Response<Streaming<A>>, Status>> + Send,
    {
        let flight = self.take_off().await?;
        let request = self.request(request);
        let rpc = S::over(flight.session.channel());
        let messages = flight.wait(self, method, send(rpc, request)).await?;
        Ok(Answers {
            client: self.clone(),
            method,
            messages: messages.into_inner(),
            flight,
        })
    }

    async fn take_off(&self) -> Result<Flight, Error> {
        let session = self.connection.session()?;
        let permit = session.limit.acquire().await?;
        Ok(Flight {
            session,
            permit: Some(permit),
            patience: self.connection.patience(),
        })
    }

    fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        if let Some(key) = &self.connection.config.api_key {
            request.metadata_mut().insert("authorization", key.header());
        }
        request
    }

    fn translate(&self, method: &'static str, status: Status) -> Error {
        Error::from_status(method, &self.connection.config.endpoint.to_string(), status)
    }
}

/// A call that is under way.
#[derive(Debug)]
struct Flight {
    session: Arc<Session>,
    permit: Option<Permit>,
    /// How long the server may be silent.
    patience: Option<Duration>,
}

impl Flight {
    /// What the server sends, unless it is silent for too long or the client is closed first.
    async fn wait<T>(
        &self,
        client: &Client,
        method: &'static str,
        answer: impl Future<Output = Result<T, Status>> + Send,
    ) -> Result<T, Error> {
        let mut closing = self.session.closing.subscribe();
        let answer = async {
            let Some(limit) = self.patience else {
                return Ok(answer.await);
            };
            let endpoint = || client.connection.config.endpoint.to_string();
            let answer = tokio::time::timeout(limit, answer).await;
            answer.map_err(|_| Error::no_answer(method, &endpoint(), limit))
        };
        let answer = tokio::select! {
            biased;
            // First, so that nothing that has arrived meanwhile is handed out after closing.
            _ = closing.wait_for(|closed| *closed) => return Err(Error::closed()),
            answer = answer => answer?,
        };
        answer.map_err(|status| client.translate(method, status))
    }
}

/// The answers of a streaming call, checked one by one.
#[derive(Debug)]
pub(crate) struct Answers<A> {
    client: Client,
    method: &'static str,
    messages: Streaming<A>,
    flight: Flight,
}

impl<A: Answer> Answers<A> {
    /// The permit, for somebody else to hold.
    pub(crate) const fn take_permit(&mut self) -> Option<Permit> {
        self.flight.permit.take()
    }

    pub(crate) async fn next(&mut self) -> Result<Option<A>, Error> {
        let message = self.messages.message();
        let message = self.flight.wait(&self.client, self.method, message).await?;
        let Some(mut answer) = message else {
            return Ok(None);
        };
        check(&mut answer)?;
        Ok(Some(answer))
    }
}
