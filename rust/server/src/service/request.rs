//! Parts of requests that many calls share.

use pingthings_proto::v5api::KeyOptValue;
use uuid::Uuid;

use crate::status::Refusal;

/// Decodes a uuid.
pub(super) fn uuid(bytes: &[u8]) -> Result<Uuid, Refusal> {
    Uuid::from_slice(bytes).map_err(|_| {
        Refusal::parameter(format!(
            "a uuid of {} bytes: send its 16 raw bytes",
            bytes.len()
        ))
    })
}

/// Decodes keys with optional values.
pub(super) fn pairs<C: FromIterator<(String, Option<String>)>>(pairs: &[KeyOptValue]) -> C {
    pairs
        .iter()
        .map(|pair| (pair.key.clone(), value(pair)))
        .collect()
}

fn value(pair: &KeyOptValue) -> Option<String> {
    pair.val.as_ref().map(|val| val.value.clone())
}
