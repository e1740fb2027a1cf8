//! The cost of an answer, in blocks read without a cache: proportional to the length of the answer
//! plus the paths down to its ends, never to the data within.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking and its numbers are small"
)]

mod counting;

use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;

use counting::Counting;
use pingthings_storage::{
    Engine, ManualClock, NewStream, Options, Snapshot, SqliteCatalog, WindowReader,
};
use pingthings_types::{
    AlignedWindows, MergePolicy, PointWidth, Points, PreciseWindows, TimeRange, Windows,
};
use uuid::Uuid;

/// The start of every stream, a border of every bucket up to this size.
const START: i64 = 23 << 56;
/// Time between points: 60 Hz, nearly.
const PERIOD: i64 = 1 << 24;
/// Blocks from the root down to a leaf at that rate: buckets of 2^56, 50, 44, 38 and 32 ns, and a
/// leaf.
const DEPTH: u64 = 6;
/// Points of a leaf at an even rate: 16 buckets of 256 points.
const LEAF: u64 = 4_096;

struct Stream {
    engine: Engine,
    blocks: Arc<Counting>,
}

/// The answer of a call, and the number of blocks it read.
struct Answer<R> {
    cost: u64,
    value: R,
}

const UUID: Uuid = Uuid::from_u128(1);

impl Stream {
    /// A stream of `count` points at [`PERIOD`], written in batches of `batch`.
    fn new(count: i64, batch: usize) -> Self {
        let blocks = Arc::new(Counting::default());
        let catalog = Arc::new(SqliteCatalog::in_memory().unwrap());
        let options = Options {
            cache_bytes: 0,
            ..Options::default()
        };
        let clock = Arc::new(ManualClock::new(0));
        let engine = Engine::open(Arc::clone(&blocks) as _, catalog, clock, options).unwrap();
        let stream = NewStream {
            uuid: UUID,
            collection: "cost".to_owned(),
            ..NewStream::default()
        };
        engine.create(stream).unwrap();
        let stream = Self { engine, blocks };
        let times: Vec<i64> = (0..count).map(|at| START + at * PERIOD).collect();
        for times in times.chunks(batch) {
            stream.insert(times, MergePolicy::Never);
            stream.engine.flush(UUID).unwrap();
        }
        stream
    }

    /// A stream that tests use one at a time, because it has a single count of reads.
    fn shared(count: i64, batch: usize) -> Mutex<Self> {
        Mutex::new(Self::new(count, batch))
    }

    fn insert(&self, times: &[i64], policy: MergePolicy) {
        let values = times
            .iter()
            .map(|time| (time >> 24) as f64 % 50.0)
            .collect();
        let times = times.to_vec();
        let points = Points { times, values };
        self.engine.insert(UUID, points, policy).unwrap();
    }

    fn ask<R>(&self, question: impl FnOnce(&Snapshot) -> R) -> Answer<R> {
        let snapshot = self.engine.snapshot(UUID, 0).unwrap();
        let before = self.blocks.count();
        let value = question(&snapshot);
        let cost = self.blocks.count() - before;
        Answer { cost, value }
    }

    /// The number of aligned windows.
    fn aligned(&self, range: TimeRange, exponent: u32) -> Answer<u64> {
        let width = PointWidth::new(exponent).unwrap();
        let windows = AlignedWindows::new(range, width).unwrap();
        self.ask(|snapshot| number(snapshot.aligned_windows(windows)))
    }

    /// Divides a range into `count` windows.
    fn precise(&self, range: TimeRange, count: u64) -> Answer<u64> {
        let windows = PreciseWindows::new(range, range.width() / count);
        let windows = windows.unwrap().unwrap();
        self.ask(|snapshot| number(snapshot.windows(windows)))
    }
}

fn number(mut reader: WindowReader) -> u64 {
    let mut number = 0;
    while let Some(batch) = reader.next_batch(5_000).unwrap() {
        number += batch.len() as u64;
    }
    number
}

fn range(start: i64, length: i64) -> TimeRange {
    TimeRange::new(START + start, START + start + length).unwrap()
}

/// Nearly all of the first `count` points; neither end is a border of a bucket.
fn most_of(count: i64) -> TimeRange {
    range(12_345, count * PERIOD - 99_999)
}

const MILLION: i64 = 1_000_000;

/// A million points.
static LARGE: LazyLock<Mutex<Stream>> = LazyLock::new(|| Stream::shared(MILLION, 200_000));

/// A tenth of them, written in small batches, so that its blocks are scattered.
static SMALL: LazyLock<Mutex<Stream>> = LazyLock::new(|| Stream::shared(MILLION / 10, 1_000));

#[test]
fn a_count_reads_only_its_two_ends() {
    let whole = LARGE
        .lock()
        .ask(|snapshot| snapshot.count(TimeRange::ALL).unwrap());
    assert_eq!((whole.cost, whole.value), (1, 1_000_000));
    for (from, to) in [(1, 999_999), (400_001, 400_002), (77, 123_456)] {
        let range = range(from * PERIOD - 1, (to - from) * PERIOD);
        let part = LARGE.lock().ask(|snapshot| snapshot.count(range).unwrap());
        assert_eq!(part.value, (to - from).unsigned_abs());
        assert!(part.cost <= 2 * DEPTH, "{} blocks", part.cost);
    }
}

#[test]
fn the_nearest_point_reads_one_path() {
    let last = START + (MILLION - 1) * PERIOD;
    for time in [
        START - 1,
        START,
        START + 1,
        START + (1 << 40),
        last,
        last + 1,
        0,
        3 << 59,
    ] {
        for (backward, ways) in [(false, 1), (true, 2)] {
            let found = LARGE
                .lock()
                .ask(|snapshot| snapshot.nearest(time, backward).unwrap());
            let is_there = if backward { time > START } else { time <= last };
            assert_eq!(found.value.is_some(), is_there, "{time}");
            assert!(found.cost <= ways * DEPTH, "{} blocks", found.cost);
        }
    }
}

#[test]
fn raw_points_read_their_leaves() {
    for count in [1, 1_000, 10_000, 100_000] {
        let range = range(500_000 * PERIOD - 1, count * PERIOD);
        let points = LARGE.lock().ask(|snapshot| {
            let mut reader = snapshot.raw(range);
            let mut count = 0;
            while let Some(batch) = reader.next_batch(777).unwrap() {
                count += batch.len() as u64;
            }
            count
        });
        assert_eq!(points.value, count.unsigned_abs());
        let leaves = points.value / LEAF + 2;
        // A node has four leaves at this rate.
        let bound = DEPTH + leaves + leaves / 4 + 1;
        assert!(
            points.cost <= bound,
            "{count} points: {} blocks",
            points.cost
        );
    }
}

#[test]
fn aligned_windows_read_no_more_than_their_number() {
    for stream in [&LARGE, &SMALL] {
        let stream = stream.lock();
        let all = stream.ask(|s| number(s.aligned_windows(every(24)))).cost;
        for exponent in 24..44 {
            let windows = stream.aligned(most_of(MILLION), exponent);
            let bound = DEPTH + windows.value.min(all);
            assert!(
                windows.cost <= bound,
                "2^{exponent} ns: {} blocks",
                windows.cost
            );
        }
    }
}

/// Windows of one width over all of time.
fn every(exponent: u32) -> AlignedWindows {
    let width = PointWidth::new(exponent).unwrap();
    AlignedWindows::new(TimeRange::ALL, width).unwrap()
}

#[test]
fn precise_windows_read_their_borders() {
    for (stream, points) in [(&LARGE, MILLION), (&SMALL, MILLION / 10)] {
        let stream = stream.lock();
        for count in (0..12).map(|power| 1 << power) {
            let windows = stream.precise(most_of(points), count);
            assert_eq!(windows.value, count);
            // Nodes above a border are shared with other borders, except near the leaves.
            let bound = 2 * DEPTH + 2 * count;
            assert!(
                windows.cost <= bound,
                "{count} windows: {} blocks",
                windows.cost
            );
        }
    }
}

/// The same number of windows over ten times the points: the data within them are not read.
#[test]
fn ten_times_the_points_cost_the_same() {
    let (few, many) = (most_of(MILLION / 10), most_of(MILLION));
    for count in [1, 2, 3, 5, 8, 10] {
        let (few, many) = (
            SMALL.lock().precise(few, count),
            LARGE.lock().precise(many, count),
        );
        assert_eq!(few.value, many.value);
        assert!(
            2 * many.cost <= 3 * few.cost,
            "{count} windows: {} blocks, then {}",
            few.cost,
            many.cost
        );
    }
    // The same windows over points that are ten times as dense.
    let sparse = Stream::new(0, 1);
    let times: Vec<i64> = (0..MILLION / 10)
        .map(|at| START + at * PERIOD * 10)
        .collect();
    sparse.insert(&times, MergePolicy::Never);
    for exponent in 38..43 {
        let few = sparse.aligned(most_of(MILLION), exponent);
        let many = LARGE.lock().aligned(most_of(MILLION), exponent);
        assert_eq!(few.value, many.value);
        assert!(2 * many.cost <= 3 * few.cost, "2^{exponent} ns");
    }
}

/// Counting around replaced points reads their leaves and nothing else.
#[test]
fn replaced_points_read_their_leaves() {
    let stream = Stream::new(MILLION / 10, 50_000);
    let plain = stream.ask(|snapshot| snapshot.count(TimeRange::ALL).unwrap());
    let replaced: Vec<i64> = (0..10).map(|at| START + at * 9_999 * PERIOD).collect();
    stream.insert(&replaced, MergePolicy::Replace);
    let masked = stream.ask(|snapshot| snapshot.count(TimeRange::ALL).unwrap());
    assert_eq!(masked.value, plain.value);
    let bound = plain.cost + DEPTH * replaced.len() as u64;
    assert!(masked.cost <= bound, "{} blocks", masked.cost);
}

/// Windows of the smallest width over thirty years, with points in a few seconds only.
#[test]
fn empty_windows_read_nothing() {
    let stream = Stream::new(1_000, 1_000);
    let second = 1_000_000_000;
    let range = range(-second, 1_000_000_000 * second);
    let windows = PreciseWindows::new(range, 1).unwrap().unwrap();
    let empty = stream.ask(|snapshot| {
        let mut reader = snapshot.windows(windows);
        let mut last = Windows::default();
        for _ in 0..100 {
            last = reader.next_batch(5_000).unwrap().unwrap();
            assert_eq!((last.len(), last.counts[4_999]), (5_000, 0));
        }
        last
    });
    assert_eq!(empty.value.times[0], START - second + 99 * 5_000);
    assert!(empty.cost <= DEPTH, "{} blocks", empty.cost);
    let windows = PreciseWindows::new(range, 1_000).unwrap().unwrap();
    let count = 1_000_000 + (1_000 * PERIOD.unsigned_abs()) / 1_000;
    let some = stream.ask(|snapshot| {
        let mut reader = snapshot.windows(windows);
        let (mut windows, mut points) = (0, 0);
        while windows < count {
            let batch = reader.next_batch(50_000).unwrap().unwrap();
            windows += batch.len() as u64;
            points += batch.counts.iter().sum::<u64>();
        }
        points
    });
    assert_eq!(some.value, 1_000);
    assert!(some.cost <= 2 * DEPTH, "{} blocks", some.cost);
}

/// Two versions are compared only where they differ, and no finer than requested.
#[test]
fn changes_read_only_what_changed() {
    let stream = Stream::new(MILLION, 200_000);
    let before = stream.engine.version(UUID).unwrap().major;
    let times: Vec<i64> = (0..10).map(|at| START + at * 99_999 * PERIOD + 1).collect();
    stream.insert(&times, MergePolicy::Never);
    stream.engine.flush(UUID).unwrap();
    let compare = |from, resolution| {
        let width = PointWidth::new(resolution).unwrap();
        stream.ask(|_| {
            let (_, mut reader) = stream.engine.changes(UUID, from, 0, width).unwrap();
            let mut number = 0;
            while let Some(batch) = reader.next_batch(3).unwrap() {
                number += batch.len() as u64;
            }
            number
        })
    };
    for resolution in 0..30 {
        let found = compare(before, resolution);
        assert_eq!(found.value, 10);
        assert!(found.cost <= 2 * DEPTH * 10, "{} blocks", found.cost);
    }
    // All of the range is new, so no leaf has to be read.
    for resolution in 32..=63 {
        let found = compare(0, resolution);
        assert_eq!(found.value, 1);
        // There are 61 nodes with buckets of 2^32 ns below one with buckets of 2^38 ns.
        let bound = DEPTH + if resolution < 38 { 61 } else { 0 };
        assert!(
            found.cost <= bound,
            "2^{resolution} ns: {} blocks",
            found.cost
        );
    }
}
