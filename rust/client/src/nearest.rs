//! The point nearest to an instant.

use pingthings_proto::v5api;
use pingthings_types::{Code, RawPoint};
use uuid::Uuid;

use crate::{Client, call::Rpc, error::Error, metadata::uuid_bytes};

impl Client {
    /// The first point at or after `time`, or with `backward` the last one before it; `None` if
    /// there is none.
    pub async fn nearest(
        &self,
        uuid: Uuid,
        time: i64,
        version: u64,
        backward: bool,
    ) -> Result<Option<RawPoint>, Error> {
        let request = v5api::NearestParams {
            uuid: uuid_bytes(uuid),
            time,
            version_major: version,
            backward,
        };
        let answer: Result<v5api::NearestResponse, Error> = self
            .unary("Nearest", request, |mut rpc: Rpc, q| async move {
                rpc.nearest(q).await
            })
            .await;
        match answer {
            Ok(answer) => Ok(answer.value.map(|p| RawPoint {
                time: p.time,
                value: p.value,
            })),
            Err(error) if error.is_code(Code::NoSuchPoint) => Ok(None),
            Err(error) => Err(error.on_stream(uuid)),
        }
    }
}
