//! Points for one stream. All are validated before any is sent.

use std::{any::Any, sync::Arc};

use arrow_array::{
    Array, ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray,
    cast::AsArray,
    types::{Float64Type, Int64Type, TimestampNanosecondType, UInt64Type},
};
use arrow_schema::{DataType, TimeUnit};
use pingthings_types::{Code, check_insert_time};
use uuid::Uuid;

use crate::{
    answer::table::RAW_SCHEMA,
    error::{Error, ErrorKind},
    insert::{
        borrow::MemoryBorrow,
        cast::{checked_cast, inexact_number, is_exact, unsuitable_points},
        decimal,
        progress::InsertProgress,
    },
};

/// Maximum number of points in one call, which every server of the platform accepts.
const MAX_POINTS_PER_CALL: usize = 50_000;

/// The owner of memory that is being sent.
pub(crate) type Owner = Arc<dyn Any + Send + Sync>;

/// Validated points for one stream, in the form in which they are sent.
#[derive(Debug)]
pub struct Insert {
    pub(crate) uuid: Uuid,
    pub(crate) parts: Vec<Part>,
    points: usize,
    pub(crate) progress: Option<Arc<InsertProgress>>,
    pub(crate) borrow: Arc<MemoryBorrow>,
    /// The owner of the memory of the batches. The last field, so that it is dropped last.
    pub(crate) owner: Option<Owner>,
}

/// Points that are sent in one call, if the server accepts so many.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) rows: RecordBatch,
    /// Earliest and latest time; `None` without points.
    times: Option<(i64, i64)>,
}

impl Part {
    /// Validates each point while it is in the CPU cache. `row` is the row of the first point.
    fn checked(rows: RecordBatch, row: usize) -> Result<Self, Error> {
        check_values(rows.column(1).as_primitive(), row)?;
        let times = check_times(rows.column(0).as_primitive(), row)?;
        Ok(Self { rows, times })
    }
}

fn check_values(values: &Float64Array, row: usize) -> Result<(), Error> {
    let values = values.values();
    // The loop has no branches, so that it is fast. The position of an invalid value is found only
    // if there is one.
    if values.iter().fold(true, |ok, v| ok & v.is_finite()) {
        return Ok(());
    }
    let fault = values.iter().position(|value| !value.is_finite());
    let fault = fault.unwrap_or_default();
    Err(Error::refused(
        Code::BadValue,
        format!(
            "row {} holds {}: only finite values can be stored, leave such points out",
            row + fault,
            values[fault]
        ),
    ))
}

/// The earliest and latest time; `None` without points.
fn check_times(times: &TimestampNanosecondArray, row: usize) -> Result<Option<(i64, i64)>, Error> {
    let times = times.values();
    let Some(&first) = times.first() else {
        return Ok(None);
    };
    let (earliest, latest) = times
        .iter()
        .fold((first, first), |(min, max), &t| (min.min(t), max.max(t)));
    if check_insert_time(earliest).is_err() || check_insert_time(latest).is_err() {
        for (fault, &time) in times.iter().enumerate() {
            check_insert_time(time).map_err(|error| {
                let row = row + fault;
                Error::refused(Code::InvalidTimeRange, format!("row {row}: {error}"))
            })?;
        }
    }
    Ok(Some((earliest, latest)))
}

impl Insert {
    /// Validates batches of two columns: times (timestamps of any unit and time zone, where no zone
    /// means UTC, or int64 nanoseconds) and numbers.
    ///
    /// Nothing is sent unless every point is valid. A null, a NaN or infinite value, and a time
    /// outside the range of times are refused, and the error names the row.
    pub fn new(uuid: Uuid, batches: &[RecordBatch]) -> Result<Self, Error> {
        let mut parts = Vec::new();
        let mut points = 0;
        for batch in batches {
            let batch = normalise(batch, points).map_err(|error| error.on_stream(uuid))?;
            for from in (0..batch.num_rows()).step_by(MAX_POINTS_PER_CALL) {
                let rows = batch.slice(from, MAX_POINTS_PER_CALL.min(batch.num_rows() - from));
                let part = Part::checked(rows, points + from);
                parts.push(part.map_err(|error| error.on_stream(uuid))?);
            }
            points += batch.num_rows();
        }
        if parts.is_empty() {
            // An insert without points is also sent: it checks that the stream exists and returns
            // its version.
            parts.push(Part {
                rows: RecordBatch::new_empty(Arc::clone(&RAW_SCHEMA)),
                times: None,
            });
        }
        Ok(Self {
            uuid,
            parts,
            points,
            progress: None,
            borrow: Arc::default(),
            owner: None,
        })
    }

    /// Keeps `owner` alive until no batch of this insert is in use, for memory that must be
    /// released in a special way.
    #[must_use]
    pub fn with_owner(mut self, owner: impl Any + Send + Sync) -> Self {
        self.owner = Some(Arc::new(owner));
        self
    }

    /// Sets the borrow to which the memory of the batches belongs, for a caller that may end it
    /// early.
    #[must_use]
    pub fn with_borrow(mut self, borrow: Arc<MemoryBorrow>) -> Self {
        self.borrow = borrow;
        self
    }

    /// Reports every acknowledged part to `progress`, which can also stop the insert.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<InsertProgress>) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Number of points.
    pub const fn points(&self) -> usize {
        self.points
    }

    /// Earliest and latest time of the points; `None` without points.
    pub(crate) fn time_range(&self) -> Option<(i64, i64)> {
        let times = self.parts.iter().filter_map(|part| part.times);
        times.reduce(|(min, max), (first, last)| (min.min(first), max.max(last)))
    }

    /// Whether each part ends before the next one begins. The order in which such parts arrive
    /// makes no difference under any merge policy.
    pub(crate) fn is_ordered(&self) -> bool {
        let times = || self.parts.iter().filter_map(|part| part.times);
        times()
            .zip(times().skip(1))
            .all(|((_, end), (begin, _))| end < begin)
    }
}

fn normalise(batch: &RecordBatch, offset: usize) -> Result<RecordBatch, Error> {
    let [times, values] = batch.columns() else {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!(
                "points with {} columns: give two, times and values",
                batch.num_columns()
            ),
        ));
    };
    let times = nanoseconds(times)?;
    let values = floats(values)?;
    if let Some(row) = times
        .nulls()
        .or_else(|| values.nulls())
        .and_then(first_null)
    {
        return Err(Error::refused(
            Code::BadValue,
            format!(
                "row {} holds a null: leave points without a value out",
                offset + row
            ),
        ));
    }
    let times = TimestampNanosecondArray::new(times.values().clone(), None).with_timezone("UTC");
    let values = Float64Array::new(values.values().clone(), None);
    let batch = RecordBatch::try_new(
        Arc::clone(&RAW_SCHEMA),
        vec![Arc::new(times), Arc::new(values)],
    );
    batch.map_err(|error| unsuitable_points(&error.to_string()).with_source(error))
}

fn first_null(nulls: &arrow_buffer::NullBuffer) -> Option<usize> {
    (nulls.null_count() > 0)
        .then(|| nulls.iter().position(|valid| !valid))
        .flatten()
}

fn nanoseconds(times: &ArrayRef) -> Result<TimestampNanosecondArray, Error> {
    // A time zone only affects how a time is displayed. The numbers are UTC with any zone and with
    // none.
    let factor = match times.data_type() {
        DataType::Int64 | DataType::UInt64 | DataType::Timestamp(TimeUnit::Nanosecond, _) => 1,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
        other => {
            return Err(unsuitable_points(&format!(
                "times of type {other}: the first column must hold timestamps or int64 nanoseconds"
            )));
        }
    };
    let too_large = |time| {
        Error::refused(
            Code::InvalidTimeRange,
            format!("time {time} does not fit in nanoseconds"),
        )
    };
    let numbers =
        checked_cast(times, &DataType::Int64).map_err(|error| too_large(error.to_string()))?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let scaled = match factor {
        1 => numbers.clone(),
        _ => numbers.try_unary(|time| {
            time.checked_mul(factor)
                .ok_or_else(|| too_large(time.to_string()))
        })?,
    };
    Ok(scaled.reinterpret_cast::<TimestampNanosecondType>())
}

fn floats(values: &ArrayRef) -> Result<Float64Array, Error> {
    if !values.data_type().is_numeric() {
        return Err(unsuitable_points(&format!(
            "values of type {}: the second column must hold numbers",
            values.data_type()
        )));
    }
    match values.data_type() {
        DataType::Int64 => {
            let numbers = values.as_primitive::<Int64Type>();
            check_exact(numbers.iter().flatten().map(i128::from))?;
        }
        DataType::UInt64 => {
            let numbers = values.as_primitive::<UInt64Type>();
            check_exact(numbers.iter().flatten().map(i128::from))?;
        }
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => return decimal::floats(values, *scale),
        _ => {}
    }
    let cast = checked_cast(values, &DataType::Float64)
        .map_err(|error| unsuitable_points(&error.to_string()).with_source(error))?;
    Ok(cast.as_primitive::<Float64Type>().clone())
}

/// Fails for a whole number that is not exact as a float64.
fn check_exact(mut numbers: impl Iterator<Item = i128>) -> Result<(), Error> {
    numbers
        .find(|&number| !is_exact(number))
        .map_or(Ok(()), |number| Err(inexact_number(number)))
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, StringArray, TimestampSecondArray};
    use arrow_schema::{Field, Schema};

    use super::*;

    fn batch(times: ArrayRef, values: ArrayRef) -> RecordBatch {
        let field = |name, array: &ArrayRef| Field::new(name, array.data_type().clone(), true);
        let schema = Schema::new(vec![field("t", &times), field("v", &values)]);
        RecordBatch::try_new(Arc::new(schema), vec![times, values]).unwrap()
    }

    fn insert(times: ArrayRef, values: ArrayRef) -> Result<Insert, Error> {
        Insert::new(Uuid::nil(), &[batch(times, values)])
    }

    #[test]
    fn times_of_any_unit_become_nanoseconds() {
        let seconds = Arc::new(TimestampSecondArray::from(vec![-1, 2]));
        let insert = insert(seconds, Arc::new(Int64Array::from(vec![1, 2]))).unwrap();
        let rows = &insert.parts[0].rows;
        let times = rows.column(0).as_primitive::<TimestampNanosecondType>();
        assert_eq!(times.values(), &[-1_000_000_000, 2_000_000_000]);
        let values = rows.column(1).as_primitive::<Float64Type>();
        assert_eq!(values.values(), &[1.0, 2.0]);
    }

    #[test]
    fn bad_points_are_refused_with_their_row() {
        let times = |times: Vec<i64>| Arc::new(Int64Array::from(times)) as ArrayRef;
        let values = |values: Vec<Option<f64>>| Arc::new(Float64Array::from(values)) as ArrayRef;
        for (times, values, code, text) in [
            (
                times(vec![1, 2]),
                values(vec![Some(1.0), None]),
                425,
                "row 1 holds a null",
            ),
            (
                times(vec![1, 2]),
                values(vec![Some(1.0), Some(f64::NAN)]),
                425,
                "row 1 holds NaN",
            ),
            (
                times(vec![1]),
                values(vec![Some(f64::INFINITY)]),
                425,
                "row 0 holds inf",
            ),
            (
                times(vec![1, i64::MAX]),
                values(vec![Some(1.0), Some(1.0)]),
                413,
                "row 1",
            ),
            (
                Arc::new(StringArray::from(vec!["noon"])),
                values(vec![Some(1.0)]),
                0,
                "Utf8",
            ),
            (
                times(vec![1]),
                Arc::new(StringArray::from(vec!["one"])),
                0,
                "Utf8",
            ),
            (
                Arc::new(TimestampSecondArray::from(vec![i64::MAX])),
                values(vec![Some(1.0)]),
                413,
                "fit",
            ),
        ] {
            let error = insert(times, values).unwrap_err();
            let kind = match code {
                0 => ErrorKind::InvalidArgument,
                code => ErrorKind::Code(code),
            };
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn only_parts_in_ascending_order_may_be_sent_concurrently() {
        let n = i64::try_from(MAX_POINTS_PER_CALL).unwrap();
        let values = |n| Arc::new(Float64Array::from(vec![0.0; n])) as ArrayRef;
        let rising = insert(
            Arc::new(Int64Array::from_iter_values(0..=n)),
            values(MAX_POINTS_PER_CALL + 1),
        );
        let rising = rising.unwrap();
        assert_eq!(
            (rising.parts.len(), rising.points()),
            (2, MAX_POINTS_PER_CALL + 1)
        );
        assert!(rising.is_ordered());
        let twice = Int64Array::from_iter_values((0..n).chain([n - 1]));
        assert!(
            !insert(Arc::new(twice), values(MAX_POINTS_PER_CALL + 1))
                .unwrap()
                .is_ordered()
        );
    }

    #[test]
    fn an_insert_without_points_is_one_call() {
        assert_eq!(Insert::new(Uuid::nil(), &[]).unwrap().parts.len(), 1);
    }
}
