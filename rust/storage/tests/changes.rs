//! Changes between versions, as ranges, a few at a time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use pingthings_storage::{Engine, ManualClock, NewStream, Options};
use pingthings_types::{MAX_TIME, MIN_TIME, MergePolicy, PointWidth, Points, TimeRange};
use uuid::Uuid;

const STREAM: Uuid = Uuid::from_u128(3);

fn engine() -> Engine {
    let engine = Engine::in_memory(Arc::new(ManualClock::new(0)), Options::default()).unwrap();
    let stream = NewStream {
        uuid: STREAM,
        collection: "changes".to_owned(),
        ..NewStream::default()
    };
    engine.create(stream).unwrap();
    engine
}

fn insert(engine: &Engine, times: impl IntoIterator<Item = i64>, policy: MergePolicy) {
    let times: Vec<i64> = times.into_iter().collect();
    let values = vec![f64::from(u8::from(policy == MergePolicy::Replace)); times.len()];
    let points = Points { times, values };
    engine.insert(STREAM, points, policy).unwrap();
}

fn changes(engine: &Engine, from: u64, to: u64, resolution: u32, max: usize) -> Vec<(i64, i64)> {
    let resolution = PointWidth::new(resolution).unwrap();
    let (_, mut reader) = engine.changes(STREAM, from, to, resolution).unwrap();
    let mut ranges = Vec::new();
    while let Some(batch) = reader.next_batch(max).unwrap() {
        assert!(batch.len() <= max.max(1));
        ranges.extend(batch);
    }
    assert_eq!(reader.next_batch(max).unwrap(), None);
    ranges
}

/// An engine with stored, buffered and replaced points, alternately.
fn scattered() -> Engine {
    let engine = engine();
    insert(&engine, (0..9_000).map(|at| at * 1_000), MergePolicy::Never);
    engine.flush(STREAM).unwrap();
    let stored = (0..300).map(|at| at * 20_000 + 1);
    insert(&engine, stored, MergePolicy::Never);
    engine.flush(STREAM).unwrap();
    let buffered = (0..400).map(|at| at * 15_000 + 2);
    insert(&engine, buffered, MergePolicy::Never);
    let replaced = (0..50).map(|at| at * 111_000);
    insert(&engine, replaced, MergePolicy::Replace);
    engine
}

#[test]
fn batches_of_any_size_are_the_same_answer() {
    let engine = scattered();
    for resolution in [0, 3, 12, 16, 20, 63] {
        let whole = changes(&engine, 11, 0, resolution, usize::MAX);
        for pair in whole.windows(2) {
            assert!(pair[0].1 < pair[1].0, "{pair:?}");
        }
        for max in [0, 1, 2, 7, whole.len().max(1)] {
            assert_eq!(changes(&engine, 11, 0, resolution, max), whole);
        }
    }
    let points = changes(&engine, 12, 0, 0, 10);
    assert!(points.len() >= 400, "{}", points.len());
    assert_eq!(changes(&engine, 11, 0, 40, 10).len(), 1);
    assert_eq!(changes(&engine, 12, 12, 0, 10), []);
}

/// A leaf that becomes several nodes has changed only where points were added.
#[test]
fn a_leaf_that_is_divided_changes_where_points_came() {
    let engine = engine();
    insert(&engine, (0..3_000).map(|at| at << 30), MergePolicy::Never);
    engine.flush(STREAM).unwrap();
    let new = (0..9_000).map(|at| (1_000 << 30) + at * 7);
    insert(&engine, new, MergePolicy::Never);
    engine.flush(STREAM).unwrap();
    let last = (1_000i64 << 30) + 9_000 * 7;
    for (from, to) in [(11, 12), (11, 0)] {
        let ranges = changes(&engine, from, to, 0, 10);
        assert!(!ranges.is_empty());
        for (start, end) in ranges {
            assert!(1_000 << 30 <= start && end <= last, "[{start}, {end})");
        }
    }
    assert_eq!(engine.delete(STREAM, TimeRange::ALL).unwrap().major, 13);
    let all = changes(&engine, 12, 13, 0, 10);
    let (first, last) = (all[0].0, all[all.len() - 1].1);
    assert_eq!((first, last), (0, (2_999 << 30) + 1));
}

/// A nanosecond with more points than a leaf holds is below a node of four nanoseconds, not of 64.
#[test]
fn a_crowd_changes_its_nanosecond() {
    let engine = engine();
    insert(&engine, [100, 101, 103, 104, 140, 170], MergePolicy::Never);
    engine.flush(STREAM).unwrap();
    insert(&engine, vec![102; 5_000], MergePolicy::Never);
    engine.flush(STREAM).unwrap();
    assert_eq!(changes(&engine, 11, 12, 0, 10), [(102, 103)]);
    insert(&engine, [102], MergePolicy::Never);
    engine.flush(STREAM).unwrap();
    assert_eq!(changes(&engine, 12, 13, 0, 10), [(102, 103)]);
    assert_eq!(changes(&engine, 12, 13, 63, 10), [(0, MAX_TIME)]);
    insert(&engine, [-5], MergePolicy::Never);
    assert_eq!(changes(&engine, 12, 0, 63, 10), [(MIN_TIME, MAX_TIME)]);
}
