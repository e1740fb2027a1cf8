//! The point nearest to a time.

use pingthings_proto::v5api;
use pingthings_types::{Code, RawPoint, check_insert_time};
use uuid::Uuid;

use crate::{
    answer::rpc::Rpc,
    error::{Error, ErrorKind},
    method::Method,
    session::{call::uuid_bytes, client::Client},
};

impl Client {
    /// The first point at or after `time`, or with `backward` the last one before it, with the
    /// version that was read. `None` if there is no such point.
    pub async fn nearest(
        &self,
        uuid: Uuid,
        time: i64,
        version: u64,
        backward: bool,
    ) -> Result<Option<(RawPoint, u64)>, Error> {
        let request = v5api::NearestParams {
            uuid: uuid_bytes(uuid),
            time,
            version_major: version,
            backward,
        };
        let answer: Result<v5api::NearestResponse, Error> = self
            .unary(Method::Nearest, request, |mut rpc: Rpc, q| async move {
                rpc.nearest(q).await
            })
            .await;
        match answer {
            Ok(answer) => match answer.value {
                Some(p) if !is_valid_result(p.time, time, backward) => Err(Error::new(
                    ErrorKind::Decode,
                    format!(
                        "the server says that the point nearest to {time} is at {}, which is in \
                         the wrong direction or outside the range of times",
                        p.time
                    ),
                )
                .on_stream(uuid)),
                found => Ok(found.map(|p| {
                    let point = RawPoint {
                        time: p.time,
                        value: p.value,
                    };
                    (point, answer.version_major)
                })),
            },
            Err(error) if error.is_code(Code::NoSuchPoint) => Ok(None),
            Err(error) => Err(error.on_stream(uuid)),
        }
    }
}

/// Whether a point at `found` can be the result of a search that starts at `time`.
fn is_valid_result(found: i64, time: i64, backward: bool) -> bool {
    let is_in_direction = if backward {
        found <= time
    } else {
        found >= time
    };
    is_in_direction && check_insert_time(found).is_ok()
}
