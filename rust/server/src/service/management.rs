//! Retention, collections, versions in time, devices and units.

use pingthings_proto::management::management_server::Management;
use pingthings_proto::management::{self as pb};
use pingthings_storage::{CollectionRetention, Record, RecordKind, StreamQuery};
use pingthings_types::Code;
use prost::Message as _;
use tonic::Request;

use super::answers::{Answers, Messages, batches};
use super::request::uuid;
use super::{Reply, Service, Shared};
use crate::message::fill;
use crate::status::Refusal;

#[tonic::async_trait]
impl Management for Service {
    type ListDevicesStream = Answers<pb::ListRecordsResponse>;
    type ListUnitsStream = Answers<pb::ListRecordsResponse>;

    async fn get_stream_retention(
        &self,
        request: Request<pb::GetStreamRetentionParams>,
    ) -> Reply<pb::GetStreamRetentionResponse> {
        self.unary(request, get_stream_retention).await
    }

    async fn set_stream_retention(
        &self,
        request: Request<pb::SetStreamRetentionParams>,
    ) -> Reply<pb::SetStreamRetentionResponse> {
        self.unary(request, set_stream_retention).await
    }

    async fn get_collection(
        &self,
        request: Request<pb::GetCollectionParams>,
    ) -> Reply<pb::GetCollectionResponse> {
        self.unary(request, get_collection).await
    }

    async fn set_collection_retention(
        &self,
        request: Request<pb::SetCollectionRetentionParams>,
    ) -> Reply<pb::SetCollectionRetentionResponse> {
        self.unary(request, set_collection_retention).await
    }

    async fn get_version_at_time(
        &self,
        request: Request<pb::GetVersionAtTimeParams>,
    ) -> Reply<pb::GetVersionAtTimeResponse> {
        self.unary(request, get_version_at_time).await
    }

    async fn list_devices(
        &self,
        request: Request<pb::ListRecordsParams>,
    ) -> Reply<Self::ListDevicesStream> {
        self.server_stream(request, |shared, _| list(shared, RecordKind::Device))
    }

    async fn get_device(&self, request: Request<pb::GetRecordParams>) -> Reply<pb::RecordResponse> {
        let get = |shared: &Shared, params: &pb::GetRecordParams| {
            get(shared, RecordKind::Device, params.id)
        };
        self.unary(request, get).await
    }

    async fn create_device(
        &self,
        request: Request<pb::CreateRecordParams>,
    ) -> Reply<pb::RecordResponse> {
        let create = |shared: &Shared, params: &_| create(shared, RecordKind::Device, params);
        self.unary(request, create).await
    }

    async fn update_device(
        &self,
        request: Request<pb::UpdateRecordParams>,
    ) -> Reply<pb::RecordResponse> {
        let update = |shared: &Shared, params: &_| update(shared, RecordKind::Device, params);
        self.unary(request, update).await
    }

    async fn delete_device(
        &self,
        request: Request<pb::DeleteRecordParams>,
    ) -> Reply<pb::DeleteRecordResponse> {
        let delete = |shared: &Shared, params: &pb::DeleteRecordParams| {
            delete(shared, RecordKind::Device, params.id)
        };
        self.unary(request, delete).await
    }

    async fn list_units(
        &self,
        request: Request<pb::ListRecordsParams>,
    ) -> Reply<Self::ListUnitsStream> {
        self.server_stream(request, |shared, _| list(shared, RecordKind::Unit))
    }

    async fn get_unit(&self, request: Request<pb::GetRecordParams>) -> Reply<pb::RecordResponse> {
        let get = |shared: &Shared, params: &pb::GetRecordParams| {
            get(shared, RecordKind::Unit, params.id)
        };
        self.unary(request, get).await
    }

    async fn create_unit(
        &self,
        request: Request<pb::CreateRecordParams>,
    ) -> Reply<pb::RecordResponse> {
        let create = |shared: &Shared, params: &_| create(shared, RecordKind::Unit, params);
        self.unary(request, create).await
    }

    async fn update_unit(
        &self,
        request: Request<pb::UpdateRecordParams>,
    ) -> Reply<pb::RecordResponse> {
        let update = |shared: &Shared, params: &_| update(shared, RecordKind::Unit, params);
        self.unary(request, update).await
    }

    async fn delete_unit(
        &self,
        request: Request<pb::DeleteRecordParams>,
    ) -> Reply<pb::DeleteRecordResponse> {
        let delete = |shared: &Shared, params: &pb::DeleteRecordParams| {
            delete(shared, RecordKind::Unit, params.id)
        };
        self.unary(request, delete).await
    }
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "the field is always present; a retention without an age means unlimited"
)]
const fn retention(remove_older_than_ns: Option<i64>) -> Option<pb::Retention> {
    Some(pb::Retention {
        remove_older_than_ns,
    })
}

fn keep_ns(retention: Option<&pb::Retention>) -> Option<i64> {
    retention.and_then(|retention| retention.remove_older_than_ns)
}

fn get_stream_retention(
    shared: &Shared,
    params: &pb::GetStreamRetentionParams,
) -> Result<pb::GetStreamRetentionResponse, Refusal> {
    let found = shared.engine.stream_retention(uuid(&params.uuid)?)?;
    Ok(pb::GetStreamRetentionResponse {
        stat: None,
        own: retention(found.own_ns),
        effective: retention(found.effective_ns),
    })
}

fn set_stream_retention(
    shared: &Shared,
    params: &pb::SetStreamRetentionParams,
) -> Result<pb::SetStreamRetentionResponse, Refusal> {
    let keep_ns = keep_ns(params.retention.as_ref());
    shared
        .engine
        .set_stream_retention(uuid(&params.uuid)?, keep_ns)?;
    Ok(pb::SetStreamRetentionResponse { stat: None })
}

fn get_collection(
    shared: &Shared,
    params: &pb::GetCollectionParams,
) -> Result<pb::GetCollectionResponse, Refusal> {
    let found = shared.engine.collection_retention(&params.collection)?;
    let streams = shared.engine.lookup(&StreamQuery {
        collection: params.collection.clone(),
        is_prefix: false,
        ..StreamQuery::default()
    })?;
    Ok(pb::GetCollectionResponse {
        stat: None,
        retention: retention(found.keep_ns),
        override_per_stream: found.overrides,
        streams: streams.len() as u64,
    })
}

fn set_collection_retention(
    shared: &Shared,
    params: &pb::SetCollectionRetentionParams,
) -> Result<pb::SetCollectionRetentionResponse, Refusal> {
    let retention = CollectionRetention {
        keep_ns: keep_ns(params.retention.as_ref()),
        overrides: params.override_per_stream,
    };
    shared
        .engine
        .set_collection_retention(&params.collection, retention)?;
    Ok(pb::SetCollectionRetentionResponse { stat: None })
}

fn get_version_at_time(
    shared: &Shared,
    params: &pb::GetVersionAtTimeParams,
) -> Result<pb::GetVersionAtTimeResponse, Refusal> {
    let uuid = uuid(&params.uuid)?;
    let found = shared.engine.version_at_time(uuid, params.time)?;
    let version_major = found.ok_or_else(|| {
        Refusal::new(
            Code::VersionNotAvailable,
            format!(
                "stream `{uuid}` has no version of {} or before: it is younger, or they were \
                 forgotten",
                params.time
            ),
        )
    })?;
    Ok(pb::GetVersionAtTimeResponse {
        stat: None,
        version_major,
    })
}

fn record(record: Record) -> pb::Record {
    pb::Record {
        id: record.id,
        name: record.name,
        fields: record.fields,
    }
}

#[allow(clippy::unnecessary_wraps, reason = "the return type of the calls")]
fn response(found: Record) -> Result<pb::RecordResponse, Refusal> {
    Ok(pb::RecordResponse {
        stat: None,
        record: Some(record(found)),
    })
}

fn list(shared: &Shared, kind: RecordKind) -> Result<Messages<pb::ListRecordsResponse>, Refusal> {
    let found = shared.engine.records(kind)?.into_iter();
    let mut found = found.map(record).peekable();
    let next = move || Ok(fill(&mut found, pb::Record::encoded_len));
    Ok(batches(next, |records| {
        Ok(pb::ListRecordsResponse {
            stat: None,
            records,
        })
    }))
}

fn get(shared: &Shared, kind: RecordKind, id: i64) -> Result<pb::RecordResponse, Refusal> {
    response(shared.engine.record(kind, id)?)
}

fn create(
    shared: &Shared,
    kind: RecordKind,
    params: &pb::CreateRecordParams,
) -> Result<pb::RecordResponse, Refusal> {
    let engine = &shared.engine;
    response(engine.create_record(kind, &params.name, &params.fields)?)
}

fn update(
    shared: &Shared,
    kind: RecordKind,
    params: &pb::UpdateRecordParams,
) -> Result<pb::RecordResponse, Refusal> {
    let engine = &shared.engine;
    response(engine.update_record(kind, params.id, params.name.as_deref(), &params.fields)?)
}

fn delete(shared: &Shared, kind: RecordKind, id: i64) -> Result<pb::DeleteRecordResponse, Refusal> {
    shared.engine.delete_record(kind, id)?;
    Ok(pb::DeleteRecordResponse { stat: None })
}
