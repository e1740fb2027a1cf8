//! Tables: schemas, casts, and the encoding of Arrow streams.

use std::sync::{Arc, LazyLock};

use arrow_array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use pingthings_types::Version;
use uuid::Uuid;

use crate::{
    answer::{
        budget::Reservation,
        expectation::{Expectation, TimeBounds},
    },
    error::{Error, ErrorKind},
};

/// The rows of an answer, in one batch unless the schema of the server's messages changes.
#[derive(Clone, Debug)]
pub struct Table {
    /// The schema of every batch.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// The version of the points.
    pub version: Version,
    /// Its part of the memory limit, which counts until the table is dropped.
    pub(crate) reservation: Option<Arc<Reservation>>,
}

impl Table {
    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns
        .iter()
        .map(|(name, kind)| Field::new(*name, kind.clone(), false));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// `time` timestamp[ns, UTC], `value` float64; not null.
pub static RAW_SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| schema(&[("time", time_type()), ("value", DataType::Float64)]));

/// `time` timestamp[ns, UTC]; `min`, `mean`, `max` float64; `count` uint64; `stddev` float64; not
/// null.
pub static STAT_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(&[
        ("time", time_type()),
        ("min", DataType::Float64),
        ("mean", DataType::Float64),
        ("max", DataType::Float64),
        ("count", DataType::UInt64),
        ("stddev", DataType::Float64),
    ])
});

/// Encodes batches as a complete IPC stream.
pub(crate) fn encode(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Bytes, Error> {
    let failed = |error: ArrowError| {
        Error::new(
            ErrorKind::InvalidArgument,
            format!("the data cannot be sent: {error}"),
        )
        .with_source(error)
    };
    let payload = batches
        .iter()
        .map(RecordBatch::get_array_memory_size)
        .sum::<usize>();
    let mut out = Vec::with_capacity(payload + 1024);
    let mut writer =
        StreamWriter::try_new_with_options(&mut out, schema, IpcWriteOptions::default())
            .map_err(failed)?;
    for batch in batches {
        writer.write(batch).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    drop(writer);
    Ok(out.into())
}

/// The schema in which a caller wants an answer.
#[derive(Clone, Debug)]
pub struct AnswerSchema {
    schema: SchemaRef,
    /// The default schema of the answer.
    native: SchemaRef,
    /// For each column, the index of its source in the default schema.
    sources: Vec<usize>,
}

impl AnswerSchema {
    /// The schema of raw points: two columns, identified by position, with any names. `None` means
    /// [`RAW_SCHEMA`].
    pub fn raw(schema: Option<SchemaRef>) -> Result<Self, Error> {
        let Some(schema) = schema else {
            return Ok(Self::native(&RAW_SCHEMA));
        };
        if schema.fields().len() != RAW_SCHEMA.fields().len() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "a schema of {} columns for raw values: it must have two, a time and a value",
                    schema.fields().len()
                ),
            ));
        }
        Self::with_sources(schema, vec![0, 1], &RAW_SCHEMA)
    }

    /// The schema of windows: either six columns, identified by position, with any names, or some
    /// of the columns, identified by name. `None` means [`STAT_SCHEMA`].
    pub fn windows(schema: Option<SchemaRef>) -> Result<Self, Error> {
        let Some(schema) = schema else {
            return Ok(Self::native(&STAT_SCHEMA));
        };
        if schema.fields().is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "a schema without columns for windows: name at least one",
            ));
        }
        let sources = if schema.fields().len() == STAT_SCHEMA.fields().len() {
            (0..STAT_SCHEMA.fields().len()).collect()
        } else {
            let by_name = |field: &Arc<Field>| {
                STAT_SCHEMA.index_of(field.name()).map_err(|_| {
                    Error::new(ErrorKind::InvalidArgument,
                        format!(
                            "column `{}` in a schema of {} columns for windows: give all six (time, \
                             min, mean, max, count, stddev), or some of these names",
                            field.name(),
                            schema.fields().len()
                        ),
                    )
                })
            };
            schema
                .fields()
                .iter()
                .map(by_name)
                .collect::<Result<_, _>>()?
        };
        Self::with_sources(schema, sources, &STAT_SCHEMA)
    }

    /// The schema of joined values: a time, and a column for each stream with its uuid as name.
    pub(crate) fn joined(uuids: impl Iterator<Item = Uuid>) -> Self {
        let names: Vec<_> = uuids.map(|uuid| uuid.hyphenated().to_string()).collect();
        let columns = names.iter().map(|name| (name.as_str(), DataType::Float64));
        let columns: Vec<_> = std::iter::once(("time", time_type()))
            .chain(columns)
            .collect();
        Self::native(&schema(&columns))
    }

    fn native(schema: &SchemaRef) -> Self {
        Self {
            schema: Arc::clone(schema),
            native: Arc::clone(schema),
            sources: (0..schema.fields().len()).collect(),
        }
    }

    fn with_sources(
        schema: SchemaRef,
        sources: Vec<usize>,
        from: &SchemaRef,
    ) -> Result<Self, Error> {
        for (field, &source) in schema.fields().iter().zip(&sources) {
            let source = from.field(source);
            if !is_castable(source.data_type(), field.data_type()) {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!(
                        "column `{}` cannot be {}: {}",
                        field.name(),
                        field.data_type(),
                        match source.data_type() {
                            DataType::Timestamp(..) => "times come as timestamps or int64",
                            _ => "numbers come as float64, float32, or integers for counts",
                        }
                    ),
                ));
            }
        }
        Ok(Self {
            schema,
            native: Arc::clone(from),
            sources,
        })
    }

    /// The columns and times that the answer may have.
    pub(crate) fn expected(&self, times: TimeBounds) -> Expectation {
        // Servers accept a schema only for raw points.
        let requested = (self.is_sent_to_server() && self.native == *RAW_SCHEMA)
            .then(|| Arc::clone(&self.schema));
        Expectation::new(requested, Arc::clone(&self.native), times)
    }

    /// Whether the schema is sent to the server.
    fn is_sent_to_server(&self) -> bool {
        let in_nanoseconds = |field: &Arc<Field>| !matches!(field.data_type(), DataType::Timestamp(unit, _) if *unit != TimeUnit::Nanosecond);
        self.schema != self.native && self.schema.fields().iter().all(in_nanoseconds)
    }

    /// The schema.
    pub const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Casts batches to a table of this schema.
    pub(crate) fn table(
        &self,
        answer_name: &'static str,
        batches: Vec<RecordBatch>,
    ) -> Result<Table, Error> {
        let batches = batches.into_iter();
        let batches = batches.map(|batch| {
            let batch = if self.native == *STAT_SCHEMA {
                without_empty(batch).map_err(|error| Error::decode(answer_name, error))?
            } else {
                batch
            };
            self.cast(answer_name, batch)
        });
        Ok(Table {
            schema: Arc::clone(&self.schema),
            batches: batches.collect::<Result<_, Error>>()?,
            version: Version::default(),
            reservation: None,
        })
    }

    /// The schema as an IPC stream without batches, for servers that cast. Empty for the default
    /// schema, and for times that are not nanoseconds: servers refuse those, and the client casts
    /// them itself.
    pub(crate) fn template(&self) -> Result<Bytes, Error> {
        if self.is_sent_to_server() {
            encode(&self.schema, &[])
        } else {
            Ok(Bytes::new())
        }
    }

    /// The batch in this schema; not copied if it already has it.
    fn cast(&self, answer_name: &'static str, batch: RecordBatch) -> Result<RecordBatch, Error> {
        if batch.schema_ref().fields() == self.schema.fields() {
            return Ok(batch);
        }
        let failed = |error: ArrowError| Error::decode(answer_name, error);
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let columns = self.sources.iter().zip(self.schema.fields());
        let columns = columns
            .map(|(&source, field)| {
                let name = self.native.field(source).name();
                let column = batch.column_by_name(name).ok_or_else(|| {
                    failed(ArrowError::SchemaError(format!(
                        "it has no column `{name}`"
                    )))
                })?;
                cast_with_options(column, field.data_type(), &options).map_err(failed)
            })
            .collect::<Result<Vec<ArrayRef>, _>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(failed)
    }
}

fn is_castable(from: &DataType, to: &DataType) -> bool {
    match from {
        DataType::Timestamp(..) => matches!(to, DataType::Timestamp(..) | DataType::Int64),
        DataType::UInt64 => to.is_numeric(),
        _ => matches!(to, DataType::Float64 | DataType::Float32),
    }
}

/// The windows that contain points. Servers send empty windows of arbitrary width as zeros, which
/// would appear in plots as values of zero.
pub(crate) fn without_empty(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let counts = batch
        .column_by_name("count")
        .and_then(|counts| counts.as_any().downcast_ref::<UInt64Array>());
    let Some(counts) = counts else {
        let message = "the windows have no column `count`".to_owned();
        return Err(ArrowError::SchemaError(message));
    };
    if counts.values().iter().all(|&count| count > 0) {
        return Ok(batch);
    }
    let keep = counts
        .values()
        .iter()
        .map(|&count| Some(count > 0))
        .collect();
    filter_record_batch(&batch, &keep)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Float64Array, TimestampNanosecondArray};

    use super::*;

    fn batch() -> RecordBatch {
        let times = TimestampNanosecondArray::from(vec![1, 2, 3]).with_timezone("UTC");
        let values = Float64Array::from(vec![1.0, -0.0, f64::MAX]);
        let columns: Vec<ArrayRef> = vec![Arc::new(times), Arc::new(values)];
        RecordBatch::try_new(Arc::clone(&RAW_SCHEMA), columns).unwrap()
    }

    #[test]
    fn schemas_match_by_position_or_by_name() {
        let answer_schema = schema(&[("t", DataType::Int64), ("v", DataType::Float32)]);
        let answer_schema = AnswerSchema::raw(Some(answer_schema)).unwrap();
        let cast = answer_schema.cast("test", batch()).unwrap();
        assert_eq!(cast.schema_ref(), answer_schema.schema());

        let some = schema(&[("mean", DataType::Float32), ("time", time_type())]);
        assert_eq!(AnswerSchema::windows(Some(some)).unwrap().sources, [2, 0]);
        let unknown = schema(&[("median", DataType::Float64)]);
        assert!(
            AnswerSchema::windows(Some(unknown))
                .unwrap_err()
                .to_string()
                .contains("median")
        );
        let text = schema(&[("time", time_type()), ("value", DataType::Utf8)]);
        assert!(
            AnswerSchema::raw(Some(text))
                .unwrap_err()
                .to_string()
                .contains("value")
        );
        assert!(AnswerSchema::raw(Some(Arc::clone(&STAT_SCHEMA))).is_err());
    }

    #[test]
    fn empty_windows_are_left_out() {
        let times = TimestampNanosecondArray::from(vec![0, 1, 2]).with_timezone("UTC");
        let value = || Arc::new(Float64Array::from(vec![1.0, 0.0, 2.0])) as ArrayRef;
        let counts = UInt64Array::from(vec![1, 0, 1]);
        let columns = vec![
            Arc::new(times) as ArrayRef,
            value(),
            value(),
            value(),
            Arc::new(counts),
            value(),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&STAT_SCHEMA), columns).unwrap();
        let some = schema(&[("mean", DataType::Float64)]);
        for answer_schema in [None, Some(some)] {
            let answer_schema = AnswerSchema::windows(answer_schema).unwrap();
            let table = answer_schema.table("test", vec![batch.clone()]).unwrap();
            assert_eq!(table.num_rows(), 2);
        }
    }
}
