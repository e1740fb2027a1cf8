//! Inserting, deleting and committing points.

use bytes::Bytes;
use pingthings_proto::v5api as v5;
use pingthings_types::{Code, MergePolicy, Points, RawPoint, TimeRange, WriteOrder};

use super::Shared;
use super::request::uuid;
use crate::ipc;
use crate::status::Refusal;

pub(super) fn insert(
    shared: &Shared,
    params: &v5::InsertParams,
    order: Option<WriteOrder>,
) -> Result<v5::InsertResponse, Refusal> {
    let max = shared.limits.points_per_insert;
    if params.values.len() > max {
        return Err(Refusal::new(
            Code::InsertTooBig,
            format!(
                "an insert of {} points: send at most {max} at a time",
                params.values.len()
            ),
        ));
    }
    check_rounding(params.rounding.as_ref())?;
    let mut points = Points::with_capacity(params.values.len());
    for point in &params.values {
        points.push(RawPoint {
            time: point.time,
            value: point.value,
        });
    }
    store(shared, &params.uuid, points, params.merge_policy, order)
}

pub(super) fn arrow_insert(
    shared: &Shared,
    params: &v5::ArrowInsertParams,
    order: Option<WriteOrder>,
) -> Result<v5::InsertResponse, Refusal> {
    check_rounding(params.rounding.as_ref())?;
    let points = ipc::decode_points(&params.arrow_bytes, shared.limits.points_per_insert)?;
    store(shared, &params.uuid, points, params.merge_policy, order)
}

fn store(
    shared: &Shared,
    stream: &Bytes,
    points: Points,
    policy: i32,
    order: Option<WriteOrder>,
) -> Result<v5::InsertResponse, Refusal> {
    let policy = MergePolicy::from_wire(policy).ok_or_else(|| {
        Refusal::parameter(format!("merge policy {policy} is unknown: give 0 to 3"))
    })?;
    let count = points.len() as u64;
    let stream = uuid(stream)?;
    let insert = || Ok(shared.engine.insert(stream, points, policy)?);
    let version = shared.orders.in_order(stream, order, insert)?;
    let inserted = &shared.metrics.points_inserted;
    inserted.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
    Ok(v5::InsertResponse {
        stat: None,
        version_major: version.major,
        version_minor: version.minor,
    })
}

/// Refuses rounding: its bits are not documented, and a guess could change values.
fn check_rounding(rounding: Option<&v5::RoundSpec>) -> Result<(), Refusal> {
    if rounding.is_some_and(|rounding| rounding.spec.is_some()) {
        Err(Refusal::new(
            Code::NotImplemented,
            "this server does not round values: leave `rounding` out",
        ))
    } else {
        Ok(())
    }
}

pub(super) fn delete(
    shared: &Shared,
    params: &v5::DeleteParams,
    order: Option<WriteOrder>,
) -> Result<v5::DeleteResponse, Refusal> {
    let range = TimeRange::new(params.start, params.end)?;
    let stream = uuid(&params.uuid)?;
    let delete = || Ok(shared.engine.delete(stream, range)?);
    let version = shared.orders.in_order(stream, order, delete)?;
    Ok(v5::DeleteResponse {
        stat: None,
        version_major: version.major,
        version_minor: version.minor,
    })
}

pub(super) fn flush(
    shared: &Shared,
    params: &v5::FlushParams,
) -> Result<v5::FlushResponse, Refusal> {
    let version = shared.engine.flush(uuid(&params.uuid)?)?;
    Ok(v5::FlushResponse {
        stat: None,
        version_major: version.major,
        version_minor: version.minor,
    })
}
