//! The space of unreadable data is reclaimed, and nothing else is lost.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking and its numbers are small"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pingthings_storage::{Engine, Error, ManualClock, NewStream, Options};
use pingthings_types::{MergePolicy, Points, TimeRange};
use uuid::Uuid;

const HOUR: i64 = 3_600_000_000_000;
const ALL: (i64, i64) = (0, 1 << 50);

fn options() -> Options {
    Options {
        segment_bytes: 1 << 16,
        cache_bytes: 0,
        ..Options::default()
    }
}

fn open(directory: &Path, clock: &Arc<ManualClock>) -> Engine {
    Engine::open_directory(directory, Arc::clone(clock) as _, options()).unwrap()
}

fn create(engine: &Engine, number: u128) -> Uuid {
    let uuid = Uuid::from_u128(number);
    let stream = NewStream {
        uuid,
        collection: format!("reclaim/{number}"),
        ..NewStream::default()
    };
    engine.create(stream).unwrap();
    uuid
}

/// Incompressible values, so that blocks are large.
fn noise(seed: u64, first: i64, count: i64) -> Points {
    let mut state = seed | 1;
    let mut points = Points::default();
    for at in 0..count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        points.times.push((first + at) * 1_000_003);
        points.values.push((state >> 11) as f64);
    }
    points
}

fn fill(engine: &Engine, uuid: Uuid, commits: u64) {
    for commit in 0..commits {
        let first = i64::try_from(commit).unwrap() * 2_000;
        let points = noise(commit + 7, first, 2_000);
        engine.insert(uuid, points, MergePolicy::Never).unwrap();
        engine.flush(uuid).unwrap();
    }
}

fn read(engine: &Engine, uuid: Uuid, version: u64) -> Result<Points, Error> {
    let snapshot = engine.snapshot(uuid, version)?;
    let mut reader = snapshot.raw(TimeRange::new(ALL.0, ALL.1).unwrap());
    let mut all = Points::default();
    while let Some(batch) = reader.next_batch(10_000)? {
        all.times.extend(batch.times);
        all.values.extend(batch.values);
    }
    Ok(all)
}

fn size(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory.join("segments")).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

#[test]
fn an_obliterated_stream_leaves_no_bytes_and_others_all_of_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(HOUR));
    let engine = open(directory.path(), &clock);
    let (gone, kept) = (create(&engine, 1), create(&engine, 2));
    // Alternating, so that every segment has blocks of both streams.
    for _ in 0..3 {
        fill(&engine, gone, 5);
        fill(&engine, kept, 1);
    }
    let versions: Vec<Points> = (10..=13).map(|v| read(&engine, kept, v).unwrap()).collect();
    let before = size(directory.path());
    engine.obliterate(gone).unwrap();
    let mut reported = 0;
    let done = engine.compact(&mut |_| reported += 1).unwrap();
    assert!(done.rewritten > 0, "{done:?}");
    assert_eq!(reported, done.rewritten + done.removed);
    assert_eq!(done.bytes_before, before);
    assert_eq!(done.bytes_after, size(directory.path()));
    assert!(done.bytes_after * 3 < before, "{done:?}");
    for round in 0..2 {
        for (version, points) in (10..).zip(&versions) {
            assert_eq!(
                &read(&engine, kept, version).unwrap(),
                points,
                "round {round}"
            );
        }
        let again = engine.compact(&mut |_| {}).unwrap();
        assert_eq!((again.rewritten, again.removed), (0, 0));
    }
    drop(engine);
    let engine = open(directory.path(), &clock);
    for (version, points) in (10..).zip(&versions) {
        assert_eq!(&read(&engine, kept, version).unwrap(), points);
    }
    // A rewritten segment can be rewritten again, and is removed in the end.
    fill(&engine, create(&engine, 3), 1);
    engine.obliterate(kept).unwrap();
    engine.compact(&mut |_| {}).unwrap();
    assert_eq!(read(&engine, Uuid::from_u128(3), 0).unwrap().len(), 2_000);
    assert!(size(directory.path()) < before / 15);
}

#[test]
fn forgotten_versions_are_refused_and_the_latest_stays() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(HOUR));
    let engine = open(directory.path(), &clock);
    let uuid = create(&engine, 1);
    fill(&engine, uuid, 1);
    clock.set(2 * HOUR);
    for _ in 0..20 {
        engine
            .insert(uuid, noise(99, 0, 2_000), MergePolicy::Replace)
            .unwrap();
        engine.flush(uuid).unwrap();
    }
    clock.set(3 * HOUR);
    fill(&engine, uuid, 1);
    let latest = read(&engine, uuid, 0).unwrap();
    let before = size(directory.path());
    assert_eq!(engine.forget_versions(2 * HOUR).unwrap(), 21);
    assert_eq!(engine.forget_versions(2 * HOUR).unwrap(), 0);
    let error = engine.snapshot(uuid, 12).unwrap_err();
    assert!(error.to_string().contains("forgotten"), "{error}");
    assert!(matches!(error, Error::VersionNotAvailable { .. }));
    assert!(
        engine.snapshot(uuid, 10).is_ok(),
        "the empty version costs nothing"
    );
    assert!(engine.snapshot(uuid, 31).is_ok());
    engine.compact(&mut |_| {}).unwrap();
    assert!(size(directory.path()) * 4 < before);
    assert_eq!(read(&engine, uuid, 0).unwrap(), latest);
    assert_eq!(engine.forget_versions(3 * HOUR).unwrap(), 1);
    assert_eq!(engine.forget_versions(i64::MAX).unwrap(), 0);
    assert_eq!(read(&engine, uuid, 32).unwrap(), latest);
}

#[test]
fn a_reader_keeps_what_it_reads() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(HOUR));
    let engine = open(directory.path(), &clock);
    let uuid = create(&engine, 1);
    fill(&engine, uuid, 20);
    let expected = read(&engine, uuid, 0).unwrap();
    let mut reader = engine
        .snapshot(uuid, 0)
        .unwrap()
        .raw(TimeRange::new(ALL.0, ALL.1).unwrap());
    let first = reader.next_batch(100).unwrap().unwrap();
    engine.obliterate(uuid).unwrap();
    assert!(engine.snapshot(uuid, 0).is_err());
    let before = size(directory.path());
    assert_eq!(engine.compact(&mut |_| {}).unwrap().removed, 0);
    assert_eq!(size(directory.path()), before);
    let mut count = first.len();
    while let Some(batch) = reader.next_batch(10_000).unwrap() {
        count += batch.len();
    }
    assert_eq!(count, expected.len());
    drop(reader);
    assert!(engine.compact(&mut |_| {}).unwrap().removed > 0);
    assert_eq!(size(directory.path()), 0);
}

#[test]
fn retention_reclaims_space_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let last = 39_999 * 1_000_003;
    let clock = Arc::new(ManualClock::new(last));
    let engine = open(directory.path(), &clock);
    let uuid = create(&engine, 1);
    engine.set_stream_retention(uuid, Some(HOUR)).unwrap();
    fill(&engine, uuid, 20);
    let before = size(directory.path());
    // The last point is kept for another nanosecond, and so are the versions made at its time.
    clock.set(last + HOUR - 1);
    engine.maintain().unwrap();
    assert_eq!(read(&engine, uuid, 0).unwrap().times, [last]);
    assert_eq!(read(&engine, uuid, 15).unwrap().len(), 10_000);
    clock.set(last + 2 * HOUR);
    engine.maintain().unwrap();
    assert_eq!(read(&engine, uuid, 0).unwrap().len(), 0);
    let error = engine.snapshot(uuid, 15).unwrap_err();
    assert!(error.to_string().contains("forgotten"), "{error}");
    // The last segment stays, because it is still written to.
    let after = size(directory.path());
    assert!(after < before / 4, "{after} of {before}");
}

#[test]
fn reads_continue_while_segments_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(HOUR));
    let engine = open(directory.path(), &clock);
    let kept = create(&engine, 1);
    fill(&engine, kept, 4);
    let expected = read(&engine, kept, 0).unwrap();
    let done = AtomicBool::new(false);
    let (done, engine, expected) = (&done, &engine, &expected);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    assert_eq!(&read(engine, kept, 0).unwrap(), expected);
                }
            });
        }
        for round in 0..10 {
            let other = create(engine, 100 + round);
            fill(engine, other, 3);
            engine.obliterate(other).unwrap();
            engine.compact(&mut |_| {}).unwrap();
        }
        done.store(true, Ordering::Release);
    });
}

/// A clock that jumps ahead by mistake costs at most two hours of points per run.
#[test]
fn a_clock_that_jumps_ahead_does_not_empty_streams() {
    const NOW: i64 = 1_700_000_000_000_000_000;
    const YEAR: i64 = 365 * 24 * HOUR;
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOW));
    let uuid = Uuid::from_u128(1);
    let times: Vec<i64> = (0..48).map(|hour| NOW - hour * HOUR).rev().collect();
    let count = |engine: &Engine| {
        let snapshot = engine.snapshot(uuid, 0).unwrap();
        snapshot.count(TimeRange::ALL).unwrap()
    };
    {
        let engine = open(directory.path(), &clock);
        engine
            .create(NewStream {
                uuid,
                collection: "jump".to_owned(),
                ..NewStream::default()
            })
            .unwrap();
        let points = Points {
            values: times.iter().map(|_| 1.0).collect(),
            times,
        };
        engine.insert(uuid, points, MergePolicy::Never).unwrap();
        engine.set_stream_retention(uuid, Some(30 * HOUR)).unwrap();
        engine.maintain().unwrap();
        assert_eq!(count(&engine), 31);
        assert!(engine.retention_behind().is_zero());
        clock.set(NOW + 10 * YEAR);
        engine.maintain().unwrap();
        assert!((28..=29).contains(&count(&engine)), "{}", count(&engine));
        assert!(engine.retention_behind() > std::time::Duration::from_hours(9 * 365 * 24));
    }
    // A restart does not catch up at once either.
    let engine = open(directory.path(), &clock);
    engine.maintain().unwrap();
    assert!((26..=27).contains(&count(&engine)), "{}", count(&engine));
    clock.set(NOW + 5 * HOUR);
    engine.maintain().unwrap();
    assert!(engine.retention_behind().is_zero());
    assert!((25..=27).contains(&count(&engine)), "{}", count(&engine));
}
