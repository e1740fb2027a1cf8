//! Test vectors of the platform's server that consist of one question and its answer, as a table.
//! Reads are made as messages and as Arrow, of buffered and committed points.
//!
//! Vectors of several steps (versions, deletes, holes, policies, names) are tests in the other
//! modules.

use pingthings_types::{MAX_TIME, MIN_TIME};

use crate::fixture::{Fixture, Stream, numbers, ramp};

/// The points that are stored before the question.
#[derive(Clone, Copy, Debug)]
enum Setup {
    Nothing,
    /// A point every 10 ns on [from, from + 10000).
    Grid(i64),
    /// Points at 0, 1000, ... 7000.
    Thousands,
    /// Points at 1, 2 and 3.
    Three,
    /// The first and the last valid time.
    Ends,
}

#[derive(Clone, Copy, Debug)]
enum Question {
    Insert(i64, f64),
    Forward(i64),
    Backward(i64),
    Raw(i64, i64),
    Aligned(i64, i64, u32),
    Windows(i64, i64, u64),
    Depth(u32),
    RawAt(u64),
    AlignedAt(u64),
    WindowsAt(u64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Outcome(u32),
    Done,
    /// The point nearest to a time.
    Point(i64),
    /// The number of rows, and the first and last time.
    Rows(usize, i64, i64),
    NoRows,
}

use Answer::{Done, NoRows, Outcome, Point, Rows};
use Question::{
    Aligned, AlignedAt, Backward, Depth, Forward, Insert, Raw, RawAt, Windows, WindowsAt,
};
use Setup::{Ends, Grid, Nothing, Thousands, Three};

const LAST: i64 = MAX_TIME - 2;

const VECTORS: &[(Setup, Question, Answer)] = &[
    // Nearest.
    (Nothing, Forward(0), Outcome(401)),
    (Nothing, Backward(0), Outcome(401)),
    (Grid(10_000), Forward(19_990), Point(19_990)),
    (Grid(10_000), Forward(19_991), Outcome(401)),
    (Grid(10_000), Forward(9_000), Point(10_000)),
    (Grid(10_000), Backward(10_000), Outcome(401)),
    (Grid(10_000), Backward(10_001), Point(10_000)),
    (Grid(10_000), Backward(19_990), Point(19_980)),
    (Nothing, Forward(MIN_TIME - 1), Outcome(413)),
    (Nothing, Backward(MAX_TIME), Outcome(413)),
    // Both ends of time.
    (Nothing, Insert(MIN_TIME, 1.0), Done),
    (Nothing, Insert(MIN_TIME - 1, 1.0), Outcome(413)),
    (Nothing, Insert(LAST, 1.0), Done),
    (Nothing, Insert(MAX_TIME - 1, 1.0), Outcome(413)),
    (Ends, Raw(MIN_TIME, MAX_TIME - 1), Rows(2, MIN_TIME, LAST)),
    (Ends, Raw(MIN_TIME, MAX_TIME), Outcome(413)),
    (Ends, Raw(MIN_TIME - 1, MAX_TIME - 1), Outcome(413)),
    (
        Ends,
        Windows(MIN_TIME - 1, MAX_TIME - 1, 1 << 60),
        Outcome(413),
    ),
    // Special values.
    (Nothing, Insert(0, f64::NAN), Outcome(425)),
    (
        Nothing,
        Insert(0, f64::from_bits(0x7ff0_0000_0000_0001)),
        Outcome(425),
    ),
    (
        Nothing,
        Insert(0, f64::from_bits(0xfff8_0000_0000_0000)),
        Outcome(425),
    ),
    (
        Nothing,
        Insert(0, f64::from_bits(0xffff_ffff_ffff_ffff)),
        Outcome(425),
    ),
    (Nothing, Insert(0, f64::INFINITY), Outcome(425)),
    (Nothing, Insert(0, f64::NEG_INFINITY), Outcome(425)),
    // Raw values on a grid of 10 ns.
    (Grid(10_000), Raw(10_000, 19_990), Rows(999, 10_000, 19_980)),
    (Grid(10_000), Raw(12_000, 12_010), Rows(1, 12_000, 12_000)),
    (Grid(10_000), Raw(12_001, 12_010), NoRows),
    (Grid(10_000), Raw(12_001, 12_001), Outcome(413)),
    (Grid(10_000), Raw(12_002, 12_001), Outcome(413)),
    // Aligned windows: both ends are rounded down.
    (
        Grid(10_000),
        Aligned(11_136, 11_647, 6),
        Rows(7, 11_136, 11_520),
    ),
    (
        Grid(10_000),
        Aligned(11_199, 11_584, 6),
        Rows(7, 11_136, 11_520),
    ),
    (
        Grid(10_000),
        Aligned(11_199, 11_200, 6),
        Rows(1, 11_136, 11_136),
    ),
    (Grid(10_000), Aligned(11_137, 11_140, 6), Outcome(413)),
    (Grid(10_000), Aligned(12_002, 12_001, 6), Outcome(413)),
    (Grid(10_000), Aligned(0, 1 << 20, 63), Outcome(413)),
    (Grid(10_000), Aligned(0, 20_000, 64), Outcome(415)),
    (Nothing, Aligned(0, 20_000, 6), NoRows),
    // Precise windows: only the end is rounded down, to a whole number of widths.
    (
        Grid(10_000),
        Windows(11_136, 11_647, 64),
        Rows(7, 11_136, 11_520),
    ),
    (
        Grid(10_000),
        Windows(11_136, 11_584, 64),
        Rows(7, 11_136, 11_520),
    ),
    (
        Grid(10_000),
        Windows(11_137, 11_201, 64),
        Rows(1, 11_137, 11_137),
    ),
    (
        Grid(-20_000),
        Windows(-18_864, -18_353, 64),
        Rows(7, -18_864, -18_480),
    ),
    (Grid(10_000), Windows(11_137, 11_200, 64), Outcome(413)),
    (Grid(10_000), Windows(12_002, 12_001, 64), Outcome(413)),
    (Grid(10_000), Windows(0, 20_000, 0), Outcome(415)),
    (
        Grid(10_000),
        Windows(0, 20_000, (1 << 63) + 1),
        Outcome(415),
    ),
    (Grid(10_000), Depth(61), Rows(7, 11_136, 11_520)),
    (Grid(10_000), Depth(64), Outcome(415)),
    (Grid(10_000), Depth(1_000_000_000), Rows(7, 11_136, 11_520)),
    // An empty last window is omitted, but not empty windows before it.
    (Thousands, Windows(0, 10_000, 2_000), Rows(4, 0, 6_000)),
    (Three, Windows(0, 10, 1), Rows(9, 0, 8)),
    (Nothing, Windows(0, 10, 1), Rows(9, 0, 8)),
    // It is not omitted if there are later points, nor for a numbered version.
    (Thousands, Windows(1, 999, 499), Rows(2, 1, 500)),
    (Nothing, WindowsAt(10), Rows(312, 0, 19_904)),
    // Counting a stream, as Go and btrdb 5.5 do.
    (Ends, Aligned(MIN_TIME, MAX_TIME, 62), Rows(2, MIN_TIME, 0)),
    (
        Ends,
        Aligned(MIN_TIME, MAX_TIME - 1, 62),
        Rows(2, MIN_TIME, 0),
    ),
    (
        Ends,
        Aligned(MIN_TIME, MAX_TIME, 60),
        Rows(2, MIN_TIME, 2 << 60),
    ),
    (
        Ends,
        Aligned(MIN_TIME, MAX_TIME, 56),
        Rows(2, MIN_TIME, 47 << 56),
    ),
    // A version after the latest; early servers said 404.
    (Grid(10_000), RawAt(12), Outcome(450)),
    (Grid(10_000), AlignedAt(12), Outcome(450)),
    (Grid(10_000), WindowsAt(12), Outcome(450)),
];

fn points(stored: Setup) -> Vec<(i64, f64)> {
    match stored {
        Nothing => Vec::new(),
        Grid(from) => ramp(from, 10, 1_000),
        Thousands => ramp(0, 1_000, 8),
        Three => ramp(1, 1, 3),
        Ends => vec![(MIN_TIME, 1.0), (LAST, 2.0)],
    }
}

fn rows(found: Result<Vec<i64>, u32>) -> Answer {
    let times = match found {
        Ok(times) => times,
        Err(code) => return Outcome(code),
    };
    match times[..] {
        [] => NoRows,
        [only] => Rows(1, only, only),
        [first, .., last] => Rows(times.len(), first, last),
    }
}

async fn ask(stream: &Stream, question: Question) -> Answer {
    let nearest = async |time, backward| match stream.nearest(time, backward).await {
        Ok((time, _)) => Point(time),
        Err(code) => Outcome(code),
    };
    let times = |points: Vec<(i64, f64)>| points.into_iter().map(|(time, _)| time).collect();
    let starts = |windows: Vec<crate::fixture::Window>| {
        windows.into_iter().map(|window| window.time).collect()
    };
    match question {
        Insert(time, value) => match stream.insert(&[(time, value)]).await {
            Ok(_) => Done,
            Err(code) => Outcome(code),
        },
        Forward(time) => nearest(time, false).await,
        Backward(time) => nearest(time, true).await,
        Raw(start, end) => rows(stream.raw(start, end).await.map(times)),
        RawAt(version) => {
            let found = stream.raw_at(version, 0, 20_000).await;
            rows(found.map(|(_, points)| times(points)))
        }
        Aligned(start, end, width) => rows(stream.aligned(start, end, width).await.map(starts)),
        AlignedAt(version) => rows(stream.aligned_at(version, 0, 20_000, 6).await.map(starts)),
        Windows(start, end, width) => rows(stream.windows(start, end, width).await.map(starts)),
        WindowsAt(version) => rows(
            stream
                .windows_at(version, 0, 20_000, 64, 0)
                .await
                .map(starts),
        ),
        Depth(depth) => {
            let found = stream.windows_at(0, 11_136, 11_647, 64, depth).await;
            rows(found.map(starts))
        }
    }
}

#[tokio::test]
async fn every_question_has_the_recorded_answer() {
    let fixture = Fixture::open().await;
    let mut wrong = Vec::new();
    for &(stored, question, answer) in VECTORS {
        for committed in [false, true] {
            let stream = fixture.stream().await;
            stream.insert(&points(stored)).await.unwrap();
            if committed {
                stream.flush().await.unwrap();
            }
            let found = ask(&stream, question).await;
            if found != answer {
                wrong.push((stored, question, committed, answer, found));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Windows of random points, for every recorded width.
#[tokio::test]
async fn dense_windows_are_full_and_equal_brute_force() {
    let fixture = Fixture::open().await;
    let mut number = numbers(7);
    let start = 1 << 58;
    let points: Vec<_> = (0..10_000_i64)
        .map(|at| {
            let time = start + at * (1 << 46) + i64::from(number());
            (time, f64::from(number()))
        })
        .collect();
    let end = start + 10_000 * (1 << 46);
    let stream = fixture.stream().await;
    stream.insert(&points).await.unwrap();
    for committed in [false, true] {
        if committed {
            stream.flush().await.unwrap();
        }
        let count = |from: i64, to: i64| {
            let before = |time| points.partition_point(|point| point.0 < time);
            before(to) - before(from)
        };
        for width in 48..=52 {
            let windows = stream.aligned(start, end, width).await.unwrap();
            for window in &windows {
                let expected = count(window.time, window.time + (1 << width));
                assert_eq!(usize::try_from(window.count).unwrap(), expected);
                assert_ne!(expected, 0);
            }
            let next = windows.windows(2);
            assert!(
                next.into_iter()
                    .all(|pair| pair[1].time - pair[0].time == 1 << width)
            );
        }
        for odd in [1, 3, 7, 11, 101, 1_009, 10_007, 100_003, 1_000_003] {
            let width = (1 << 48) + odd;
            let windows = stream.windows(start, end, width).await.unwrap();
            for window in &windows {
                let to = window.time.checked_add_unsigned(width).unwrap();
                let expected = count(window.time, to);
                assert_eq!(usize::try_from(window.count).unwrap(), expected);
                assert_ne!(expected, 0);
            }
        }
    }
}
