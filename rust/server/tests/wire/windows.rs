//! Statistics of windows, by the vectors of the protocol and against brute force.

use pingthings_proto::v5api as v5;
use pingthings_server::{Config, Limits};
use pingthings_types::{MAX_TIME, MIN_TIME, Stat};

use crate::fixture::{Fixture, Stream, Window, answers, numbers, ramp};

/// A point every 10 ns on [from, from + 10000).
fn grid(from: i64) -> Vec<(i64, f64)> {
    ramp(from, 10, 1000)
}

async fn filled(points: &[(i64, f64)], flush: bool) -> (Fixture, Stream) {
    let (fixture, stream) = Fixture::with_stream().await;
    stream.insert(points).await.unwrap();
    if flush {
        stream.flush().await.unwrap();
    }
    (fixture, stream)
}

fn starts(windows: &[Window]) -> Vec<i64> {
    windows.iter().map(|window| window.time).collect()
}

/// Fails unless each window has the statistics of the points in it.
fn check(points: &[(i64, f64)], windows: &[Window], width: u64) {
    for window in windows {
        let end = window.time.checked_add_unsigned(width).unwrap();
        let values: Vec<f64> = points
            .iter()
            .filter(|(time, _)| (window.time..end).contains(time))
            .map(|&(_, value)| value)
            .collect();
        let stat = Stat::of_slice(&values);
        assert_eq!(window.count, stat.count, "{window:?}");
        assert_eq!((window.min, window.max), (stat.min, stat.max), "{window:?}");
        assert!(
            (window.mean - stat.mean).abs() <= 1e-9,
            "{window:?} {stat:?}"
        );
        assert!(
            (window.stddev - stat.stddev()).abs() <= 1e-9,
            "{window:?} {stat:?}"
        );
    }
}

/// The ten points for which answers of the platform were recorded.
fn recorded() -> Vec<(i64, f64)> {
    let ramp = ramp(1_500_000_000_000_000_000, 100_000_000, 10);
    ramp.into_iter()
        .map(|(time, value)| (time, value + 1.0))
        .collect()
}

#[tokio::test]
async fn aligned_windows_equal_recorded_ones() {
    for flush in [false, true] {
        let (_fixture, stream) = filled(&recorded(), flush).await;
        let start = 1_500_000_000_000_000_000;
        let windows = stream
            .aligned(start, start + 1_000_000_000, 28)
            .await
            .unwrap();
        let expected = [
            (1_499_999_999_814_008_832, 1, 1.0, 0.0),
            (1_500_000_000_082_444_288, 3, 3.0, 0.816_496_580_927_726),
            (1_500_000_000_350_879_744, 3, 6.0, 0.816_496_580_927_726),
            (1_500_000_000_619_315_200, 2, 8.5, 0.5),
        ];
        assert_eq!(windows.len(), expected.len());
        for (window, (time, count, mean, stddev)) in windows.iter().zip(expected) {
            assert_eq!((window.time, window.count), (time, count));
            assert!((window.mean - mean).abs() < 1e-12, "{window:?}");
            assert!((window.stddev - stddev).abs() < 1e-12, "{window:?}");
        }
    }
}

#[tokio::test]
async fn windows_equal_recorded_ones() {
    for flush in [false, true] {
        let (_fixture, stream) = filled(&recorded(), flush).await;
        let start = 1_500_000_000_000_000_000;
        let windows = stream
            .windows(start, start + 1_000_000_000, 300_000_000)
            .await
            .unwrap();
        let found: Vec<_> = windows.iter().map(|w| (w.time - start, w.count)).collect();
        assert_eq!(found, [(0, 3), (300_000_000, 3), (600_000_000, 3)]);
        for (window, mean) in windows.iter().zip([2.0, 5.0, 8.0]) {
            assert!((window.mean - mean).abs() < 1e-12, "{window:?}");
            assert!(
                (window.stddev - 0.816_496_580_927_726).abs() < 1e-12,
                "{window:?}"
            );
        }
    }
}

#[tokio::test]
async fn aligned_windows_round_both_ends_down() {
    let seven: Vec<i64> = (0..7).map(|k| 11136 + 64 * k).collect();
    for flush in [false, true] {
        let points = grid(10000);
        let (_fixture, stream) = filled(&points, flush).await;
        for (start, end, expected) in [
            (11136, 11647, &seven[..]),
            (11199, 11584, &seven[..]),
            (11199, 11200, &[11136]),
        ] {
            let windows = stream.aligned(start, end, 6).await.unwrap();
            assert_eq!(starts(&windows), expected, "[{start}, {end})");
            check(&points, &windows, 64);
        }
    }
}

#[tokio::test]
async fn windows_begin_at_the_start_and_omit_the_rest() {
    for flush in [false, true] {
        let points = grid(10000);
        let (_fixture, stream) = filled(&points, flush).await;
        let seven: Vec<i64> = (0..7).map(|k| 11136 + 64 * k).collect();
        for (start, end, expected) in [
            (11136, 11647, &seven[..]),
            (11136, 11584, &seven[..]),
            (11137, 11201, &[11137]),
        ] {
            let windows = stream.windows(start, end, 64).await.unwrap();
            assert_eq!(starts(&windows), expected, "[{start}, {end})");
            check(&points, &windows, 64);
        }

        let points = grid(-20000);
        let (_fixture, stream) = filled(&points, flush).await;
        let windows = stream.windows(-18864, -18353, 64).await.unwrap();
        let expected: Vec<i64> = (0..7).map(|k| -18864 + 64 * k).collect();
        assert_eq!(starts(&windows), expected);
        check(&points, &windows, 64);
    }
}

#[tokio::test]
async fn empty_windows_are_zeros() {
    for flush in [false, true] {
        let thousands: Vec<_> = (0..8).map(|i| (i * 1000, 3.0)).collect();
        let (_fixture, stream) = filled(&thousands, flush).await;
        let windows = stream.windows(0, 10000, 2000).await.unwrap();
        assert_eq!(windows.len(), 4);

        let (_fixture, stream) = filled(&[(1, 5.0), (2, 6.0), (3, 7.0)], flush).await;
        let windows = stream.windows(0, 10, 1).await.unwrap();
        assert_eq!(starts(&windows), (0..9).collect::<Vec<_>>());
        for window in &windows {
            if (1..=3).contains(&window.time) {
                assert_eq!(window.count, 1);
            } else {
                let zeros = Window {
                    time: window.time,
                    min: 0.0,
                    mean: 0.0,
                    max: 0.0,
                    count: 0,
                    stddev: 0.0,
                };
                assert_eq!(*window, zeros);
            }
        }
    }
}

/// A program that computes windows of windows reads a numbered version and expects every window.
#[tokio::test]
async fn an_empty_last_window_is_omitted_only_from_the_latest_data_without_later_points() {
    for flush in [false, true] {
        let (_fixture, stream) = filled(&[(5, 1.0), (29, 2.0)], flush).await;
        let counts = async |version, start, end| -> Vec<u64> {
            let windows = stream.windows_at(version, start, end, 10, 0).await.unwrap();
            windows.iter().map(|window| window.count).collect()
        };
        // The window is empty, but there is a later point: at its end, or beyond the requested end.
        assert_eq!(counts(0, 0, 20).await, [1, 0]);
        assert_eq!(counts(0, 9, 29).await, [0, 0]);
        assert_eq!(counts(0, 9, 35).await, [0, 0]);
        assert_eq!(counts(0, 10, 20).await, [0]);
        // The window has a point.
        assert_eq!(counts(0, 0, 30).await, [1, 0, 1]);
        // The window is empty, and there is no later point.
        assert_eq!(counts(0, 0, 40).await, [1, 0, 1]);
        assert_eq!(counts(0, 0, 49).await, [1, 0, 1]);
        assert_eq!(counts(0, 10, 40).await, [0, 1]);
        assert_eq!(counts(0, 30, 40).await, [0; 0]);
        assert_eq!(counts(0, 30, 50).await, [0]);

        let version = stream.flush().await.unwrap().major;
        assert_eq!(counts(version, 0, 40).await, [1, 0, 1, 0]);
        assert_eq!(counts(version, 30, 40).await, [0]);
        assert_eq!(counts(version, 30, 50).await, [0, 0]);
        // The version before any point.
        assert_eq!(counts(10, 0, 40).await, [0, 0, 0, 0]);
        // Deleted points are not later points.
        stream.delete(20, 30).await.unwrap();
        assert_eq!(counts(0, 0, 20).await, [1]);
        assert_eq!(counts(version, 0, 20).await, [1, 0]);
    }
}

#[tokio::test]
async fn a_stream_without_points_has_no_aligned_windows() {
    let (_fixture, stream) = Fixture::with_stream().await;
    assert_eq!(stream.aligned(MIN_TIME, MAX_TIME - 1, 60).await, Ok(vec![]));
    let windows = stream.windows(0, 10, 2).await.unwrap();
    assert_eq!(starts(&windows), [0, 2, 4, 6]);
    assert_eq!(stream.windows(0, 10, 10).await, Ok(vec![]));
}

#[tokio::test]
async fn windows_equal_brute_force_at_any_width() {
    let mut random = numbers(7);
    // 10000 points over about 2^53 ns, with a hole in the middle.
    let mut points: Vec<(i64, f64)> = (0..10000)
        .map(|_| {
            let time = i64::from(random()) << 22;
            (time, f64::from(random() % 1000) / 7.0)
        })
        .filter(|&(time, _)| !(1 << 51..1 << 52).contains(&time))
        .collect();
    points.sort_by_key(|&(time, _)| time);
    for flush in [false, true] {
        let (_fixture, stream) = filled(&points, flush).await;
        for point_width in 47..=52 {
            let windows = stream.aligned(0, 1 << 53, point_width).await.unwrap();
            check(&points, &windows, 1 << point_width);
            assert!(windows.iter().all(|window| window.count > 0));
            let found: u64 = windows.iter().map(|window| window.count).sum();
            assert_eq!(found, points.len() as u64);
        }
        for width in [
            3u64 << 49,
            999_999_999_999_989,
            (1 << 50) + 1,
            1 << 51,
            77_777_777_777_777,
        ] {
            let windows = stream.windows(12345, 1 << 53, width).await.unwrap();
            check(&points, &windows, width);
        }
    }
}

#[tokio::test]
async fn many_windows_are_split_into_messages() {
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
    let points = grid(10000);
    stream.insert(&points).await.unwrap();
    let windows = stream.windows(10000, 20000, 10).await.unwrap();
    assert_eq!(windows.len(), 1000);
    check(&points, &windows, 10);
    let windows = stream.aligned(10000, 20000, 3).await.unwrap();
    assert_eq!(windows.len(), 1000);
    check(&points, &windows, 8);

    // An omitted window needs no message.
    for (end, expected) in [(10640, vec![64]), (10650, vec![64, 1])] {
        let params = v5::WindowsParams {
            uuid: stream.id(),
            start: 10000,
            end,
            version_major: 0,
            width: 10,
            depth: 0,
        };
        let found = answers(stream.client.windows(params).await).await.unwrap();
        let found: Vec<_> = found.iter().map(|answer| answer.values.len()).collect();
        assert_eq!(found, expected, "{end}");
    }
    let params = v5::WindowsParams {
        uuid: stream.id(),
        start: 19360,
        end: 20010,
        version_major: 0,
        width: 10,
        depth: 0,
    };
    let found = answers(stream.client.windows(params).await).await.unwrap();
    let found: Vec<_> = found.iter().map(|answer| answer.values.len()).collect();
    assert_eq!(found, [64]);
}

#[tokio::test]
async fn aligned_windows_reach_both_ends_of_time() {
    for flush in [false, true] {
        let points = [(MIN_TIME, 1.0), (-1, 2.0), (0, 3.0), (MAX_TIME - 2, 4.0)];
        let (_fixture, stream) = filled(&points, flush).await;
        let found = async |start, end, width| -> Vec<(i64, u64)> {
            let windows = stream.aligned(start, end, width).await.unwrap();
            windows.iter().map(|w| (w.time, w.count)).collect()
        };
        for end in [MAX_TIME - 1, MAX_TIME] {
            assert_eq!(found(MIN_TIME, end, 63).await, [(MIN_TIME, 2), (0, 2)]);
            assert_eq!(found(MIN_TIME, end, 62).await, [(MIN_TIME, 2), (0, 2)]);
            let last = 1 << 61;
            let expected = [(MIN_TIME, 2), (0, 1), (last, 1)];
            assert_eq!(found(MIN_TIME, end, 61).await, expected);
            assert_eq!(found(MIN_TIME, end, 60).await, expected);
        }
        // The windows of a single nanosecond.
        assert_eq!(found(-1, 1, 0).await, [(-1, 1), (0, 1)]);
        assert_eq!(stream.aligned(-1, 0, 0).await.unwrap().len(), 1);
    }
}

/// The windows with points by the definition of the protocol, in 128 bits: `None` if the range is
/// refused.
fn counted(points: &[(i64, f64)], start: i64, end: i64, width: u32) -> Option<Vec<(i64, u64)>> {
    let (first, last) = (i128::from(MIN_TIME), i128::from(MAX_TIME));
    let floor = |time: i128| time.div_euclid(1 << width) << width;
    let (start, end) = (i128::from(start), i128::from(end));
    if start >= end || start < first || end > last {
        return None;
    }
    let end = if end >= last - 1 { last } else { floor(end) };
    if floor(start).max(first) >= end {
        return None;
    }
    let mut windows = std::collections::BTreeMap::new();
    for &(time, _) in points {
        let window = floor(time.into());
        if floor(start) <= window && i128::from(time) < end {
            *windows.entry(window.max(first)).or_insert(0) += 1;
        }
    }
    let narrow = |(time, count)| (i64::try_from(time).unwrap(), count);
    Some(windows.into_iter().map(narrow).collect())
}

#[tokio::test]
async fn aligned_windows_of_every_width_count_their_points_up_to_both_ends_of_time() {
    let marks = [MIN_TIME, -1, 0, 1 << 40, 1 << 60, 1 << 61, MAX_TIME];
    let mut random = numbers(11);
    let points: Vec<_> = (0..200)
        .map(|at| {
            let time = marks[at % marks.len()] + i64::from(random() % 7) - 3;
            (time.clamp(MIN_TIME, MAX_TIME - 2), 1.0)
        })
        .collect();
    for flush in [false, true] {
        let (_fixture, stream) = filled(&points, flush).await;
        for width in 0..=63 {
            let mut ends = vec![
                (MIN_TIME, MAX_TIME),
                (MIN_TIME, MAX_TIME - 1),
                (MIN_TIME, MAX_TIME - 2),
                (MAX_TIME - 2, MAX_TIME),
                (MAX_TIME, MAX_TIME + 1),
            ];
            ends.extend((0..8).map(|_| {
                let mut bound = || {
                    let mark = marks[random() as usize % marks.len()];
                    mark + i64::from(random() % 9) - 4
                };
                (bound(), bound())
            }));
            for (start, end) in ends {
                let found = stream.aligned(start, end, width).await.ok();
                let found: Option<Vec<_>> =
                    found.map(|found| found.iter().map(|w| (w.time, w.count)).collect());
                let expected = counted(&points, start, end, width);
                assert_eq!(found, expected, "[{start}, {end}) at {width}");
            }
            // Go and btrdb 5.5 count a stream with these windows.
            for end in [MAX_TIME, MAX_TIME - 1] {
                let all = stream.aligned(MIN_TIME, end, width).await.unwrap();
                assert_eq!(all.iter().map(|window| window.count).sum::<u64>(), 200);
            }
        }
    }
}

#[tokio::test]
async fn invalid_widths_and_ranges_are_refused() {
    let (_fixture, stream) = filled(&[(1, 1.0)], false).await;
    assert_eq!(stream.aligned(0, 9, 64).await, Err(415));
    assert_eq!(stream.aligned(0, 9, u32::MAX).await, Err(415));
    assert_eq!(stream.windows(0, 9, 0).await, Err(415));
    assert_eq!(stream.windows(0, 9, u64::MAX).await, Err(415));
    assert_eq!(stream.windows_at(0, 0, 9, 1, 64).await, Err(415));
    // The platform reads eight bits of the depth. A published program sends the width in this
    // field.
    for (depth, answer) in [(63, true), (1_000_000_000, true), (256, true), (320, false)] {
        let found = stream.windows_at(0, 0, 9, 1, depth).await;
        assert_eq!(found.is_ok(), answer, "{depth}");
    }

    for (start, end) in [(9, 0), (5, 5), (MIN_TIME - 1, 0)] {
        assert_eq!(
            stream.aligned(start, end, 0).await,
            Err(413),
            "[{start}, {end})"
        );
        assert_eq!(
            stream.windows(start, end, 1).await,
            Err(413),
            "[{start}, {end})"
        );
    }
    assert_eq!(stream.aligned(0, MAX_TIME + 1, 40).await, Err(413));
    assert_eq!(stream.windows(0, MAX_TIME, 1 << 40).await, Err(413));
    assert_eq!(stream.windows(i64::MIN, i64::MAX, 1).await, Err(413));
    // These ranges are empty after rounding.
    assert_eq!(stream.aligned(1, 60, 6).await, Err(413));
    assert_eq!(stream.windows(1, 60, 64).await, Err(413));
    // An end beyond the end of time is valid if no window reaches it. The last window is empty.
    let windows = stream.windows(0, MAX_TIME + 5, (1 << 60) - 1).await;
    assert_eq!(windows.unwrap().len(), 2);
}
