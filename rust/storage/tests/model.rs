//! The engine against a list of points: random inserts under every policy, flushes, restarts and
//! reads at every version must agree with the naive answer.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    reason = "a test fails by panicking, its extremes are exact and its numbers small"
)]

mod oracle;

use std::path::Path;
use std::sync::Arc;

use oracle::{Oracle, aligned, assert_same_windows, precise};
use pingthings_storage::{
    ChangeReader, Engine, ManualClock, NewStream, Options, RawReader, WindowReader,
};
use pingthings_types::{
    AlignedWindows, MAX_TIME, MIN_TIME, MergePolicy, PointWidth, Points, PreciseWindows, RawPoint,
    TimeRange, Windows,
};
use proptest::prelude::*;
use uuid::Uuid;

const STREAM: Uuid = Uuid::from_u128(0x5eed);

#[derive(Clone, Debug)]
enum Action {
    Insert(Vec<(i64, f64)>, MergePolicy),
    Flush,
    Reopen,
    Delete {
        start: i64,
        length: i64,
    },
    Changes {
        from: usize,
        to: usize,
        resolution: u32,
        batch: usize,
    },
    Raw {
        start: i64,
        length: i64,
        version: usize,
        batch: usize,
    },
    Aligned {
        start: i64,
        length: i64,
        version: usize,
        exponent: u32,
        batch: usize,
    },
    Windows {
        start: i64,
        length: i64,
        version: usize,
        width: u64,
        batch: usize,
    },
    Nearest {
        time: i64,
        backward: bool,
        version: usize,
    },
}

/// Times that collide often, that spread over all of time, and that hit its ends.
fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        5 => 0..200i64,
        5 => (0..40_000i64).prop_map(|i| 1_500_000_000_000_000_000 + i * 16_666_667),
        1 => MIN_TIME..MAX_TIME - 1,
        1 => prop_oneof![Just(MIN_TIME), Just(MAX_TIME - 2), Just(-1), Just(0)],
    ]
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0..5i32).prop_map(f64::from),
        1 => prop_oneof![Just(-0.0), Just(f64::MIN_POSITIVE), Just(5e-324), Just(-1e9)],
        2 => -1e3..1e3f64,
    ]
}

fn policy() -> impl Strategy<Value = MergePolicy> {
    prop::sample::select(&MergePolicy::ALL[..])
}

/// A batch of any points, or a long regular stretch that makes the tree deep.
fn batch() -> impl Strategy<Value = Vec<(i64, f64)>> {
    prop_oneof![
        6 => prop::collection::vec((time(), value()), 0..60),
        2 => (time(), 1..20_000_000i64, 200..3_000usize, value()).prop_map(|(from, step, n, v)| {
            (0..n as i64)
                .map(|i| (from.saturating_add(i * step).min(MAX_TIME - 2), v + (i % 7) as f64))
                .collect()
        }),
        1 => (time(), 5_000..9_000usize).prop_map(|(t, n)| {
            (0..n).map(|i| (t, i as f64)).collect()
        }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let version = 0..12usize;
    let length = prop_oneof![1..300i64, 1..1_000_000_000_000i64, Just(1i64 << 61)];
    let batch_size = prop_oneof![1..20usize, Just(5_000)];
    prop_oneof![
        6 => (batch(), policy()).prop_map(|(points, policy)| Action::Insert(points, policy)),
        2 => Just(Action::Flush),
        1 => Just(Action::Reopen),
        2 => (time(), length.clone())
            .prop_map(|(start, length)| Action::Delete { start, length }),
        2 => (version.clone(), version.clone(), 0..64u32, batch_size.clone()).prop_map(
            |(from, to, resolution, batch)| Action::Changes { from, to, resolution, batch }),
        3 => (time(), length.clone(), version.clone(), batch_size.clone()).prop_map(
            |(start, length, version, batch)| Action::Raw { start, length, version, batch }),
        3 => (time(), length.clone(), version.clone(), 0..64u32, batch_size.clone()).prop_map(
            |(start, length, version, exponent, batch)| {
                Action::Aligned { start, length, version, exponent, batch }
            }),
        3 => (time(), length, version.clone(), 1..200u64, batch_size).prop_map(
            |(start, length, version, parts, batch)| {
                let width = (length.unsigned_abs() / parts).max(1);
                Action::Windows { start, length, version, width, batch }
            }),
        3 => (time(), any::<bool>(), version).prop_map(
            |(time, backward, version)| Action::Nearest { time, backward, version }),
    ]
}

fn open(path: &Path) -> Engine {
    let options = Options {
        buffer_points: 4_000,
        segment_bytes: 200_000,
        journal_file_bytes: 200_000,
        journal_files: 4,
        ..Options::default()
    };
    Engine::open_directory(path, Arc::new(ManualClock::new(0)), options).unwrap()
}

fn range(start: i64, length: i64) -> Option<TimeRange> {
    TimeRange::new(start, start.saturating_add(length).min(MAX_TIME - 1)).ok()
}

fn all_raw(mut reader: RawReader, max: usize) -> Vec<RawPoint> {
    let mut points = Vec::new();
    while let Some(batch) = reader.next_batch(max).unwrap() {
        assert!(!batch.is_empty() && batch.len() <= max);
        points.extend(batch.iter());
    }
    points
}

fn all_changes(mut reader: ChangeReader, max: usize) -> Vec<(i64, i64)> {
    let mut ranges = Vec::new();
    while let Some(batch) = reader.next_batch(max).unwrap() {
        assert!(!batch.is_empty() && batch.len() <= max);
        ranges.extend(batch);
    }
    ranges
}

fn all_windows(mut reader: WindowReader, max: usize) -> Windows {
    let mut all = Windows::default();
    while let Some(batch) = reader.next_batch(max).unwrap() {
        assert!(!batch.is_empty() && batch.len() <= max);
        all.times.extend(batch.times);
        all.mins.extend(batch.mins);
        all.means.extend(batch.means);
        all.maxs.extend(batch.maxs);
        all.counts.extend(batch.counts);
        all.stddevs.extend(batch.stddevs);
    }
    all
}

struct Run {
    directory: tempfile::TempDir,
    engine: Option<Engine>,
    oracle: Oracle,
}

impl Run {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = open(directory.path());
        engine
            .create(NewStream {
                uuid: STREAM,
                collection: "a".into(),
                ..NewStream::default()
            })
            .unwrap();
        Self {
            directory,
            engine: Some(engine),
            oracle: Oracle::new(4_000),
        }
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    /// The version on the wire: 0 for the latest, else a number from before the first to the last.
    fn pick(&self, version: usize) -> u64 {
        match version {
            0 | 1 => 0,
            n => 9 + n as u64 % (self.oracle.version().major - 8),
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Insert(pairs, policy) => {
                let (times, values) = pairs.iter().copied().unzip();
                let points = Points { times, values };
                let found = self.engine().insert(STREAM, points, policy).unwrap();
                self.oracle.insert(&pairs, policy);
                assert_eq!(found, self.oracle.version());
            }
            Action::Flush => {
                let found = self.engine().flush(STREAM).unwrap();
                self.oracle.flush();
                assert_eq!(found, self.oracle.version());
            }
            Action::Reopen => {
                self.engine = None;
                self.engine = Some(open(self.directory.path()));
                self.oracle.flush();
                assert_eq!(
                    self.engine().version(STREAM).unwrap(),
                    self.oracle.version()
                );
            }
            Action::Delete { start, length } => {
                let Some(range) = range(start, length) else {
                    return;
                };
                let found = self.engine().delete(STREAM, range).unwrap();
                self.oracle.delete(range.start(), range.end());
                assert_eq!(found, self.oracle.version());
            }
            Action::Changes {
                from,
                to,
                resolution,
                batch,
            } => {
                let (mut from, mut to) = (self.pick(from), self.pick(to));
                if to != 0 && from > to {
                    std::mem::swap(&mut from, &mut to);
                }
                let width = PointWidth::new(resolution).unwrap();
                let (_, reader) = self.engine().changes(STREAM, from, to, width).unwrap();
                let ranges = all_changes(reader, batch);
                let empty = if from == 0 { 1 } else { from };
                let (old, new) = (self.oracle.at(empty), self.oracle.at(to));
                for pair in ranges.windows(2) {
                    assert!(pair[0].1 < pair[1].0);
                }
                for &(start, end) in &ranges {
                    assert!(MIN_TIME <= start && start < end && end <= MAX_TIME);
                    assert!(start == MIN_TIME || width.floor(start) == start);
                    assert!(end == MAX_TIME || width.floor(end) == end);
                }
                for time in old.differing_times(&new) {
                    assert!(ranges.iter().any(|r| r.0 <= time && time < r.1), "{time}");
                }
                if from == to && to != 0 {
                    assert_eq!(ranges, []);
                }
            }
            Action::Raw {
                start,
                length,
                version,
                batch,
            } => {
                let Some(range) = range(start, length) else {
                    return;
                };
                let version = self.pick(version);
                let snapshot = self.engine().snapshot(STREAM, version).unwrap();
                let expected = self.oracle.at(version).between(range.start(), range.end());
                let found = all_raw(snapshot.raw(range), batch);
                assert_eq!(snapshot.count(range).unwrap(), expected.len() as u64);
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    assert_eq!(found.time, expected.0);
                    assert_eq!(found.value.to_bits(), expected.1.to_bits());
                }
            }
            Action::Aligned {
                start,
                length,
                version,
                exponent,
                batch,
            } => {
                let Some(range) = range(start, length) else {
                    return;
                };
                let width = PointWidth::new(exponent).unwrap();
                let Some(windows) = AlignedWindows::new(range, width) else {
                    return;
                };
                let version = self.pick(version);
                let snapshot = self.engine().snapshot(STREAM, version).unwrap();
                let expected = aligned(&self.oracle.at(version), windows);
                assert_same_windows(
                    &all_windows(snapshot.aligned_windows(windows), batch),
                    &expected,
                );
            }
            Action::Windows {
                start,
                length,
                version,
                width,
                batch,
            } => {
                let Some(range) = range(start, length) else {
                    return;
                };
                let Some(windows) = PreciseWindows::new(range, width).unwrap() else {
                    return;
                };
                let version = self.pick(version);
                let snapshot = self.engine().snapshot(STREAM, version).unwrap();
                let expected = precise(&self.oracle.at(version), windows);
                assert_same_windows(&all_windows(snapshot.windows(windows), batch), &expected);
            }
            Action::Nearest {
                time,
                backward,
                version,
            } => {
                let version = self.pick(version);
                let snapshot = self.engine().snapshot(STREAM, version).unwrap();
                let found = snapshot.nearest(time, backward).unwrap();
                let expected = self.oracle.at(version).nearest(time, backward);
                let bits = |p: (i64, f64)| (p.0, p.1.to_bits());
                assert_eq!(found.map(|p| bits((p.time, p.value))), expected.map(bits));
            }
        }
    }
}

/// Few cases unless `PROPTEST_CASES` asks for more: one is long.
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => asked.cases,
        None => 64,
    };
    ProptestConfig { cases, ..asked }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_engine_agrees_with_a_list_of_points(
        actions in prop::collection::vec(action(), 1..40),
    ) {
        let mut run = Run::new();
        for action in actions {
            run.act(action);
        }
    }
}

/// Above the nanoseconds of an overfull bucket there is a node that does not fill its 64 buckets.
#[test]
fn merging_sees_points_behind_a_crowded_nanosecond() {
    let crowd = (0..5_000).map(|i| (32, f64::from(i))).collect();
    for policy in [
        MergePolicy::Equal,
        MergePolicy::Retain,
        MergePolicy::Replace,
    ] {
        let mut run = Run::new();
        run.act(Action::Insert(vec![(70, 0.0)], MergePolicy::Never));
        run.act(Action::Insert(Vec::clone(&crowd), MergePolicy::Never));
        run.act(Action::Insert(vec![(33, 0.0), (70, 0.0)], policy));
        run.act(Action::Raw {
            start: 0,
            length: 100,
            version: 0,
            batch: 1_000,
        });
    }
}
