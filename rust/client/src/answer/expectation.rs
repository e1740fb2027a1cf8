//! What an answer may contain: which columns, and which times.
//!
//! Answers of servers are checked. Each column must have the expected name and type. Each time must
//! be in the requested range and not before the time of the row above. Anything else is an error,
//! so that it cannot become a wrong number.

use std::{collections::HashMap, sync::Arc};

use arrow_schema::{ArrowError, DataType, Schema, SchemaRef, TimeUnit};
use pingthings_types::TimeRange;

/// The columns and times that an answer may have.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    /// The requested schema, if one was requested.
    requested: Option<SchemaRef>,
    /// The default schema, which servers use if no schema was requested or if they ignore the
    /// request.
    native: SchemaRef,
    times: TimeBounds,
}

/// The times that rows may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeBounds {
    /// The earliest time.
    first: i64,
    /// The end of the range, exclusive.
    end: i64,
    /// Whether all times must differ.
    pub(crate) is_strict: bool,
}

/// The type of a column, as far as answers use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnType {
    /// A timestamp in nanoseconds. Its time zone makes no difference, because the numbers are
    /// always UTC.
    Timestamp,
    Int64,
    UInt64,
    Float64,
    Float32,
    /// Any other type.
    Other,
}

impl ColumnType {
    pub(crate) const fn of(kind: &DataType) -> Self {
        match kind {
            DataType::Timestamp(TimeUnit::Nanosecond, _) => Self::Timestamp,
            DataType::Int64 => Self::Int64,
            DataType::UInt64 => Self::UInt64,
            DataType::Float64 => Self::Float64,
            DataType::Float32 => Self::Float32,
            _ => Self::Other,
        }
    }
}

/// The name and type of a column of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerColumn<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: ColumnType,
}

impl TimeBounds {
    /// For points of a range: several may have the same time.
    pub(crate) const fn of_points(range: TimeRange) -> Self {
        Self {
            first: range.start(),
            end: range.end(),
            is_strict: false,
        }
    }

    /// For windows or joined values from `first` (inclusive) to `end` (exclusive): no two rows have
    /// the same time.
    pub(crate) const fn of_rows(first: i64, end: i64) -> Self {
        Self {
            first,
            end,
            is_strict: true,
        }
    }

    /// Checks that the first and the last of ascending times are in the range.
    pub(crate) fn check(&self, first: i64, last: i64) -> Result<(), ArrowError> {
        for time in [first, last] {
            if time < self.first || time >= self.end {
                return Err(ArrowError::IpcError(format!(
                    "the time {time} is not in the range [{}, {}) that was requested",
                    self.first, self.end
                )));
            }
        }
        Ok(())
    }

    /// The error for times that are not in order. `before` is the time before the first one.
    pub(crate) fn disorder(
        &self,
        before: Option<i64>,
        times: impl Iterator<Item = i64>,
    ) -> ArrowError {
        let mut before = before;
        for time in times {
            let is_late =
                before.is_some_and(|before| time < before || (self.is_strict && time == before));
            if is_late {
                let before = before.unwrap_or_default();
                return ArrowError::IpcError(format!(
                    "the times are not in order: {time} follows {before}"
                ));
            }
            if let Err(error) = self.check(time, time) {
                return error;
            }
            before = Some(time);
        }
        ArrowError::IpcError("the times are not in order".to_owned())
    }
}

impl Expectation {
    pub(crate) const fn new(
        requested: Option<SchemaRef>,
        native: SchemaRef,
        times: TimeBounds,
    ) -> Self {
        Self {
            requested,
            native,
            times,
        }
    }

    pub(crate) const fn time_bounds(&self) -> &TimeBounds {
        &self.times
    }

    /// The schema for the columns that a server has sent; an error if they were not expected.
    pub(crate) fn accept(&self, found: &[AnswerColumn<'_>]) -> Result<SchemaRef, ArrowError> {
        let schemas = self.requested.iter().chain([&self.native]);
        for schema in schemas {
            if has_columns(schema, found) {
                return Ok(Arc::clone(schema));
            }
        }
        self.reordered(found).ok_or_else(|| self.mismatch(found))
    }

    /// Accepts columns in another order, which are identified by their names. The time must be the
    /// first column.
    fn reordered(&self, found: &[AnswerColumn<'_>]) -> Option<SchemaRef> {
        let fields = self.native.fields();
        if found.len() != fields.len() || !is_field(&fields[0], found.first()?) {
            return None;
        }
        let mut left: HashMap<_, _> = fields
            .iter()
            .map(|field| (field.name().as_str(), field))
            .collect();
        let ordered = found.iter().map(|column| {
            let field = left.remove(column.name)?;
            is_field(field, column).then(|| Arc::clone(field))
        });
        let ordered: Vec<_> = ordered.collect::<Option<_>>()?;
        Some(Arc::new(Schema::new(ordered)))
    }

    fn mismatch(&self, found: &[AnswerColumn<'_>]) -> ArrowError {
        const MAX_NAMES: usize = 8;
        let mut names: Vec<_> = found
            .iter()
            .take(MAX_NAMES)
            .map(|column| format!("`{}` ({:?})", column.name.escape_debug(), column.kind))
            .collect();
        if found.len() > MAX_NAMES {
            names.push(format!("{} more", found.len() - MAX_NAMES));
        }
        let fields = self.requested.as_ref().unwrap_or(&self.native).fields();
        let mut requested: Vec<_> = fields
            .iter()
            .take(MAX_NAMES)
            .map(|field| {
                format!(
                    "`{}` ({:?})",
                    field.name(),
                    ColumnType::of(field.data_type())
                )
            })
            .collect();
        if fields.len() > MAX_NAMES {
            requested.push(format!("{} more", fields.len() - MAX_NAMES));
        }
        ArrowError::SchemaError(format!(
            "it has the columns {} where {} were requested",
            names.join(", "),
            requested.join(", ")
        ))
    }
}

fn is_field(field: &arrow_schema::Field, column: &AnswerColumn<'_>) -> bool {
    field.name() == column.name && ColumnType::of(field.data_type()) == column.kind
}

fn has_columns(schema: &Schema, found: &[AnswerColumn<'_>]) -> bool {
    let fields = schema.fields();
    fields.len() == found.len()
        && fields
            .iter()
            .zip(found)
            .all(|(field, column)| is_field(field, column))
}
