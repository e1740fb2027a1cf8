//! Arrow answers: templates, and the points of many streams in one table.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, TimestampNanosecondType};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use pingthings_proto::v5api as v5;
use pingthings_server::{Config, Limits};
use uuid::Uuid;

use crate::fixture::{
    Fixture, Outcome, Stream, answers, numbers, points_schema, ramp, table, time_field,
};

fn template(fields: Vec<Field>) -> (Schema, Bytes) {
    let schema = Schema::new(fields);
    let writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    let bytes = writer.into_inner().unwrap().into();
    (schema, bytes)
}

/// A template with this number of streams and this length of names.
pub(crate) fn named(streams: usize, length: usize) -> Bytes {
    let value = |at| Field::new(format!("{at:0>length$}"), DataType::Float64, false);
    let values = (0..streams).map(value);
    template(std::iter::once(time_field()).chain(values).collect()).1
}

async fn raw(stream: &Stream, template_bytes: Bytes) -> Outcome<RecordBatch> {
    let params = v5::ArrowRawValuesParams {
        uuid: stream.id(),
        start: 0,
        end: 1000,
        version_major: 0,
        template_bytes,
    };
    let answers = answers(stream.client.clone().arrow_raw_values(params).await).await?;
    Ok(table(answers.iter().map(|answer| &answer.arrow_bytes)))
}

#[tokio::test]
async fn a_template_names_and_casts_the_columns() {
    let (_fixture, stream) = Fixture::with_stream().await;
    stream
        .insert(&[(1, 0.5), (2, 0.1), (3, 1e300)])
        .await
        .unwrap();
    let (schema, bytes) = template(vec![
        Field::new("t", DataType::Int64, false),
        Field::new("v", DataType::Float32, false),
    ]);
    let found = raw(&stream, bytes).await.unwrap();
    assert_eq!(*found.schema(), schema);
    assert_eq!(
        found.column(0).as_primitive::<Int64Type>().values()[..],
        [1, 2, 3]
    );
    let values = found.column(1).as_primitive::<Float32Type>();
    assert_eq!(values.values()[..], [0.5, 0.1, f32::INFINITY]);

    let oslo = DataType::Timestamp(TimeUnit::Nanosecond, Some("Europe/Oslo".into()));
    let (schema, bytes) = template(vec![
        Field::new("t", oslo, true),
        Field::new("v", DataType::Float64, true),
    ]);
    let found = raw(&stream, bytes.clone()).await.unwrap();
    assert_eq!(*found.schema(), schema);
    let times = found.column(0).as_primitive::<TimestampNanosecondType>();
    assert_eq!(times.values()[..], [1, 2, 3]);
    // Some clients omit the end marker.
    let found = raw(&stream, bytes.slice(..bytes.len() - 8)).await.unwrap();
    assert_eq!(*found.schema(), schema);

    let found = raw(&stream, Bytes::new()).await.unwrap();
    assert_eq!(*found.schema(), points_schema());
}

#[tokio::test]
async fn templates_that_do_not_fit_are_refused() {
    let (_fixture, stream) = Fixture::with_stream().await;
    let float = |name| Field::new(name, DataType::Float64, false);
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    for fields in [
        vec![],
        vec![time_field()],
        vec![time_field(), float("a"), float("b")],
        vec![float("a"), float("b")],
        vec![time_field(), time_field()],
        vec![Field::new("t", micros, false), float("a")],
        vec![time_field(), Field::new("v", DataType::Utf8, false)],
        vec![time_field(), Field::new("v", DataType::Float16, false)],
        vec![Field::new("t", DataType::UInt64, false), float("a")],
    ] {
        let (schema, bytes) = template(fields);
        assert_eq!(raw(&stream, bytes).await.unwrap_err(), 438, "{schema:?}");
    }
    assert_eq!(
        raw(&stream, Bytes::from_static(b"junk")).await.unwrap_err(),
        438
    );
}

/// Streams with points, and the call that reads them together.
struct Set {
    fixture: Fixture,
    streams: Vec<Stream>,
}

impl Set {
    async fn new(contents: &[&[(i64, f64)]]) -> Self {
        let fixture = Fixture::open().await;
        let mut streams = Vec::new();
        for points in contents {
            let stream = fixture.stream().await;
            stream.insert(points).await.unwrap();
            streams.push(stream);
        }
        Self { fixture, streams }
    }

    fn params(&self, start: i64, end: i64) -> v5::ArrowMultiValuesParams {
        v5::ArrowMultiValuesParams {
            uuid: self.streams.iter().map(Stream::id).collect(),
            start,
            end,
            ..v5::ArrowMultiValuesParams::default()
        }
    }

    async fn read(&self, params: v5::ArrowMultiValuesParams) -> Outcome<RecordBatch> {
        let mut client = self.fixture.client.clone();
        let answers = answers(client.arrow_multi_values(params).await).await?;
        Ok(table(answers.iter().map(|answer| &answer.arrow_bytes)))
    }
}

/// Time and values of each row; `None` for NaN.
fn rows(table: &RecordBatch) -> Vec<(i64, Vec<Option<f64>>)> {
    let times = table
        .column(0)
        .as_primitive::<TimestampNanosecondType>()
        .values();
    let columns = table.columns()[1..]
        .iter()
        .map(|c| c.as_primitive::<Float64Type>().values());
    let columns: Vec<_> = columns.collect();
    let row = |index: usize| {
        let values = columns.iter().map(|column| column[index]);
        values
            .map(|value| (!value.is_nan()).then_some(value))
            .collect()
    };
    times
        .iter()
        .enumerate()
        .map(|(index, &time)| (time, row(index)))
        .collect()
}

#[tokio::test]
async fn many_streams_are_joined_on_time() {
    let set = Set::new(&[
        &[(1, 1.0), (3, 3.0), (3, 3.5), (9, 9.0)],
        &[(2, 20.0), (3, 30.0)],
        &[],
    ])
    .await;
    let found = set.read(set.params(0, 9)).await.unwrap();
    let mut fields = vec![time_field()];
    for stream in &set.streams {
        fields.push(Field::new(
            stream.uuid.to_string(),
            DataType::Float64,
            false,
        ));
    }
    assert_eq!(*found.schema(), Schema::new(fields));
    assert!(
        found
            .columns()
            .iter()
            .all(|column| column.null_count() == 0)
    );
    let expected = [
        (1, vec![Some(1.0), None, None]),
        (2, vec![None, Some(20.0), None]),
        (3, vec![Some(3.5), Some(30.0), None]),
    ];
    assert_eq!(rows(&found), expected);
}

#[tokio::test]
async fn a_join_without_rows_or_streams_has_its_columns() {
    let set = Set::new(&[&[], &[(50, 1.0)]]).await;
    let found = set.read(set.params(0, 9)).await.unwrap();
    assert_eq!((found.num_rows(), found.num_columns()), (0, 3));
    let nobody = v5::ArrowMultiValuesParams {
        uuid: vec![],
        ..set.params(0, 9)
    };
    let found = set.read(nobody).await.unwrap();
    assert_eq!(found.num_rows(), 0);
    assert_eq!(*found.schema(), Schema::new(vec![time_field()]));
}

#[tokio::test]
async fn a_join_reads_the_requested_versions() {
    let set = Set::new(&[&[(1, 1.0)], &[(1, 2.0)]]).await;
    for stream in &set.streams {
        stream.flush().await.unwrap();
        stream.insert(&[(2, 5.0)]).await.unwrap();
    }
    let at = |version_major: Vec<u64>| v5::ArrowMultiValuesParams {
        version_major,
        ..set.params(0, 9)
    };
    let found = set.read(at(vec![11, 0])).await.unwrap();
    assert_eq!(
        rows(&found),
        [(1, vec![Some(1.0), Some(2.0)]), (2, vec![None, Some(5.0)])]
    );
    assert_eq!(set.read(at(vec![])).await.unwrap().num_rows(), 2);
    assert_eq!(set.read(at(vec![0])).await.unwrap_err(), 421);
    assert_eq!(set.read(at(vec![0, 12])).await.unwrap_err(), 450);
}

#[tokio::test]
async fn a_join_refuses_invalid_requests() {
    let set = Set::new(&[&[(1, 1.0)]]).await;
    let id = set.streams[0].id();
    assert_eq!(set.read(set.params(9, 9)).await.unwrap_err(), 413);
    let twice = v5::ArrowMultiValuesParams {
        uuid: vec![id.clone(), id.clone()],
        ..set.params(0, 9)
    };
    assert_eq!(set.read(twice).await.unwrap_err(), 438);
    let unknown = v5::ArrowMultiValuesParams {
        uuid: vec![id, Bytes::copy_from_slice(Uuid::new_v4().as_bytes())],
        ..set.params(0, 9)
    };
    assert_eq!(set.read(unknown).await.unwrap_err(), 404);
    let backwards = v5::ArrowMultiValuesParams {
        snap_period_ns: -1,
        ..set.params(0, 9)
    };
    assert_eq!(set.read(backwards).await.unwrap_err(), 438);
}

#[tokio::test]
async fn a_join_follows_its_template() {
    let set = Set::new(&[&[(1, 1.5)], &[(2, 2.5)]]).await;
    let (schema, template_bytes) = template(vec![
        time_field().with_name("t"),
        Field::new("a", DataType::Float64, false),
        Field::new("b", DataType::Float32, false),
    ]);
    let found = set
        .read(v5::ArrowMultiValuesParams {
            template_bytes,
            ..set.params(0, 9)
        })
        .await
        .unwrap();
    assert_eq!(*found.schema(), schema);
    let narrow = found.column(2).as_primitive::<Float32Type>().values();
    assert!(narrow[0].is_nan());
    assert!((narrow[1] - 2.5).abs() < f32::EPSILON);
    let (_, too_short) = template(vec![time_field()]);
    let refused = set
        .read(v5::ArrowMultiValuesParams {
            template_bytes: too_short,
            ..set.params(0, 9)
        })
        .await;
    assert_eq!(refused.unwrap_err(), 438);
}

#[tokio::test]
async fn snapping_reaches_half_a_period_before_the_start() {
    const S: i64 = 1_000_000_000;
    let snapped = |set: &Set, start, end| v5::ArrowMultiValuesParams {
        snap_period_ns: S,
        ..set.params(start, end)
    };
    let early = Set::new(&[&[(S / 2, 1.0), (S * 2, 2.0)]]).await;
    let found = early.read(snapped(&early, S, 3 * S)).await.unwrap();
    assert_eq!(
        rows(&found),
        [(S, vec![Some(1.0)]), (2 * S, vec![Some(2.0)])]
    );

    let too_early = Set::new(&[&[(S / 2 - 1, 1.0), (S * 2, 2.0)]]).await;
    let found = too_early.read(snapped(&too_early, S, 3 * S)).await.unwrap();
    assert_eq!(rows(&found), [(2 * S, vec![Some(2.0)])]);

    let late = Set::new(&[&[(S, 1.0), (S * 2, 2.0), (S * 11 / 4, 3.0)]]).await;
    for end in [3 * S, 29 * S / 10] {
        let found = late.read(snapped(&late, S, end)).await.unwrap();
        assert_eq!(
            rows(&found),
            [(S, vec![Some(1.0)]), (2 * S, vec![Some(2.0)])]
        );
    }
}

#[tokio::test]
async fn wide_tables_are_split_into_small_messages() {
    let points = ramp(0, 1, 20_000);
    let contents = vec![&points[..]; 30];
    let set = Set::new(&contents).await;
    let mut client = set.fixture.client.clone();
    let response = client.arrow_multi_values(set.params(0, 100_000)).await;
    let answers = answers(response).await.unwrap();
    assert!(answers.len() > 1);
    let found = table(answers.iter().map(|answer| &answer.arrow_bytes));
    assert_eq!((found.num_rows(), found.num_columns()), (20_000, 31));
    assert_eq!(rows(&found)[19_999], (19_999, vec![Some(19_999.0); 30]));
}

/// The rows of a join by its definition. Streams are in the order of time; points of the same time
/// are in the order of arrival.
fn joined(
    streams: &[Vec<(i64, f64)>],
    (start, end): (i64, i64),
    period: i64,
) -> Vec<(i64, Vec<Option<f64>>)> {
    let mut instants: Vec<i64> = if period == 0 {
        streams.iter().flatten().map(|point| point.0).collect()
    } else {
        (start..end)
            .step_by(usize::try_from(period).unwrap())
            .collect()
    };
    instants.retain(|instant| (start..end).contains(instant));
    instants.sort_unstable();
    instants.dedup();
    let (before, after) = (period / 2, (period - period / 2).max(1));
    let cell = |instant: i64, stream: &Vec<(i64, f64)>| {
        let mut best: Option<(i64, f64)> = None;
        for &(time, value) in stream.iter().filter(|point| point.0 < end) {
            let is_near = (instant - before..instant + after).contains(&time);
            let is_better = best.is_none_or(|(other, _)| {
                time == other || (time - instant).abs() < (other - instant).abs()
            });
            if is_near && is_better {
                best = Some((time, value));
            }
        }
        best.map(|(_, value)| value)
    };
    let rows = instants.into_iter().map(|instant| {
        let cells = streams.iter().map(|stream| cell(instant, stream));
        (instant, cells.collect::<Vec<_>>())
    });
    rows.filter(|(_, cells)| cells.iter().any(Option::is_some))
        .collect()
}

#[tokio::test]
async fn a_join_over_versions_and_buffers_equals_brute_force() {
    let fixture = Fixture::with(Config {
        limits: Limits {
            rows_per_message: 50,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let mut random = numbers(11);
    let mut points = |count: u32| -> Vec<(i64, f64)> {
        (0..count)
            .map(|_| (i64::from(random() % 2500) - 500, f64::from(random())))
            .collect()
    };
    let (mut streams, mut contents, mut versions) = (Vec::new(), Vec::new(), Vec::new());
    for count in [0, 1, 300, 300, 2000] {
        let stream = fixture.stream().await;
        let mut content = Vec::new();
        for round in 0..3 {
            let new = points(count);
            stream.insert(&new).await.unwrap();
            if round == 0 {
                stream.flush().await.unwrap();
            }
            content.extend(new);
            // Every second stream is read at the version after the first round.
            if round == 0 && streams.len() % 2 == 1 {
                break;
            }
        }
        if streams.len() % 2 == 1 {
            stream.insert(&points(count)).await.unwrap();
        }
        content.sort_by_key(|point| point.0);
        versions.push(if streams.len() % 2 == 1 { 11 } else { 0 });
        contents.push(content);
        streams.push(stream);
    }
    let set = Set { fixture, streams };
    for (range, snap_period_ns) in [
        ((0, 1000), 0),
        ((-500, 2000), 0),
        ((0, 1000), 1),
        ((-77, 801), 7),
        ((3, 1501), 40),
        ((10, 20), 1000),
        ((-2000, 3000), 333),
    ] {
        let params = v5::ArrowMultiValuesParams {
            version_major: versions.clone(),
            snap_period_ns,
            ..set.params(range.0, range.1)
        };
        let found = rows(&set.read(params).await.unwrap());
        let expected = joined(&contents, range, snap_period_ns);
        assert_eq!(found, expected, "{range:?} every {snap_period_ns} ns");
    }
}
