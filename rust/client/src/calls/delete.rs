//! Deleting points and obliterating streams.

use pingthings_proto::v5api;
use pingthings_types::{TimeRange, Version};
use uuid::Uuid;

use crate::{
    answer::rpc::Rpc,
    error::Error,
    method::Method,
    session::{call::uuid_bytes, client::Client},
};

impl Client {
    /// Deletes the points of a range in a new version. Earlier versions still contain them.
    pub async fn delete(&self, uuid: Uuid, range: TimeRange) -> Result<Version, Error> {
        let request = v5api::DeleteParams {
            uuid: uuid_bytes(uuid),
            start: range.start(),
            end: range.end(),
        };
        let call = self.count_call(Method::Delete.kind());
        let policy = Method::Delete.retry_policy();
        let send = |mut rpc: Rpc, q| async move { rpc.delete(q).await };
        let answer: Result<v5api::DeleteResponse, Error> = self
            .unary_with(policy, Some(uuid), Method::Delete, request, send)
            .await;
        call.end(&answer);
        answer
            .map(|answer| Version {
                major: answer.version_major,
                minor: answer.version_minor,
            })
            .map_err(|error| error.on_stream(uuid))
    }

    /// Removes a stream with all its versions. Its uuid can never be used again.
    pub async fn obliterate(&self, uuid: Uuid) -> Result<(), Error> {
        let request = v5api::ObliterateParams {
            uuid: uuid_bytes(uuid),
        };
        let answer: Result<v5api::ObliterateResponse, Error> = self
            .unary(Method::Obliterate, request, |mut rpc: Rpc, q| async move {
                rpc.obliterate(q).await
            })
            .await;
        answer.map(drop).map_err(|error| error.on_stream(uuid))
    }
}
