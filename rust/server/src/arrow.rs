//! Encoding of answers as Arrow IPC streams.

use std::sync::{Arc, LazyLock};

use arrow_array::{
    ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch, TimestampNanosecondArray,
    UInt64Array,
};
use arrow_ipc::MetadataVersion;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use pingthings_types::{Code, Points, Windows};
use uuid::Uuid;

use crate::ipc;
use crate::message;
use crate::status::Refusal;

/// The alignment of buffers in a message: the minimum of the format. Most readers copy the columns
/// anyway, and a join has thousands of short columns, whose padding would be large.
const ALIGNMENT: usize = 8;

/// An upper bound of the length of a message without its table.
const FRAME_BYTES: usize = 64;

static POINTS: LazyLock<Layout> =
    LazyLock::new(|| Layout(Arc::new(Schema::new(vec![time(), value("value")]))));

static WINDOWS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        time(),
        value("min"),
        value("mean"),
        value("max"),
        Field::new("count", DataType::UInt64, false),
        value("stddev"),
    ]))
});

fn time() -> Field {
    let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    Field::new("time", utc, false)
}

fn value(name: &str) -> Field {
    Field::new(name, DataType::Float64, false)
}

/// The schema of an answer with a time and columns of values: the default, or the caller's
/// template.
#[derive(Clone, Debug)]
pub(crate) struct Layout(SchemaRef);

impl Layout {
    /// The layout of the points of one stream. An empty template means the default.
    pub(crate) fn points(template: &[u8]) -> Result<Self, Refusal> {
        if template.is_empty() {
            return Ok(POINTS.clone());
        }
        Self::template(template, 1)
    }

    /// The layout of the points of many streams, with a column for each.
    pub(crate) fn streams(template: &[u8], uuids: &[Uuid]) -> Result<Self, Refusal> {
        if template.is_empty() {
            let values = uuids.iter().map(|uuid| value(&uuid.to_string()));
            let fields: Vec<_> = std::iter::once(time()).chain(values).collect();
            return Ok(Self(Arc::new(Schema::new(fields))));
        }
        Self::template(template, uuids.len())
    }

    fn template(template: &[u8], values: usize) -> Result<Self, Refusal> {
        let schema = ipc::decode_template(template)?;
        let columns = schema.fields().len();
        if columns != values + 1 {
            return Err(Refusal::parameter(format!(
                "the template has {columns} columns, the answer {}",
                values + 1
            )));
        }
        Ok(Self(Arc::new(schema)))
    }

    /// How many rows fit into one message after the schema, at most `max`.
    pub(crate) fn rows(&self, max: usize) -> Result<usize, Refusal> {
        let columns = self.0.fields().len();
        let nothing = vec![Vec::new(); columns.saturating_sub(1)];
        let head = self.encode(Vec::new(), nothing)?.len();
        // Each column has 8 bytes and a null bit for each row. Both buffers are padded.
        let row_bytes = 8 * columns + columns.div_ceil(8);
        let rows = message::rows(max, head + 2 * ALIGNMENT * columns + FRAME_BYTES, row_bytes);
        if rows == 0 {
            return Err(Refusal::parameter(format!(
                "a table of {columns} columns fits into no message: ask for fewer streams at a \
                 time, or for shorter names"
            )));
        }
        Ok(rows)
    }

    /// Encodes rows in this layout. Columns are moved, or cast if the layout has another type.
    pub(crate) fn encode(&self, times: Vec<i64>, values: Vec<Vec<f64>>) -> Result<Bytes, Refusal> {
        let mut fields = self.0.fields().iter();
        let mut columns = Vec::with_capacity(fields.len());
        columns.extend(
            fields
                .next()
                .map(|field| time_column(times, field.data_type())),
        );
        columns.extend(
            fields
                .zip(values)
                .map(|(field, values)| value_column(values, field.data_type())),
        );
        encode(&self.0, columns)
    }
}

/// Encodes points of one stream.
pub(crate) fn encode_points(layout: &Layout, points: Points) -> Result<Bytes, Refusal> {
    layout.encode(points.times, vec![points.values])
}

/// Encodes windows. They have only one layout.
pub(crate) fn encode_windows(windows: Windows) -> Result<Bytes, Refusal> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampNanosecondArray::from(windows.times).with_timezone("UTC")),
        Arc::new(Float64Array::from(windows.mins)),
        Arc::new(Float64Array::from(windows.means)),
        Arc::new(Float64Array::from(windows.maxs)),
        Arc::new(UInt64Array::from(windows.counts)),
        Arc::new(Float64Array::from(windows.stddevs)),
    ];
    encode(&WINDOWS, columns)
}

fn time_column(times: Vec<i64>, data_type: &DataType) -> ArrayRef {
    match data_type {
        DataType::Timestamp(_, zone) => {
            Arc::new(TimestampNanosecondArray::from(times).with_timezone_opt(zone.clone()))
        }
        _ => Arc::new(Int64Array::from(times)),
    }
}

fn value_column(values: Vec<f64>, data_type: &DataType) -> ArrayRef {
    match data_type {
        DataType::Float32 => {
            #[allow(clippy::cast_possible_truncation, reason = "the caller asked for it")]
            let narrowed = values.into_iter().map(|value| value as f32);
            Arc::new(Float32Array::from_iter_values(narrowed))
        }
        _ => Arc::new(Float64Array::from(values)),
    }
}

/// A complete stream: schema, one batch, end marker.
fn encode(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<Bytes, Refusal> {
    /// An upper bound of the schema, headers and padding of one column.
    const OVERHEAD: usize = 512;
    let size: usize = columns
        .iter()
        .map(|column| column.get_buffer_memory_size() + OVERHEAD)
        .sum();
    let write = || -> Result<Vec<u8>, ArrowError> {
        let batch = RecordBatch::try_new(Arc::clone(schema), columns)?;
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
        let buffer = Vec::with_capacity(size);
        let mut writer = StreamWriter::try_new_with_options(buffer, schema, options)?;
        writer.write(&batch)?;
        writer.into_inner()
    };
    write().map(Bytes::from).map_err(|error| {
        tracing::error!(%error, "an answer could not be encoded");
        Refusal::new(Code::InvariantFailure, "the answer could not be encoded")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MAX_MESSAGE_BYTES;

    /// A join repeats its schema in every message.
    #[test]
    fn tables_of_any_number_of_columns_fit_into_a_message() {
        for columns in [1, 2, 63, 1_000, 12_000] {
            let uuids: Vec<_> = (0..columns).map(Uuid::from_u128).collect();
            let layout = Layout::streams(&[], &uuids).unwrap();
            let rows = layout.rows(usize::MAX).unwrap();
            let values = vec![vec![0.5; rows]; uuids.len()];
            let bytes = layout.encode(vec![7; rows], values).unwrap().len();
            assert!(
                bytes <= MAX_MESSAGE_BYTES,
                "{columns} columns: {bytes} bytes"
            );
            assert!(
                bytes > MAX_MESSAGE_BYTES / 10 * 9,
                "{columns} columns: {bytes} bytes"
            );
            assert_eq!(layout.rows(1).unwrap(), 1);
        }
        let uuids: Vec<_> = (0..30_000).map(Uuid::from_u128).collect();
        let refusal = Layout::streams(&[], &uuids).unwrap().rows(1).unwrap_err();
        assert!(
            refusal.message.contains("30001 columns"),
            "{}",
            refusal.message
        );
    }
}
