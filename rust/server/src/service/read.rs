//! Reading points.

use bytes::Bytes;
use pingthings_proto::v5api as v5;
use pingthings_storage::Snapshot;
use pingthings_types::{Code, Points, TimeRange};

use super::Shared;
use super::answers::{Messages, batches};
use super::request::uuid;
use crate::arrow::{Layout, encode_points};
use crate::message;
use crate::status::Refusal;

/// Upper bounds of the length of a message without its points, and of one point.
const HEAD_BYTES: usize = 64;
const ROW_BYTES: usize = 24;

pub(super) fn raw_values(
    shared: &Shared,
    params: &v5::RawValuesParams,
) -> Result<Messages<v5::RawValuesResponse>, Refusal> {
    let range = TimeRange::new(params.start, params.end)?;
    let snapshot = snapshot(shared, &params.uuid, params.version_major)?;
    let version = snapshot.version();
    let rows = message::rows(shared.limits.rows_per_message, HEAD_BYTES, ROW_BYTES);
    Ok(points(&snapshot, range, rows, move |points| {
        Ok(v5::RawValuesResponse {
            stat: None,
            version_major: version.major,
            version_minor: version.minor,
            values: points
                .iter()
                .map(|point| v5::RawPoint {
                    time: point.time,
                    value: point.value,
                })
                .collect(),
        })
    }))
}

pub(super) fn arrow_raw_values(
    shared: &Shared,
    params: &v5::ArrowRawValuesParams,
) -> Result<Messages<v5::ArrowRawValuesResponse>, Refusal> {
    let range = TimeRange::new(params.start, params.end)?;
    let layout = Layout::points(&params.template_bytes)?;
    let snapshot = snapshot(shared, &params.uuid, params.version_major)?;
    let version = snapshot.version();
    let rows = layout.rows(shared.limits.rows_per_message)?;
    Ok(points(&snapshot, range, rows, move |points| {
        Ok(v5::ArrowRawValuesResponse {
            stat: None,
            version_major: version.major,
            version_minor: version.minor,
            arrow_bytes: encode_points(&layout, points)?,
        })
    }))
}

pub(super) fn nearest(
    shared: &Shared,
    params: &v5::NearestParams,
) -> Result<v5::NearestResponse, Refusal> {
    let uuid = uuid(&params.uuid)?;
    let snapshot = shared.engine.snapshot(uuid, params.version_major)?;
    let point = snapshot
        .nearest(params.time, params.backward)?
        .ok_or_else(|| {
            let side = if params.backward {
                "before"
            } else {
                "at or after"
            };
            Refusal::new(
                Code::NoSuchPoint,
                format!("stream `{uuid}` has no point {side} {}", params.time),
            )
        })?;
    let version = snapshot.version();
    Ok(v5::NearestResponse {
        stat: None,
        version_major: version.major,
        version_minor: version.minor,
        value: Some(v5::RawPoint {
            time: point.time,
            value: point.value,
        }),
    })
}

/// The snapshot that a query reads: one version of a stream.
pub(super) fn snapshot(shared: &Shared, stream: &Bytes, version: u64) -> Result<Snapshot, Refusal> {
    Ok(shared.engine.snapshot(uuid(stream)?, version)?)
}

fn points<M: 'static>(
    snapshot: &Snapshot,
    range: TimeRange,
    rows: usize,
    encode: impl Fn(Points) -> Result<M, Refusal> + Send + 'static,
) -> Messages<M> {
    let mut reader = snapshot.raw(range);
    batches(move || reader.next_batch(rows), encode)
}
