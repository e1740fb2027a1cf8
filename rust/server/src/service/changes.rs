//! Ranges that changed between two versions.

use pingthings_proto::v5api as v5;
use pingthings_types::{Code, PointWidth};

use super::Shared;
use super::answers::{Messages, batches};
use super::request::uuid;
use crate::message;
use crate::status::Refusal;

/// Upper bounds of the length of a message without its ranges, and of one range.
const HEAD_BYTES: usize = 64;
const ROW_BYTES: usize = 24;

pub(super) fn changes(
    shared: &Shared,
    params: &v5::ChangesParams,
) -> Result<Messages<v5::ChangesResponse>, Refusal> {
    let resolution = PointWidth::new(params.resolution).ok_or_else(|| {
        Refusal::new(
            Code::InvalidPointWidth,
            format!("a resolution of {}: give 0 to 63", params.resolution),
        )
    })?;
    let (version, mut reader) = shared.engine.changes(
        uuid(&params.uuid)?,
        params.from_major,
        params.to_major,
        resolution,
    )?;
    let rows = message::rows(shared.limits.rows_per_message, HEAD_BYTES, ROW_BYTES);
    Ok(batches(
        move || reader.next_batch(rows),
        move |ranges| {
            let range = |(start, end)| v5::ChangedRange { start, end };
            Ok(v5::ChangesResponse {
                stat: None,
                version_major: version.major,
                version_minor: version.minor,
                ranges: ranges.into_iter().map(range).collect(),
            })
        },
    ))
}
