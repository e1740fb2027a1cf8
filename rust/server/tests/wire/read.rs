//! Points: raw ranges, versions, nearest.

use pingthings_proto::v5api as v5;
use pingthings_server::{Config, Limits};
use pingthings_types::{MAX_TIME, MIN_TIME, Version};
use uuid::Uuid;

use crate::fixture::{Fixture, Stream, answers, ramp};

/// A point every 10 ns on [10000, 20000).
fn grid() -> Vec<(i64, f64)> {
    ramp(10000, 10, 1000)
}

#[tokio::test]
async fn a_new_stream_answers_one_empty_message_at_version_10() {
    let (_fixture, stream) = Fixture::with_stream().await;
    let (version, points) = stream.raw_at(0, MIN_TIME, MAX_TIME - 1).await.unwrap();
    assert_eq!(
        version,
        Version {
            major: 10,
            minor: 0
        }
    );
    assert_eq!(points, []);
}

#[tokio::test]
async fn ranges_are_half_open() {
    let fixture = Fixture::open().await;
    for flush in [false, true] {
        let stream = fixture.stream().await;
        stream.insert(&grid()).await.unwrap();
        if flush {
            stream.flush().await.unwrap();
        }
        assert_eq!(stream.all().await, grid());
        assert_eq!(stream.raw(10000, 19990).await.unwrap().len(), 999);
        assert_eq!(stream.raw(12001, 12010).await.unwrap(), []);
        assert_eq!(stream.raw(12000, 12010).await.unwrap(), [(12000, 200.0)]);
        assert_eq!(stream.raw(12000, 12001).await.unwrap(), [(12000, 200.0)]);
    }
}

#[tokio::test]
async fn long_answers_are_split_into_messages() {
    let rows = 64;
    let fixture = Fixture::with(Config {
        limits: Limits {
            rows_per_message: rows,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let mut stream = fixture.stream().await;
    stream.insert(&grid()).await.unwrap();
    assert_eq!(stream.all().await, grid());
    // Answers of 64, 65 and 128 points: no empty message follows a full one.
    for (end, least) in [(10640, 1), (10641, 2), (11280, 2)] {
        let params = v5::RawValuesParams {
            uuid: stream.id(),
            start: 10000,
            end,
            version_major: 0,
        };
        let answers = answers(stream.client.raw_values(params).await)
            .await
            .unwrap();
        assert!(answers.len() >= least);
        assert!(
            answers.iter().all(|a| (1..=rows).contains(&a.values.len())),
            "{end}"
        );
    }
}

#[tokio::test]
async fn equal_times_keep_the_order_of_their_arrival() {
    let (_fixture, stream) = Fixture::with_stream().await;
    stream
        .insert(&[(7, 1.0), (5, 2.0), (7, 3.0)])
        .await
        .unwrap();
    stream.flush().await.unwrap();
    stream
        .insert(&[(7, 4.0), (6, 5.0), (7, 6.0)])
        .await
        .unwrap();
    let expected = [(5, 2.0), (6, 5.0), (7, 1.0), (7, 3.0), (7, 4.0), (7, 6.0)];
    assert_eq!(stream.all().await, expected);
    stream.flush().await.unwrap();
    assert_eq!(stream.all().await, expected);
}

#[tokio::test]
async fn empty_and_out_of_bounds_ranges_are_refused() {
    let (_fixture, stream) = Fixture::with_stream().await;
    for (start, end) in [
        (5, 5),
        (6, 5),
        (MIN_TIME - 1, 0),
        (0, MAX_TIME),
        (i64::MIN, i64::MAX),
    ] {
        assert_eq!(stream.raw(start, end).await, Err(413), "[{start}, {end})");
    }
    assert_eq!(stream.raw(MIN_TIME, MAX_TIME - 1).await, Ok(vec![]));
}

#[tokio::test]
async fn unknown_streams_and_versions_are_refused() {
    let fixture = Fixture::open().await;
    let stream = fixture.stream().await;
    stream.insert(&[(1, 1.0)]).await.unwrap();
    stream.flush().await.unwrap();

    assert_eq!(stream.raw_at(12, 0, 9).await, Err(450));
    assert_eq!(stream.aligned_at(12, 0, 9, 0).await, Err(450));
    assert_eq!(stream.windows_at(12, 0, 9, 1, 0).await, Err(450));

    let unknown = Stream {
        uuid: Uuid::new_v4(),
        ..stream
    };
    assert_eq!(unknown.raw(0, 9).await, Err(404));
    assert_eq!(unknown.aligned(0, 9, 0).await, Err(404));
    assert_eq!(unknown.windows(0, 9, 1).await, Err(404));
    assert_eq!(unknown.nearest(0, false).await, Err(404));
    assert_eq!(unknown.insert(&[(1, 1.0)]).await, Err(404));
    assert_eq!(unknown.insert(&[]).await, Err(404));
    assert_eq!(unknown.flush().await, Err(404));
    assert_eq!(unknown.info().await.unwrap_err(), 404);
}

#[tokio::test]
async fn a_version_has_only_committed_points() {
    let (_fixture, stream) = Fixture::with_stream().await;
    let at = |major, minor| Version { major, minor };

    assert_eq!(stream.insert(&[(1, 1.0), (2, 2.0)]).await, Ok(at(10, 2)));
    assert_eq!(stream.insert(&[(3, 3.0)]).await, Ok(at(10, 3)));
    assert_eq!(stream.raw_at(10, 0, 9).await, Ok((at(10, 0), vec![])));
    assert_eq!(stream.raw_at(0, 0, 9).await.unwrap().0, at(10, 3));

    assert_eq!(stream.flush().await, Ok(at(11, 0)));
    assert_eq!(stream.flush().await, Ok(at(11, 0)));
    assert_eq!(stream.insert(&[(4, 4.0)]).await, Ok(at(11, 1)));
    let first = vec![(1, 1.0), (2, 2.0), (3, 3.0)];
    assert_eq!(
        stream.raw_at(11, 0, 9).await,
        Ok((at(11, 0), first.clone()))
    );
    assert_eq!(stream.raw(0, 9).await.unwrap().len(), 4);

    assert_eq!(stream.flush().await, Ok(at(12, 0)));
    assert_eq!(stream.raw_at(11, 0, 9).await, Ok((at(11, 0), first)));
    assert_eq!(stream.raw_at(12, 0, 9).await.unwrap().1.len(), 4);
    assert_eq!(stream.raw_at(10, 0, 9).await, Ok((at(10, 0), vec![])));

    let windows = stream.windows_at(11, 0, 10, 10, 0).await.unwrap();
    assert_eq!(windows[0].count, 3);
    let aligned = stream.aligned_at(11, 0, 16, 4).await.unwrap();
    assert_eq!(aligned[0].count, 3);
}

#[tokio::test]
async fn the_versions_before_the_first_insert_are_empty() {
    let (_fixture, stream) = Fixture::with_stream().await;
    stream.insert(&[(1, 1.0)]).await.unwrap();
    stream.flush().await.unwrap();
    for major in 1..=10 {
        let version = Version { major, minor: 0 };
        assert_eq!(stream.raw_at(major, 0, 9).await, Ok((version, vec![])));
        assert_eq!(stream.aligned_at(major, 0, 9, 0).await, Ok(vec![]));
        assert_eq!(stream.nearest_at(major, 0, false).await, Err(401));
    }
}

#[tokio::test]
async fn nearest_returns_the_version_it_read() {
    let (_fixture, stream) = Fixture::with_stream().await;
    let at = |major, minor| Version { major, minor };
    stream.insert(&[(10, 1.0)]).await.unwrap();
    stream.flush().await.unwrap();
    stream.insert(&[(5, 2.0), (20, 3.0)]).await.unwrap();
    let newest = at(11, 2);
    assert_eq!(stream.nearest_at(0, 0, false).await, Ok((newest, (5, 2.0))));
    assert_eq!(
        stream.nearest_at(0, 99, true).await,
        Ok((newest, (20, 3.0)))
    );
    // A numbered version does not include the buffer.
    for backward in [false, true] {
        let time = if backward { 99 } else { 0 };
        assert_eq!(
            stream.nearest_at(11, time, backward).await,
            Ok((at(11, 0), (10, 1.0)))
        );
        assert_eq!(stream.nearest_at(12, time, backward).await, Err(450));
    }
}

#[tokio::test]
async fn nearest_is_inclusive_forward_and_exclusive_backward() {
    let fixture = Fixture::open().await;
    for flush in [false, true] {
        let stream = fixture.stream().await;
        assert_eq!(stream.nearest(0, false).await, Err(401));
        assert_eq!(stream.nearest(0, true).await, Err(401));
        stream
            .insert(&[(10, 1.0), (20, 2.0), (20, 3.0)])
            .await
            .unwrap();
        if flush {
            stream.flush().await.unwrap();
        }
        assert_eq!(stream.nearest(10, false).await, Ok((10, 1.0)));
        assert_eq!(stream.nearest(11, false).await, Ok((20, 2.0)));
        assert_eq!(stream.nearest(20, false).await, Ok((20, 2.0)));
        assert_eq!(stream.nearest(21, false).await, Err(401));
        assert_eq!(stream.nearest(10, true).await, Err(401));
        assert_eq!(stream.nearest(11, true).await, Ok((10, 1.0)));
        assert_eq!(stream.nearest(20, true).await, Ok((10, 1.0)));
        assert_eq!(stream.nearest(21, true).await, Ok((20, 3.0)));
        assert_eq!(stream.nearest(MIN_TIME, false).await, Ok((10, 1.0)));
        assert_eq!(stream.nearest(MAX_TIME - 1, true).await, Ok((20, 3.0)));
        assert_eq!(stream.nearest(MIN_TIME - 1, false).await, Err(413));
        assert_eq!(stream.nearest(MAX_TIME, true).await, Err(413));
    }
}
