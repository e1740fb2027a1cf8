//! Insert and flush.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow_array::{
    Array, ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray,
    cast::AsArray,
    types::{Int64Type, TimestampNanosecondType, UInt64Type},
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use pingthings_proto::v5api;
use pingthings_types::{Code, MergePolicy, Version, check_insert_time};
use uuid::Uuid;

use crate::{
    Acknowledged, Client,
    arrow::RAW_SCHEMA,
    call::Rpc,
    envelope::{Envelope, InsertRpc},
    error::{Error, ErrorKind, FailedInsert},
    metadata::uuid_bytes,
    retry::Repeat,
    stats::Kind,
};

/// Points in one call: what every server of the platform accepts.
const POINTS_PER_CALL: usize = 50_000;

/// Parts of one insert on their way at the same time, where their order does not matter.
const PARTS_IN_FLIGHT: usize = 4;

/// Points for one stream, checked and in the form in which they are sent.
#[derive(Debug)]
pub struct Insert {
    uuid: Uuid,
    parts: Vec<Part>,
    points: usize,
    told: Option<Arc<Acknowledged>>,
    /// Whoever owns the memory the batches lie in; the last field, so that it is dropped last.
    owner: Option<Box<dyn Any + Send + Sync>>,
}

/// Points that are sent in one call, if the server takes so many.
#[derive(Debug)]
struct Part {
    rows: RecordBatch,
    /// First and last time; none without points.
    times: Option<(i64, i64)>,
}

impl Part {
    fn of(rows: RecordBatch) -> Self {
        let times = span(rows.column(0).as_primitive());
        Self { rows, times }
    }
}

/// The earliest and the latest of some times.
fn span(times: &TimestampNanosecondArray) -> Option<(i64, i64)> {
    let times = times.values();
    let first = *times.first()?;
    let outermost = times
        .iter()
        .fold((first, first), |(min, max), &t| (min.min(t), max.max(t)));
    Some(outermost)
}

impl Insert {
    /// Takes batches of two columns: times (timestamps of any unit and zone, naive ones being
    /// UTC, or int64 nanoseconds) and numbers.
    ///
    /// Nothing is sent unless every point is good: a null, NaN or infinite value and a time that
    /// no stream can hold are refused with the row they are in.
    pub fn new(uuid: Uuid, batches: &[RecordBatch]) -> Result<Self, Error> {
        let mut parts = Vec::new();
        let mut points = 0;
        for batch in batches {
            let batch = normalise(batch, points).map_err(|error| error.on_stream(uuid))?;
            points += batch.num_rows();
            for from in (0..batch.num_rows()).step_by(POINTS_PER_CALL) {
                let rows = batch.slice(from, POINTS_PER_CALL.min(batch.num_rows() - from));
                parts.push(Part::of(rows));
            }
        }
        if parts.is_empty() {
            // An empty insert is a call of its own: it proves the stream and tells its version.
            parts.push(Part::of(RecordBatch::new_empty(Arc::clone(&RAW_SCHEMA))));
        }
        Ok(Self {
            uuid,
            parts,
            points,
            told: None,
            owner: None,
        })
    }

    /// Keeps `owner` alive until no batch of this insert is in use any more, for memory that must
    /// be given back in a special way.
    #[must_use]
    pub fn owned_by(mut self, owner: impl Any + Send + Sync) -> Self {
        self.owner = Some(Box::new(owner));
        self
    }

    /// Tells of every part that is acknowledged, and stops when that says so.
    #[must_use]
    pub fn telling(mut self, told: Arc<Acknowledged>) -> Self {
        self.told = Some(told);
        self
    }

    /// Number of points.
    pub const fn points(&self) -> usize {
        self.points
    }

    /// First and last time of the points, `None` without points.
    fn time_range(&self) -> Option<(i64, i64)> {
        let times = self.parts.iter().filter_map(|part| part.times);
        times.reduce(|(min, max), (first, last)| (min.min(first), max.max(last)))
    }

    /// Whether each part ends before the next begins, so that no merge policy can see in which
    /// order they arrive.
    fn is_ordered(&self) -> bool {
        let times = || self.parts.iter().filter_map(|part| part.times);
        times()
            .zip(times().skip(1))
            .all(|((_, end), (begin, _))| end < begin)
    }
}

/// What was acknowledged of an insert.
struct Receipts {
    /// How many points, and the newest version they were answered with.
    total: Mutex<(usize, Version)>,
    told: Option<Arc<Acknowledged>>,
}

impl Receipts {
    fn add(&self, points: usize, now: Version) {
        let mut total = self.total.lock();
        total.0 += points;
        let version = &mut total.1;
        if (now.major, now.minor) > (version.major, version.minor) {
            *version = now;
        }
        drop(total);
        if let Some(told) = &self.told {
            told.add(points);
        }
    }

    /// Whether whoever is told wants no more to be sent.
    fn is_stopped(&self) -> bool {
        self.told.as_ref().is_some_and(|told| told.is_stopped())
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
    // One pass without branches over all; where the first fault is, is looked for once there is one.
    if !values
        .values()
        .iter()
        .fold(true, |ok, v| ok & v.is_finite())
    {
        let row = values.values().iter().position(|value| !value.is_finite());
        let row = row.unwrap_or_default();
        return Err(Error::refused(
            Code::BadValue,
            format!(
                "row {} holds {}: only finite values can be stored, leave such points out",
                offset + row,
                values.value(row)
            ),
        ));
    }
    let is_good = |time: i64| check_insert_time(time).is_ok();
    if span(&times).is_some_and(|(first, last)| !is_good(first) || !is_good(last)) {
        for (row, &time) in times.values().iter().enumerate() {
            check_insert_time(time).map_err(|error| {
                Error::refused(
                    Code::InvalidTimeRange,
                    format!("row {}: {error}", offset + row),
                )
            })?;
        }
    }
    let times = TimestampNanosecondArray::new(times.values().clone(), None).with_timezone("UTC");
    let values = Float64Array::new(values.values().clone(), None);
    let batch = RecordBatch::try_new(
        Arc::clone(&RAW_SCHEMA),
        vec![Arc::new(times), Arc::new(values)],
    );
    batch.map_err(|error| unsuitable(&error.to_string()).with_source(error))
}

fn first_null(nulls: &arrow_buffer::NullBuffer) -> Option<usize> {
    (nulls.null_count() > 0)
        .then(|| nulls.iter().position(|valid| !valid))
        .flatten()
}

fn unsuitable(why: &str) -> Error {
    Error::new(
        ErrorKind::InvalidArgument,
        format!("the points cannot be sent: {why}"),
    )
}

fn nanoseconds(times: &ArrayRef) -> Result<TimestampNanosecondArray, Error> {
    // A zone only says how an instant is shown: the numbers are UTC with every zone and with none.
    let factor = match times.data_type() {
        DataType::Int64 | DataType::UInt64 | DataType::Timestamp(TimeUnit::Nanosecond, _) => 1,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
        other => {
            return Err(unsuitable(&format!(
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
        return Err(unsuitable(&format!(
            "values of type {}: the second column must hold numbers",
            values.data_type()
        )));
    }
    check_exact(values)?;
    let cast = checked_cast(values, &DataType::Float64)
        .map_err(|error| unsuitable(&error.to_string()).with_source(error))?;
    Ok(cast
        .as_primitive::<arrow_array::types::Float64Type>()
        .clone())
}

/// Refuses whole numbers that a float64 can only be near.
fn check_exact(values: &ArrayRef) -> Result<(), Error> {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whether something is lost is what is asked"
    )]
    let inexact = match values.data_type() {
        DataType::Int64 => {
            let numbers = values.as_primitive::<Int64Type>();
            let mut numbers = numbers.iter().flatten();
            numbers
                .find(|&number| (number as f64) as i128 != i128::from(number))
                .map(i128::from)
        }
        DataType::UInt64 => {
            let numbers = values.as_primitive::<UInt64Type>();
            let mut numbers = numbers.iter().flatten();
            numbers
                .find(|&number| (number as f64) as u128 != u128::from(number))
                .map(i128::from)
        }
        _ => None,
    };
    match inexact {
        None => Ok(()),
        Some(number) => Err(Error::refused(
            Code::BadValue,
            format!(
                "the whole number {number} is no float64, which is what streams hold: round it first"
            ),
        )),
    }
}

fn checked_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(
        array,
        to,
        &CastOptions {
            safe: false,
            ..CastOptions::default()
        },
    )
}

impl Client {
    /// Inserts the points and answers once they are durable.
    ///
    /// Many points take several calls, so another reader may see some before the rest. If a call
    /// fails, no further one begins, those under way are waited for, and the error says how many
    /// points were acknowledged. The same happens, without an error, if whoever is told stops it.
    pub async fn insert(&self, insert: Insert, policy: MergePolicy) -> Result<Version, Error> {
        let call = self.begin(Kind::Insert);
        let outcome = self.insert_parts(insert, policy).await;
        call.end(&outcome);
        outcome
    }

    async fn insert_parts(&self, insert: Insert, policy: MergePolicy) -> Result<Version, Error> {
        let in_flight = if insert.is_ordered() {
            PARTS_IN_FLIGHT
        } else {
            1
        };
        let times = insert.time_range();
        // Locals are dropped in reverse: the owner of the memory goes after every call using it.
        let Insert {
            uuid,
            parts,
            points,
            told,
            owner: _owner,
        } = insert;
        let failed = AtomicBool::new(false);
        let receipts = Receipts {
            total: Mutex::default(),
            told,
        };
        let mut calls = stream::iter(parts)
            .map(|part| async {
                if failed.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let outcome = self.insert_rows(uuid, part.rows, policy, &receipts).await;
                failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
                outcome
            })
            .buffered(in_flight);
        let mut failure: Option<Error> = None;
        while let Some(outcome) = calls.next().await {
            match outcome {
                // The one that leaves most in the dark is the one to report.
                Err(error) if failure.is_none() || error.is_ambiguous() => failure = Some(error),
                Ok(()) | Err(_) => {}
            }
        }
        drop(calls);
        let (done, version) = receipts.total.into_inner();
        let Some(error) = failure else {
            return Ok(version);
        };
        let in_doubt = !policy.is_idempotent() && error.is_ambiguous();
        let error = error.on_stream(uuid).of_insert(FailedInsert {
            in_doubt,
            times,
            version: (done > 0).then_some(version.major),
        });
        Err(match (done, in_doubt) {
            (0, false) => error,
            _ => error.with_context(&format!(
                "{done} of {points} points were acknowledged{}",
                if in_doubt {
                    ", and more may have been stored"
                } else {
                    ""
                }
            )),
        })
    }

    /// Inserts a part in as many calls as the server wants: one that takes fewer points says so,
    /// and from then on gets fewer.
    async fn insert_rows(
        &self,
        uuid: Uuid,
        part: RecordBatch,
        policy: MergePolicy,
        receipts: &Receipts,
    ) -> Result<(), Error> {
        let mut from = 0;
        while !receipts.is_stopped() {
            let left = part.num_rows() - from;
            let count = left.min(self.server.points_per_call());
            let piece = part.slice(from, count);
            match self.insert_part(uuid, piece, policy).await {
                Err(error) if error.is_code(Code::InsertTooBig) && count > 1 => {
                    self.server.lower_points_per_call(count / 2);
                }
                Err(error) => return Err(error),
                Ok(now) => {
                    receipts.add(count, now);
                    self.counters().points_inserted.add(count as u64);
                    from += count;
                    if from >= part.num_rows() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    async fn insert_part(
        &self,
        uuid: Uuid,
        part: RecordBatch,
        policy: MergePolicy,
    ) -> Result<Version, Error> {
        let repeat = if policy.is_idempotent() {
            Repeat::Always
        } else {
            Repeat::IfRefused
        };
        if self.server.has_arrow() {
            let request = Envelope {
                request: v5api::ArrowInsertParams {
                    uuid: uuid_bytes(uuid),
                    sync: true,
                    merge_policy: policy.to_wire(),
                    ..Default::default()
                },
                rows: part.clone(),
            };
            let answer = self
                .unary_as(
                    repeat,
                    Some(uuid),
                    "ArrowInsert",
                    request,
                    |mut rpc: InsertRpc, q| async move { rpc.insert(q).await },
                )
                .await;
            match answer {
                Err(error) if error.is_unimplemented() => self.server.forgo_arrow(),
                done => return done.map(|answer| version(&answer)),
            }
        }
        let request = v5api::InsertParams {
            uuid: uuid_bytes(uuid),
            sync: true,
            values: points(&part),
            merge_policy: policy.to_wire(),
            rounding: None,
        };
        let answer = self
            .unary_as(
                repeat,
                Some(uuid),
                "Insert",
                request,
                |mut rpc: Rpc, q| async move { rpc.insert(q).await },
            )
            .await?;
        Ok(version(&answer))
    }

    /// Commits what is buffered, and answers with the version that holds it.
    pub async fn flush(&self, uuid: Uuid) -> Result<Version, Error> {
        let request = v5api::FlushParams {
            uuid: uuid_bytes(uuid),
        };
        let answer: v5api::FlushResponse = self
            .unary("Flush", request, |mut rpc: Rpc, q| async move {
                rpc.flush(q).await
            })
            .await
            .map_err(|error: Error| error.on_stream(uuid))?;
        Ok(Version {
            major: answer.version_major,
            minor: answer.version_minor,
        })
    }
}

const fn version(answer: &v5api::InsertResponse) -> Version {
    Version {
        major: answer.version_major,
        minor: answer.version_minor,
    }
}

fn points(part: &RecordBatch) -> Vec<v5api::RawPoint> {
    let times = part
        .column(0)
        .as_primitive::<TimestampNanosecondType>()
        .values();
    let values = part
        .column(1)
        .as_primitive::<arrow_array::types::Float64Type>()
        .values();
    times
        .iter()
        .zip(values)
        .map(|(&time, &value)| v5api::RawPoint { time, value })
        .collect()
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
        assert_eq!(
            points(&insert.parts[0].rows)[0],
            v5api::RawPoint {
                time: -1_000_000_000,
                value: 1.0
            }
        );
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
    fn only_parts_that_follow_each_other_may_overtake() {
        let n = i64::try_from(POINTS_PER_CALL).unwrap();
        let values = |n| Arc::new(Float64Array::from(vec![0.0; n])) as ArrayRef;
        let rising = insert(
            Arc::new(Int64Array::from_iter_values(0..=n)),
            values(POINTS_PER_CALL + 1),
        );
        let rising = rising.unwrap();
        assert_eq!(
            (rising.parts.len(), rising.points()),
            (2, POINTS_PER_CALL + 1)
        );
        assert!(rising.is_ordered());
        let twice = Int64Array::from_iter_values((0..n).chain([n - 1]));
        assert!(
            !insert(Arc::new(twice), values(POINTS_PER_CALL + 1))
                .unwrap()
                .is_ordered()
        );
    }

    #[test]
    fn nothing_is_still_one_call() {
        assert_eq!(Insert::new(Uuid::nil(), &[]).unwrap().parts.len(), 1);
    }
}
