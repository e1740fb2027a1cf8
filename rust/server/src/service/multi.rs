//! Points of many streams in one table, joined on time.

use std::collections::HashSet;

use pingthings_proto::v5api as v5;
use pingthings_types::{Code, LATEST, TimeRange};
use uuid::Uuid;

use super::Shared;
use super::answers::{Messages, batches};
use super::request::uuid;
use crate::arrow::Layout;
use crate::join::{Grid, Join, Rows};
use crate::status::Refusal;

/// The target size of the values in one message.
const TARGET_MESSAGE_BYTES: usize = 2 << 20;
/// The target number of points of all streams together that are read ahead.
const POINTS_AHEAD: usize = 1 << 20;

pub(super) fn arrow_multi_values(
    shared: &Shared,
    params: &v5::ArrowMultiValuesParams,
) -> Result<Messages<v5::ArrowMultiValuesResponse>, Refusal> {
    let uuids = uuids(params)?;
    let range = TimeRange::new(params.start, params.end)?;
    let grid = match params.snap_period_ns {
        0 => None,
        period if period > 0 => Some(Grid::new(range, period)?),
        period => {
            return Err(Refusal::parameter(format!(
                "a snap period of {period} ns: give 0 for none, or a positive one"
            )));
        }
    };
    let layout = Layout::streams(&params.template_bytes, &uuids)?;
    let range = grid.map_or(range, Grid::range);

    let ahead =
        (POINTS_AHEAD / uuids.len().max(1)).clamp(256, shared.limits.rows_per_message.max(256));
    let versions = params
        .version_major
        .iter()
        .copied()
        .chain(std::iter::repeat(LATEST));
    let mut sources = Vec::with_capacity(uuids.len());
    for (&uuid, version) in uuids.iter().zip(versions) {
        let mut reader = shared.engine.snapshot(uuid, version)?.raw(range);
        sources.push(move || reader.next_batch(ahead));
    }
    let columns = uuids.len();
    let row_bytes = 8 * (columns + 1);
    let rows = (TARGET_MESSAGE_BYTES / row_bytes).clamp(1, shared.limits.rows_per_message);
    let rows = layout.rows(rows)?;
    let mut join = Join::new(sources, grid);
    Ok(batches(
        move || join.next_batch(rows),
        move |mut rows: Rows| {
            rows.columns.resize_with(columns, Vec::new);
            Ok(v5::ArrowMultiValuesResponse {
                stat: None,
                arrow_bytes: layout.encode(rows.times, rows.columns)?,
            })
        },
    ))
}

/// The requested streams. A repeated stream is refused, because columns are named by their stream.
fn uuids(params: &v5::ArrowMultiValuesParams) -> Result<Vec<Uuid>, Refusal> {
    let (streams, versions) = (params.uuid.len(), params.version_major.len());
    if versions != 0 && versions != streams {
        return Err(Refusal::new(
            Code::WrongArgs,
            format!("{streams} streams but {versions} versions: give one for each, or none"),
        ));
    }
    let mut seen = HashSet::with_capacity(streams);
    let mut uuids = Vec::with_capacity(streams);
    for bytes in &params.uuid {
        let uuid = uuid(bytes)?;
        if !seen.insert(uuid) {
            return Err(Refusal::parameter(format!(
                "stream `{uuid}` is asked for twice: ask for it once"
            )));
        }
        uuids.push(uuid);
    }
    Ok(uuids)
}
