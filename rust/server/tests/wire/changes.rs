//! Ranges that changed between two versions.

use pingthings_proto::v5api as v5;
use pingthings_server::{Config, Limits};
use pingthings_types::{MAX_TIME, MIN_TIME, PointWidth};
use uuid::Uuid;

use crate::fixture::{Fixture, Outcome, Stream, answers};

/// The changed ranges. Checks that they ascend, are disjoint and begin and end at multiples of the
/// resolution.
async fn changes(stream: &Stream, from: u64, to: u64, resolution: u32) -> Outcome<Vec<(i64, i64)>> {
    let params = v5::ChangesParams {
        uuid: stream.id(),
        from_major: from,
        to_major: to,
        resolution,
    };
    let answers = answers(stream.client.clone().changes(params).await).await?;
    let ranges: Vec<_> = answers
        .iter()
        .flat_map(|answer| &answer.ranges)
        .map(|range| (range.start, range.end))
        .collect();
    for &(start, end) in &ranges {
        assert!(
            MIN_TIME <= start && start < end && end <= MAX_TIME,
            "[{start}, {end})"
        );
        let width = PointWidth::new(resolution).unwrap();
        assert!(
            start == MIN_TIME || width.floor(start) == start,
            "[{start}, {end}) at {width}"
        );
        assert!(
            end == MAX_TIME || width.floor(end) == end,
            "[{start}, {end}) at {width}"
        );
    }
    for pair in ranges.windows(2) {
        assert!(pair[0].1 < pair[1].0, "{pair:?}");
    }
    Ok(ranges)
}

fn covers(ranges: &[(i64, i64)], time: i64) -> bool {
    ranges
        .iter()
        .any(|&(start, end)| (start..end).contains(&time))
}

#[tokio::test]
async fn changes_cover_inserts_between_two_versions() {
    let (_fixture, stream) = Fixture::with_stream().await;
    let (early, late, buffered) = (0, 1 << 58, -(1 << 58));
    stream.insert(&[(early, 1.0)]).await.unwrap();
    stream.flush().await.unwrap();
    stream.insert(&[(late, 2.0)]).await.unwrap();
    stream.flush().await.unwrap();
    stream.insert(&[(buffered, 3.0)]).await.unwrap();

    for resolution in [0, 20, 63] {
        for version in [10, 11, 12] {
            assert_eq!(
                changes(&stream, version, version, resolution).await,
                Ok(vec![])
            );
        }
        let first = changes(&stream, 10, 11, resolution).await.unwrap();
        assert!(covers(&first, early), "{first:?}");
        let second = changes(&stream, 11, 12, resolution).await.unwrap();
        assert!(covers(&second, late), "{second:?}");
        let both = changes(&stream, 0, 12, resolution).await.unwrap();
        assert!(covers(&both, early) && covers(&both, late), "{both:?}");
        let newest = changes(&stream, 12, 0, resolution).await.unwrap();
        assert!(covers(&newest, buffered), "{newest:?}");
        let all = changes(&stream, 10, 0, resolution).await.unwrap();
        for time in [early, late, buffered] {
            assert!(covers(&all, time), "{all:?}");
        }
    }
}

#[tokio::test]
async fn changes_cover_deletes() {
    let (_fixture, stream) = Fixture::with_stream().await;
    stream.insert(&[(1000, 1.0), (2000, 2.0)]).await.unwrap();
    let before = stream.flush().await.unwrap().major;
    let after = stream.delete(1000, 1001).await.unwrap().major;
    let found = changes(&stream, before, after, 0).await.unwrap();
    assert!(covers(&found, 1000), "{found:?}");
}

#[tokio::test]
async fn changes_are_split_into_messages_with_the_compared_version() {
    let fixture = Fixture::with(Config {
        limits: Limits {
            rows_per_message: 100,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let mut stream = fixture.stream().await;
    let points: Vec<_> = (0..250).map(|i| (i << 40, 1.0)).collect();
    stream.insert(&points).await.unwrap();
    let params = v5::ChangesParams {
        uuid: stream.id(),
        from_major: 10,
        to_major: 0,
        resolution: 20,
    };
    let found = answers(stream.client.changes(params.clone()).await)
        .await
        .unwrap();
    let sizes: Vec<_> = found.iter().map(|answer| answer.ranges.len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    for answer in &found {
        assert_eq!((answer.version_major, answer.version_minor), (10, 250));
    }
    stream.flush().await.unwrap();
    let nothing = v5::ChangesParams {
        from_major: 11,
        to_major: 11,
        ..params
    };
    let found = answers(stream.client.changes(nothing).await).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].version_major, found[0].version_minor), (11, 0));
}

#[tokio::test]
async fn changes_refuse_invalid_requests() {
    let (_fixture, stream) = Fixture::with_stream().await;
    stream.insert(&[(1, 1.0)]).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(changes(&stream, 11, 10, 0).await, Err(427));
    assert_eq!(changes(&stream, 10, 11, 64).await, Err(415));
    assert_eq!(changes(&stream, 10, 12, 0).await, Err(450));
    assert_eq!(changes(&stream, 12, 0, 0).await, Err(427));
    let unknown = Stream {
        uuid: Uuid::new_v4(),
        ..stream
    };
    assert_eq!(changes(&unknown, 10, 0, 0).await, Err(404));
}
