//! The calls of both contracts: they decode requests, call the engine and encode answers.

mod answers;
mod changes;
mod csv;
mod half_close;
mod info;
mod management;
mod metadata;
mod multi;
mod read;
mod request;
mod sql;
mod subscribe;
mod windows;
mod write;

use std::convert::Infallible;
use std::sync::Arc;

use pingthings_proto::management::management_server::ManagementServer;
use pingthings_proto::v5api::b_tr_db_server::{BTrDb, BTrDbServer};
use pingthings_proto::v5api::{self as v5, SubscriptionUpdate};
use pingthings_sql::Database;
use pingthings_storage::{Clock, Engine, SystemClock};
use pingthings_types::WriteOrder;
use tokio::sync::{Semaphore, mpsc, watch};
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status, Streaming};

use self::answers::{Answers, Messages, unary};
use crate::caller::Caller;
use crate::config::Limits;
use crate::message::MAX_MESSAGE_BYTES;
use crate::metrics::Metrics;
use crate::permits::PermitPool;
use crate::status::{Refusal, Refuse};
use crate::write_order::WriteOrders;

/// The state that all calls share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) sql: Arc<Database>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) permits: PermitPool,
    /// The permits of SQL statements.
    pub(crate) statement_permits: PermitPool,
    pub(crate) orders: WriteOrders,
    /// Slots for open streamed answers.
    pub(crate) answer_slots: Arc<Semaphore>,
    pub(crate) limits: Limits,
    pub(crate) arrow: bool,
    pub(crate) metrics: Arc<Metrics>,
    /// Becomes true when the server begins to stop.
    pub(crate) stopping: watch::Receiver<bool>,
    _guard: EngineGuard,
}

impl Shared {
    pub(crate) fn new(
        engine: Arc<Engine>,
        limits: Limits,
        arrow: bool,
        metrics: Arc<Metrics>,
        stopping: watch::Receiver<bool>,
        guard: EngineGuard,
    ) -> Self {
        Self {
            sql: Arc::new(Database::new(engine.catalog_uri().to_owned())),
            engine,
            clock: Arc::new(SystemClock),
            orders: WriteOrders::default(),
            permits: PermitPool::new(limits.concurrent_calls, limits.waiting_calls),
            statement_permits: PermitPool::new(limits.sql_statements, limits.sql_waiting),
            answer_slots: Arc::new(Semaphore::new(
                limits.open_answers.min(Semaphore::MAX_PERMITS),
            )),
            limits,
            arrow,
            metrics,
            stopping,
            _guard: guard,
        }
    }

    /// Uses this clock for the current time.
    pub(crate) fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Counts a refusal and returns the answer with it.
    pub(crate) fn refuse<M: Refuse>(&self, refusal: Refusal) -> M {
        self.metrics.count_refusal(refusal.code);
        M::refuse(refusal)
    }
}

/// A guard of the engine. The receiver ends when all users of the engine have dropped theirs.
pub(crate) type EngineGuard = mpsc::Sender<Infallible>;

/// The implementation of both contracts.
#[derive(Clone, Debug)]
pub(crate) struct Service(Arc<Shared>);

type Reply<M> = Result<Response<M>, Status>;

impl Service {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// The service of the platform's contract, for the transport.
    pub(crate) fn into_grpc(self) -> BTrDbServer<Self> {
        let message_bytes = self.0.limits.message_bytes;
        BTrDbServer::new(self)
            .max_decoding_message_size(message_bytes)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
    }

    /// The service of the management contract, for the transport.
    pub(crate) fn into_management(self) -> ManagementServer<Self> {
        let message_bytes = self.0.limits.message_bytes;
        ManagementServer::new(self)
            .max_decoding_message_size(message_bytes)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
    }

    /// Answers a request with one message.
    async fn unary<P, M>(
        &self,
        request: Request<P>,
        work: fn(&Shared, &P) -> Result<M, Refusal>,
    ) -> Reply<M>
    where
        P: Send + 'static,
        M: Refuse,
    {
        let caller = Caller::from_extensions(request.extensions())?;
        let params = request.into_inner();
        let work = move |shared: &Shared| work(shared, &params);
        Ok(Response::new(unary(&self.0, &caller, work).await))
    }

    /// Answers a request that changes points, with the order of writes that its header may contain.
    async fn write<P, M>(
        &self,
        request: Request<P>,
        work: fn(&Shared, &P, Option<WriteOrder>) -> Result<M, Refusal>,
    ) -> Reply<M>
    where
        P: Send + 'static,
        M: Refuse,
    {
        let caller = Caller::from_extensions(request.extensions())?;
        let header = request.metadata().get(WriteOrder::HEADER);
        let order = header.map(|header| header.to_str().ok().and_then(WriteOrder::parse));
        let params = request.into_inner();
        let work = move |shared: &Shared| match order {
            Some(None) => Err(Refusal::parameter(format!(
                "the header `{}` cannot be read: leave it out",
                WriteOrder::HEADER
            ))),
            None => work(shared, &params, None),
            Some(order) => work(shared, &params, order),
        };
        Ok(Response::new(unary(&self.0, &caller, work).await))
    }

    /// Answers a request with a stream of messages.
    fn server_stream<P, M>(
        &self,
        request: Request<P>,
        open: fn(&Shared, &P) -> Result<Messages<M>, Refusal>,
    ) -> Reply<Answers<M>>
    where
        P: Send + 'static,
        M: Refuse,
    {
        let caller = Caller::from_extensions(request.extensions())?;
        let params = request.into_inner();
        let open = move |shared: &Shared| open(shared, &params);
        let answers = answers::stream(Arc::clone(&self.0), caller, open);
        Ok(Response::new(answers))
    }

    /// Answers a request with a stream of Arrow messages, if Arrow is enabled.
    fn arrow_stream<P, M>(
        &self,
        request: Request<P>,
        open: fn(&Shared, &P) -> Result<Messages<M>, Refusal>,
    ) -> Reply<Answers<M>>
    where
        P: Send + 'static,
        M: Refuse,
    {
        self.check_arrow()?;
        self.server_stream(request, open)
    }

    fn check_arrow(&self) -> Result<(), Status> {
        if self.0.arrow {
            Ok(())
        } else {
            Err(Status::unimplemented("this server does not speak arrow"))
        }
    }
}

#[tonic::async_trait]
impl BTrDb for Service {
    type RawValuesStream = Answers<v5::RawValuesResponse>;
    type ArrowRawValuesStream = Answers<v5::ArrowRawValuesResponse>;
    type ArrowMultiValuesStream = Answers<v5::ArrowMultiValuesResponse>;
    type AlignedWindowsStream = Answers<v5::AlignedWindowsResponse>;
    type ArrowAlignedWindowsStream = Answers<v5::ArrowAlignedWindowsResponse>;
    type WindowsStream = Answers<v5::WindowsResponse>;
    type ArrowWindowsStream = Answers<v5::ArrowWindowsResponse>;
    type ListCollectionsStream = Answers<v5::ListCollectionsResponse>;
    type LookupStreamsStream = Answers<v5::LookupStreamsResponse>;
    type ChangesStream = Answers<v5::ChangesResponse>;
    type GenerateCSVStream = Answers<v5::GenerateCsvResponse>;
    type SQLQueryStream = Answers<v5::SqlQueryResponse>;
    type SubscribeStream = Answers<v5::SubscriptionResp>;

    async fn raw_values(
        &self,
        request: Request<v5::RawValuesParams>,
    ) -> Reply<Self::RawValuesStream> {
        self.server_stream(request, read::raw_values)
    }

    async fn arrow_raw_values(
        &self,
        request: Request<v5::ArrowRawValuesParams>,
    ) -> Reply<Self::ArrowRawValuesStream> {
        self.arrow_stream(request, read::arrow_raw_values)
    }

    async fn arrow_multi_values(
        &self,
        request: Request<v5::ArrowMultiValuesParams>,
    ) -> Reply<Self::ArrowMultiValuesStream> {
        self.arrow_stream(request, multi::arrow_multi_values)
    }

    async fn aligned_windows(
        &self,
        request: Request<v5::AlignedWindowsParams>,
    ) -> Reply<Self::AlignedWindowsStream> {
        self.server_stream(request, windows::aligned_windows)
    }

    async fn arrow_aligned_windows(
        &self,
        request: Request<v5::AlignedWindowsParams>,
    ) -> Reply<Self::ArrowAlignedWindowsStream> {
        self.arrow_stream(request, windows::arrow_aligned_windows)
    }

    async fn windows(&self, request: Request<v5::WindowsParams>) -> Reply<Self::WindowsStream> {
        self.server_stream(request, windows::windows)
    }

    async fn arrow_windows(
        &self,
        request: Request<v5::WindowsParams>,
    ) -> Reply<Self::ArrowWindowsStream> {
        self.arrow_stream(request, windows::arrow_windows)
    }

    async fn stream_info(
        &self,
        request: Request<v5::StreamInfoParams>,
    ) -> Reply<v5::StreamInfoResponse> {
        self.unary(request, metadata::stream_info).await
    }

    async fn set_stream_annotations(
        &self,
        request: Request<v5::SetStreamAnnotationsParams>,
    ) -> Reply<v5::SetStreamAnnotationsResponse> {
        self.unary(request, metadata::set_stream_annotations).await
    }

    async fn set_stream_tags(
        &self,
        request: Request<v5::SetStreamTagsParams>,
    ) -> Reply<v5::SetStreamTagsResponse> {
        self.unary(request, metadata::set_stream_tags).await
    }

    async fn create(&self, request: Request<v5::CreateParams>) -> Reply<v5::CreateResponse> {
        self.unary(request, metadata::create).await
    }

    async fn list_collections(
        &self,
        request: Request<v5::ListCollectionsParams>,
    ) -> Reply<Self::ListCollectionsStream> {
        self.server_stream(request, metadata::list_collections)
    }

    async fn lookup_streams(
        &self,
        request: Request<v5::LookupStreamsParams>,
    ) -> Reply<Self::LookupStreamsStream> {
        self.server_stream(request, metadata::lookup_streams)
    }

    async fn nearest(&self, request: Request<v5::NearestParams>) -> Reply<v5::NearestResponse> {
        self.unary(request, read::nearest).await
    }

    async fn changes(&self, request: Request<v5::ChangesParams>) -> Reply<Self::ChangesStream> {
        self.server_stream(request, changes::changes)
    }

    async fn insert(&self, request: Request<v5::InsertParams>) -> Reply<v5::InsertResponse> {
        self.write(request, write::insert).await
    }

    async fn arrow_insert(
        &self,
        request: Request<v5::ArrowInsertParams>,
    ) -> Reply<v5::InsertResponse> {
        self.check_arrow()?;
        self.write(request, write::arrow_insert).await
    }

    async fn delete(&self, request: Request<v5::DeleteParams>) -> Reply<v5::DeleteResponse> {
        self.write(request, write::delete).await
    }

    async fn info(&self, _request: Request<v5::InfoParams>) -> Reply<v5::InfoResponse> {
        Ok(Response::new(info::info(self.0.arrow)))
    }

    async fn fault_inject(
        &self,
        _request: Request<v5::FaultInjectParams>,
    ) -> Reply<v5::FaultInjectResponse> {
        Ok(Response::new(info::fault_inject()))
    }

    async fn flush(&self, request: Request<v5::FlushParams>) -> Reply<v5::FlushResponse> {
        self.unary(request, write::flush).await
    }

    async fn obliterate(
        &self,
        request: Request<v5::ObliterateParams>,
    ) -> Reply<v5::ObliterateResponse> {
        self.unary(request, metadata::obliterate).await
    }

    async fn get_metadata_usage(
        &self,
        request: Request<v5::MetadataUsageParams>,
    ) -> Reply<v5::MetadataUsageResponse> {
        self.unary(request, metadata::get_metadata_usage).await
    }

    async fn generate_csv(
        &self,
        request: Request<v5::GenerateCsvParams>,
    ) -> Reply<Self::GenerateCSVStream> {
        self.server_stream(request, csv::generate_csv)
    }

    async fn sql_query(&self, request: Request<v5::SqlQueryParams>) -> Reply<Self::SQLQueryStream> {
        let caller = Caller::from_extensions(request.extensions())?;
        let answers = sql::sql_query(Arc::clone(&self.0), &caller, request.into_inner());
        Ok(Response::new(answers))
    }

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscriptionUpdate>>,
    ) -> Reply<Self::SubscribeStream> {
        self.check_arrow()?;
        let options = subscribe::SubscriptionOptions::from_headers(request.metadata());
        let caller = Caller::from_extensions(request.extensions())?;
        let updates = request.into_inner();
        let answers = subscribe::subscribe(Arc::clone(&self.0), caller, options, updates);
        Ok(Response::new(answers))
    }
}
