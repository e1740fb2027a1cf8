//! Retention, devices and units, which only the server of this project supports.

use std::future::Future;

use pingthings_proto::management as wire;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::{
    answer::rpc::{Item, ManagementRpc},
    error::{Error, ErrorKind},
    method::Method,
    session::{call::uuid_bytes, client::Client},
};

/// The retention of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectionRetention {
    /// In nanoseconds; `None` keeps points for ever.
    pub keep_ns: Option<i64>,
    /// Whether it overrides the retention of its streams.
    pub overrides: bool,
}

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A device.
    Device,
    /// A unit.
    Unit,
}

/// A device or a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Assigned by the server.
    pub id: i64,
    /// The name, unique among the records of its kind.
    pub name: String,
    /// All other fields, as a JSON object.
    pub fields: String,
}

impl Item for Record {
    fn heap_bytes(&self) -> usize {
        self.name.len() + self.fields.len()
    }
}

const fn retention(keep_ns: Option<i64>) -> wire::Retention {
    wire::Retention {
        remove_older_than_ns: keep_ns,
    }
}

fn keep_ns(retention: Option<wire::Retention>) -> Option<i64> {
    retention.and_then(|retention| retention.remove_older_than_ns)
}

fn record(answer: wire::RecordResponse) -> Result<Record, Error> {
    let record = answer
        .record
        .ok_or_else(|| Error::new(ErrorKind::Decode, "the server's answer contains no record"))?;
    Ok(Record {
        id: record.id,
        name: record.name,
        fields: record.fields,
    })
}

/// Calls the method for devices or the one for units.
macro_rules! record_call {
    ($client:ident, $kind:ident, $request:ident, $device:ident $device_name:expr,
     $unit:ident $unit_name:expr) => {
        match $kind {
            RecordKind::Device => {
                $client
                    .unary(
                        $device_name,
                        $request,
                        |mut rpc: ManagementRpc, q| async move { rpc.$device(q).await },
                    )
                    .await
            }
            RecordKind::Unit => {
                $client
                    .unary(
                        $unit_name,
                        $request,
                        |mut rpc: ManagementRpc, q| async move { rpc.$unit(q).await },
                    )
                    .await
            }
        }
    };
}

impl Client {
    /// The retention of a stream in nanoseconds: its own, and the effective one, which takes its
    /// collection into account. `None` keeps points for ever.
    pub async fn stream_retention(&self, uuid: Uuid) -> Result<(Option<i64>, Option<i64>), Error> {
        let request = wire::GetStreamRetentionParams {
            uuid: uuid_bytes(uuid),
        };
        let answer: Result<wire::GetStreamRetentionResponse, Error> = self
            .unary(
                Method::GetStreamRetention,
                request,
                |mut rpc: ManagementRpc, q| async move { rpc.get_stream_retention(q).await },
            )
            .await;
        answer
            .map(|answer| (keep_ns(answer.own), keep_ns(answer.effective)))
            .map_err(|error| error.on_stream(uuid))
    }

    /// Sets the retention of a stream; `None` removes it, so that the retention of its collection
    /// applies.
    pub async fn set_stream_retention(
        &self,
        uuid: Uuid,
        keep_ns: Option<i64>,
    ) -> Result<(), Error> {
        let request = wire::SetStreamRetentionParams {
            uuid: uuid_bytes(uuid),
            retention: Some(retention(keep_ns)),
        };
        let answer: Result<wire::SetStreamRetentionResponse, Error> = self
            .unary(
                Method::SetStreamRetention,
                request,
                |mut rpc: ManagementRpc, q| async move { rpc.set_stream_retention(q).await },
            )
            .await;
        answer.map(drop).map_err(|error| error.on_stream(uuid))
    }

    /// The retention of a collection.
    pub async fn collection_retention(
        &self,
        collection: String,
    ) -> Result<CollectionRetention, Error> {
        let request = wire::GetCollectionParams { collection };
        let answer: wire::GetCollectionResponse = self
            .unary(
                Method::GetCollection,
                request,
                |mut rpc: ManagementRpc, q| async move { rpc.get_collection(q).await },
            )
            .await?;
        Ok(CollectionRetention {
            keep_ns: keep_ns(answer.retention),
            overrides: answer.override_per_stream,
        })
    }

    /// Sets the retention of a collection.
    pub async fn set_collection_retention(
        &self,
        collection: String,
        policy: CollectionRetention,
    ) -> Result<(), Error> {
        let request = wire::SetCollectionRetentionParams {
            collection,
            retention: Some(retention(policy.keep_ns)),
            override_per_stream: policy.overrides,
        };
        let answer: wire::SetCollectionRetentionResponse = self
            .unary(
                Method::SetCollectionRetention,
                request,
                |mut rpc: ManagementRpc, q| async move { rpc.set_collection_retention(q).await },
            )
            .await?;
        drop(answer);
        Ok(())
    }

    /// All devices or units, ordered by id.
    pub async fn list_records(&self, kind: RecordKind) -> Result<Vec<Record>, Error> {
        let request = wire::ListRecordsParams {};
        match kind {
            RecordKind::Device => {
                self.list(
                    Method::ListDevices,
                    request,
                    |mut rpc: ManagementRpc, q| async move { rpc.list_devices(q).await },
                )
                .await
            }
            RecordKind::Unit => {
                self.list(
                    Method::ListUnits,
                    request,
                    |mut rpc: ManagementRpc, q| async move { rpc.list_units(q).await },
                )
                .await
            }
        }
    }

    async fn list<F>(
        &self,
        method: Method,
        request: wire::ListRecordsParams,
        send: impl Fn(ManagementRpc, Request<wire::ListRecordsParams>) -> F + Send + Sync,
    ) -> Result<Vec<Record>, Error>
    where
        F: Future<Output = Result<Response<Streaming<wire::ListRecordsResponse>>, Status>> + Send,
    {
        let take = |answer: wire::ListRecordsResponse| {
            let records = answer.records.into_iter();
            let records = records.map(|record| Record {
                id: record.id,
                name: record.name,
                fields: record.fields,
            });
            Ok(records.collect())
        };
        self.collect_stream(method, request, send, take).await
    }

    /// The device or unit with this id.
    pub async fn record(&self, kind: RecordKind, id: i64) -> Result<Record, Error> {
        let request = wire::GetRecordParams { id };
        record(record_call!(self, kind, request,
            get_device Method::GetDevice, get_unit Method::GetUnit)?)
    }

    /// Creates a device or unit.
    pub async fn create_record(
        &self,
        kind: RecordKind,
        name: String,
        fields: String,
    ) -> Result<Record, Error> {
        let request = wire::CreateRecordParams { name, fields };
        record(record_call!(self, kind, request,
            create_device Method::CreateDevice, create_unit Method::CreateUnit)?)
    }

    /// Replaces the given fields of a device or unit.
    pub async fn update_record(
        &self,
        kind: RecordKind,
        id: i64,
        name: Option<String>,
        fields: String,
    ) -> Result<Record, Error> {
        let request = wire::UpdateRecordParams { id, name, fields };
        record(record_call!(self, kind, request,
            update_device Method::UpdateDevice, update_unit Method::UpdateUnit)?)
    }

    /// Removes a device or unit.
    pub async fn delete_record(&self, kind: RecordKind, id: i64) -> Result<(), Error> {
        let request = wire::DeleteRecordParams { id };
        let answer: wire::DeleteRecordResponse = record_call!(self, kind, request,
            delete_device Method::DeleteDevice, delete_unit Method::DeleteUnit)?;
        drop(answer);
        Ok(())
    }
}
