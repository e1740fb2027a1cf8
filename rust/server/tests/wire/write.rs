//! Inserting: policies, limits and refusals. All points of a call are stored, or none.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use pingthings_proto::v5api::{self as v5, MergePolicy, round_spec::Spec};
use pingthings_server::{Config, Limits};
use pingthings_types::{MAX_TIME, MIN_TIME, Version};

use uuid::Uuid;

use crate::fixture::{Fixture, Stream, answer, arrow_points, ipc, ramp};

#[tokio::test]
async fn a_policy_decides_between_points_of_the_same_time() {
    let fixture = Fixture::open().await;
    let call = [(100, 1.0), (105, 2.0), (110, 3.0), (110, 4.0), (120, 5.0)];
    for (policy, at_110) in [
        (MergePolicy::Never, vec![(110, 3.0), (110, 4.0)]),
        (MergePolicy::Equal, vec![(110, 3.0), (110, 4.0)]),
        (MergePolicy::Retain, vec![(110, 3.0)]),
        (MergePolicy::Replace, vec![(110, 4.0)]),
    ] {
        for arrow in [false, true] {
            let stream = fixture.stream().await;
            if arrow {
                stream
                    .arrow_insert(policy, arrow_points(&call))
                    .await
                    .unwrap();
            } else {
                stream.insert_as(policy, &call).await.unwrap();
            }
            assert_eq!(stream.raw(110, 111).await.unwrap(), at_110, "{policy:?}");
            assert_eq!(stream.all().await.len(), 3 + at_110.len(), "{policy:?}");
        }
    }
}

#[tokio::test]
async fn a_policy_holds_against_stored_and_buffered_points() {
    let fixture = Fixture::open().await;
    for (policy, expected) in [
        (
            MergePolicy::Never,
            vec![(1, 1.0), (1, 1.0), (2, 2.0), (2, 9.0)],
        ),
        (MergePolicy::Equal, vec![(1, 1.0), (2, 2.0), (2, 9.0)]),
        (MergePolicy::Retain, vec![(1, 1.0), (2, 2.0)]),
        (MergePolicy::Replace, vec![(1, 1.0), (2, 9.0)]),
    ] {
        for flush in [false, true] {
            let stream = fixture.stream().await;
            stream.insert(&[(1, 1.0), (2, 2.0)]).await.unwrap();
            if flush {
                stream.flush().await.unwrap();
            }
            stream
                .insert_as(policy, &[(1, 1.0), (2, 9.0)])
                .await
                .unwrap();
            assert_eq!(stream.all().await, expected, "{policy:?}, flushed: {flush}");
        }
    }
}

#[tokio::test]
async fn an_empty_insert_returns_the_version() {
    let (_fixture, stream) = Fixture::with_stream().await;
    let at = |major, minor| Version { major, minor };
    assert_eq!(stream.insert(&[]).await, Ok(at(10, 0)));
    stream.insert(&[(1, 1.0)]).await.unwrap();
    assert_eq!(stream.insert(&[]).await, Ok(at(10, 1)));
    let nothing = arrow_points(&[]);
    assert_eq!(
        stream.arrow_insert(MergePolicy::Never, nothing).await,
        Ok(at(10, 1))
    );
}

#[tokio::test]
async fn times_have_the_same_limits_as_queries() {
    let (_fixture, stream) = Fixture::with_stream().await;
    for time in [MIN_TIME - 1, MAX_TIME - 1, MAX_TIME, i64::MIN, i64::MAX] {
        let refused = stream.insert(&[(5, 5.0), (time, 1.0)]).await;
        assert_eq!(refused, Err(413), "{time}");
        let refused = stream
            .arrow_insert(MergePolicy::Never, arrow_points(&[(5, 5.0), (time, 1.0)]))
            .await;
        assert_eq!(refused, Err(413), "{time}");
    }
    assert_eq!(stream.all().await, []);
    let ends = [(MIN_TIME, 1.0), (MAX_TIME - 2, 2.0)];
    stream.insert(&ends).await.unwrap();
    assert_eq!(stream.all().await, ends);
}

#[tokio::test]
async fn values_are_finite() {
    let (_fixture, stream) = Fixture::with_stream().await;
    let nans = [
        0x7ff8_0000_0000_0000,
        0x7ff0_0000_0000_0001,
        0xfff8_0000_0000_0001,
        u64::MAX,
    ];
    let infinities = [f64::INFINITY, f64::NEG_INFINITY];
    for value in nans.into_iter().map(f64::from_bits).chain(infinities) {
        assert_eq!(stream.insert(&[(1, 1.0), (2, value)]).await, Err(425));
        let refused = stream
            .arrow_insert(MergePolicy::Never, arrow_points(&[(1, 1.0), (2, value)]))
            .await;
        assert_eq!(refused, Err(425));
    }
    assert_eq!(stream.all().await, []);
}

#[tokio::test]
async fn special_values_survive_bit_by_bit() {
    let fixture = Fixture::open().await;
    let values = [
        -0.0,
        0.0,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        -f64::from_bits(1),
        f64::MAX,
        f64::MIN,
        f64::EPSILON,
    ];
    let points: Vec<_> = (0..).zip(values).collect();
    for arrow in [false, true] {
        let stream = fixture.stream().await;
        if arrow {
            stream
                .arrow_insert(MergePolicy::Never, arrow_points(&points))
                .await
                .unwrap();
        } else {
            stream.insert(&points).await.unwrap();
        }
        for _ in 0..2 {
            let found = stream.all().await;
            let bits = found.iter().map(|(_, value)| value.to_bits());
            assert!(
                bits.eq(values.iter().map(|value| value.to_bits())),
                "{found:?}"
            );
            stream.flush().await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_insert_has_a_limit() {
    let fixture = Fixture::with(Config {
        limits: Limits {
            points_per_insert: 100,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let stream = fixture.stream().await;
    let points: Vec<_> = (0..101).map(|i| (i, 1.0)).collect();
    assert_eq!(stream.insert(&points).await, Err(414));
    let refused = stream
        .arrow_insert(MergePolicy::Never, arrow_points(&points))
        .await;
    assert_eq!(refused, Err(414));
    assert_eq!(stream.all().await, []);
    stream.insert(&points[..100]).await.unwrap();
    stream
        .arrow_insert(MergePolicy::Never, arrow_points(&points[..100]))
        .await
        .unwrap();
    assert_eq!(stream.all().await.len(), 200);
}

#[tokio::test]
async fn large_inserts_are_accepted_and_committed() {
    let (_fixture, stream) = Fixture::with_stream().await;
    // More than 4 MB, the default limit of gRPC servers.
    let points = ramp(0, 1, 300_000);
    let version = stream.insert(&points).await.unwrap();
    assert!(version.major > 10, "{version:?}");
    let later: Vec<_> = points
        .iter()
        .map(|&(time, value)| (time + 300_000, value))
        .collect();
    stream
        .arrow_insert(MergePolicy::Never, arrow_points(&later))
        .await
        .unwrap();
    assert_eq!(stream.all().await.len(), 600_000);
}

#[tokio::test]
async fn rounding_and_unknown_policies_are_refused() {
    let mut fixture = Fixture::open().await;
    let stream = fixture.stream().await;
    let arrow_bytes = arrow_points(&[(1, 1.0)]);
    for (rounding, policy, code) in [
        (
            Some(v5::RoundSpec {
                spec: Some(Spec::Bits(0)),
            }),
            0,
            Err(501),
        ),
        (
            Some(v5::RoundSpec {
                spec: Some(Spec::Bits(-3)),
            }),
            0,
            Err(501),
        ),
        (None, 4, Err(438)),
        (None, -1, Err(438)),
        // The field is present but empty.
        (Some(v5::RoundSpec { spec: None }), 0, Ok(())),
    ] {
        let params = v5::InsertParams {
            uuid: stream.id(),
            sync: true,
            values: vec![v5::RawPoint {
                time: 1,
                value: 1.0,
            }],
            merge_policy: policy,
            rounding,
        };
        let found = answer(fixture.client.insert(params).await).map(|_| ());
        assert_eq!(found, code, "{rounding:?} {policy}");
        let params = v5::ArrowInsertParams {
            uuid: stream.id(),
            sync: true,
            merge_policy: policy,
            rounding,
            arrow_bytes: arrow_bytes.clone(),
        };
        let found = answer(fixture.client.arrow_insert(params).await).map(|_| ());
        assert_eq!(found, code, "{rounding:?} {policy}");
    }
    assert_eq!(stream.all().await.len(), 2);
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[tokio::test]
async fn arrow_columns_are_read_by_position_and_cast() {
    let fixture = Fixture::open().await;
    let times: [ArrayRef; 4] = [
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(TimestampNanosecondArray::from(vec![1, 2])),
        Arc::new(TimestampNanosecondArray::from(vec![1, 2]).with_timezone("UTC")),
        Arc::new(TimestampNanosecondArray::from(vec![1, 2]).with_timezone("Europe/Oslo")),
    ];
    let values: [ArrayRef; 2] = [
        Arc::new(Float64Array::from(vec![0.5, -2.25])),
        Arc::new(Float32Array::from(vec![0.5, -2.25])),
    ];
    for time in &times {
        for value in &values {
            let stream = fixture.stream().await;
            let columns = batch(vec![
                ("when", Arc::clone(time)),
                ("what", Arc::clone(value)),
            ]);
            stream
                .arrow_insert(MergePolicy::Never, ipc(&columns))
                .await
                .unwrap();
            assert_eq!(stream.all().await, [(1, 0.5), (2, -2.25)]);
        }
    }
}

#[tokio::test]
async fn arrow_columns_of_other_shapes_are_refused() {
    let (_fixture, stream) = Fixture::with_stream().await;
    let times: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let values: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0]));
    let micros: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1, 2]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["1", "2"]));
    let null_values: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None]));
    let null_times: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1)]));
    let named = |columns: &[&ArrayRef]| {
        batch(
            columns
                .iter()
                .map(|&column| ("x", Arc::clone(column)))
                .collect(),
        )
    };
    for (columns, code) in [
        (named(&[&times]), 438),
        (named(&[&times, &values, &values]), 438),
        (named(&[&values, &times]), 438),
        (named(&[&times, &times]), 438),
        (named(&[&micros, &values]), 438),
        (named(&[&times, &texts]), 438),
        (named(&[&times, &null_values]), 425),
        (named(&[&null_times, &values]), 425),
    ] {
        let schema = columns.schema();
        let refused = stream.arrow_insert(MergePolicy::Never, ipc(&columns)).await;
        assert_eq!(refused, Err(code), "{schema:?}");
    }
    assert_eq!(stream.all().await, []);
}

#[tokio::test]
async fn incomplete_and_invalid_arrow_streams_are_refused() {
    let (_fixture, stream) = Fixture::with_stream().await;
    let whole = arrow_points(&[(1, 1.0), (2, 2.0)]);
    for length in 0..whole.len() {
        let refused = stream
            .arrow_insert(MergePolicy::Never, whole.slice(..length))
            .await;
        assert_eq!(refused, Err(438), "{length} of {} bytes", whole.len());
    }
    for junk in [&b"ARROW1\0\0"[..], &[0xff; 64], &[0; 64], b"{\"time\": 1}"] {
        let refused = stream
            .arrow_insert(MergePolicy::Never, Bytes::from_static(junk))
            .await;
        // Zeros are an end marker, so this is a stream without a schema.
        assert_eq!(refused, Err(438), "{junk:?}");
    }
    let schema_only = RecordBatch::new_empty(Arc::new(Schema::new(vec![
        Field::new("time", DataType::Int64, false),
        Field::new("value", DataType::Float64, false),
    ])));
    stream
        .arrow_insert(MergePolicy::Never, ipc(&schema_only))
        .await
        .unwrap();
    assert_eq!(stream.all().await, []);
}

#[tokio::test]
async fn a_thousand_points_may_share_a_time() {
    let (_fixture, stream) = Fixture::with_stream().await;
    let points: Vec<_> = (0..1000).map(|i| (5, f64::from(i))).collect();
    stream.insert(&points).await.unwrap();
    assert_eq!(stream.all().await, points);
    stream.flush().await.unwrap();
    assert_eq!(stream.all().await, points);
}

#[tokio::test]
async fn a_delete_makes_a_version() {
    let (_fixture, stream) = Fixture::with_stream().await;
    stream.insert(&ramp(0, 1, 10)).await.unwrap();
    let full = stream.flush().await.unwrap();
    let at = |major| Version { major, minor: 0 };

    assert_eq!(stream.delete(3, 7).await, Ok(at(full.major + 1)));
    let kept: Vec<_> = stream
        .all()
        .await
        .into_iter()
        .map(|(time, _)| time)
        .collect();
    assert_eq!(kept, [0, 1, 2, 7, 8, 9]);
    let (_, before) = stream.raw_at(full.major, 0, 100).await.unwrap();
    assert_eq!(before, ramp(0, 1, 10));
    // A delete without points makes a version too.
    assert_eq!(stream.delete(3, 7).await, Ok(at(full.major + 2)));
    let windows = stream.windows(0, 10, 10).await.unwrap();
    assert_eq!(windows[0].count, 6);
}

#[tokio::test]
async fn a_delete_reaches_buffered_points() {
    let (_fixture, stream) = Fixture::with_stream().await;
    stream.insert(&ramp(0, 1, 10)).await.unwrap();
    let version = stream.delete(0, 5).await.unwrap();
    assert_eq!(version.minor, 0);
    assert_eq!(stream.all().await, ramp(0, 1, 10)[5..]);
}

#[tokio::test]
async fn everything_may_be_deleted_and_inserted_again() {
    let (_fixture, stream) = Fixture::with_stream().await;
    stream.insert(&ramp(0, 1, 2000)).await.unwrap();
    for _ in 0..2 {
        stream.delete(MIN_TIME, MAX_TIME - 1).await.unwrap();
        assert_eq!(stream.all().await, []);
        assert_eq!(stream.nearest(0, false).await, Err(401));
        assert_eq!(stream.aligned(0, 1 << 20, 10).await, Ok(vec![]));
    }
    stream.insert(&ramp(0, 1, 5)).await.unwrap();
    assert_eq!(stream.all().await, ramp(0, 1, 5));
    stream.flush().await.unwrap();
    assert_eq!(stream.all().await, ramp(0, 1, 5));
}

#[tokio::test]
async fn a_delete_refuses_what_a_read_refuses() {
    let (_fixture, stream) = Fixture::with_stream().await;
    for (start, end) in [(5, 5), (6, 5), (MIN_TIME - 1, 0), (0, MAX_TIME)] {
        assert_eq!(
            stream.delete(start, end).await,
            Err(413),
            "[{start}, {end})"
        );
    }
    let unknown = Stream {
        uuid: Uuid::new_v4(),
        ..stream
    };
    assert_eq!(unknown.delete(0, 1).await, Err(404));
}
