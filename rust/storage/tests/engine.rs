//! What the engine refuses, and its answers in edge cases.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking and its numbers are small"
)]

use std::process::id;
use std::sync::Arc;
use std::thread;

use pingthings_storage::{Engine, Error, ManualClock, NewStream, Options, Snapshot, SystemClock};
use pingthings_types::{
    MAX_INSERT_TIME, MAX_TIME, MIN_TIME, MergePolicy, Points, PreciseWindows, TimeRange, Version,
};
use uuid::Uuid;

const STREAM: Uuid = Uuid::from_u128(7);

fn engine() -> Engine {
    Engine::in_memory(Arc::new(ManualClock::new(0)), Options::default()).unwrap()
}

fn stream(uuid: Uuid, collection: &str) -> NewStream {
    NewStream {
        uuid,
        collection: collection.to_owned(),
        ..NewStream::default()
    }
}

fn with_stream() -> Engine {
    let engine = engine();
    engine.create(stream(STREAM, "a/b")).unwrap();
    engine
}

fn points(pairs: &[(i64, f64)]) -> Points {
    let (times, values) = pairs.iter().copied().unzip();
    Points { times, values }
}

fn insert(engine: &Engine, pairs: &[(i64, f64)]) -> Result<Version, Error> {
    engine.insert(STREAM, points(pairs), MergePolicy::Never)
}

fn read(snapshot: &Snapshot) -> Vec<(i64, f64)> {
    let mut reader = snapshot.raw(TimeRange::ALL);
    let mut found = Vec::new();
    while let Some(points) = reader.next_batch(1_000).unwrap() {
        found.extend(points.iter().map(|p| (p.time, p.value)));
    }
    found
}

fn latest(engine: &Engine) -> Vec<(i64, f64)> {
    read(&engine.snapshot(STREAM, 0).unwrap())
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> u32 {
    result.unwrap_err().code().number()
}

#[test]
fn a_directory_has_one_engine_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let open =
        || Engine::open_directory(directory.path(), Arc::new(SystemClock), Options::default());
    let first = open().unwrap();
    let Err(Error::Locked { path, pid }) = open() else {
        panic!("a second engine opened the directory");
    };
    assert_eq!((path.as_path(), pid), (directory.path(), id().to_string()));
    first.create(stream(STREAM, "a")).unwrap();
    insert(&first, &[(1, 2.0)]).unwrap();
    first.close().unwrap();
    drop(first);
    let second = open().unwrap();
    assert_eq!(latest(&second), [(1, 2.0)]);
    assert_eq!(
        second.version(STREAM).unwrap(),
        Version {
            major: 11,
            minor: 0
        }
    );
}

/// Of many simultaneous opens exactly one succeeds.
#[test]
fn a_race_for_a_directory_has_one_winner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(move || {
                    Engine::open_directory(path, Arc::new(SystemClock), Options::default())
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error, Error::Locked { .. }), "{error}");
    }
}

#[test]
fn a_closed_engine_refuses_calls_and_its_snapshots_stay_readable() {
    let engine = with_stream();
    insert(&engine, &[(1, 2.0)]).unwrap();
    let snapshot = engine.snapshot(STREAM, 0).unwrap();
    engine.close().unwrap();
    engine.close().unwrap();
    assert!(matches!(insert(&engine, &[(2, 2.0)]), Err(Error::Closed)));
    assert!(matches!(engine.flush(STREAM), Err(Error::Closed)));
    assert!(matches!(engine.version(STREAM), Err(Error::Closed)));
    assert!(matches!(engine.snapshot(STREAM, 0), Err(Error::Closed)));
    assert!(matches!(engine.collections(""), Err(Error::Closed)));
    let other = stream(Uuid::from_u128(8), "a");
    assert!(matches!(engine.create(other), Err(Error::Closed)));
    assert_eq!(read(&snapshot), [(1, 2.0)]);
}

#[test]
fn an_unknown_stream_is_404_everywhere() {
    let engine = engine();
    assert_eq!(code(insert(&engine, &[(1, 2.0)])), 404);
    assert_eq!(code(insert(&engine, &[])), 404);
    assert_eq!(code(engine.flush(STREAM)), 404);
    assert_eq!(code(engine.version(STREAM)), 404);
    assert_eq!(code(engine.stream(STREAM)), 404);
    assert_eq!(code(engine.snapshot(STREAM, 0)), 404);
    assert_eq!(code(engine.snapshot(STREAM, 11)), 404);
    // A failed lookup must not prevent its creation.
    engine.create(stream(STREAM, "a")).unwrap();
    assert_eq!(engine.version(STREAM).unwrap().major, 10);
}

#[test]
fn versions_count_commits_and_see_no_buffer() {
    let engine = with_stream();
    assert_eq!(latest(&engine), []);
    let version = |major, minor| Version { major, minor };
    assert_eq!(insert(&engine, &[]).unwrap(), version(10, 0));
    assert_eq!(engine.flush(STREAM).unwrap(), version(10, 0));
    assert_eq!(insert(&engine, &[(1, 1.0)]).unwrap(), version(10, 1));
    assert_eq!(
        insert(&engine, &[(3, 3.0), (2, 2.0)]).unwrap(),
        version(10, 3)
    );
    assert_eq!(engine.flush(STREAM).unwrap(), version(11, 0));
    assert_eq!(insert(&engine, &[(4, 4.0)]).unwrap(), version(11, 1));
    let all = [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)];
    let now = engine.snapshot(STREAM, 0).unwrap();
    assert_eq!((now.version(), read(&now)), (version(11, 1), all.to_vec()));
    let committed = engine.snapshot(STREAM, 11).unwrap();
    assert_eq!(
        (committed.version(), read(&committed)),
        (version(11, 0), all[..3].to_vec())
    );
    for empty in 1..=10 {
        assert_eq!(read(&engine.snapshot(STREAM, empty).unwrap()), []);
    }
    for future in [12, 13, u64::MAX] {
        assert_eq!(code(engine.snapshot(STREAM, future)), 450);
    }
    engine.flush(STREAM).unwrap();
    assert_eq!(read(&now), all);
    assert_eq!(read(&engine.snapshot(STREAM, 12).unwrap()), all);
}

#[test]
fn one_bad_point_refuses_the_whole_insert() {
    let engine = with_stream();
    let nans = [
        0x7ff8_0000_0000_0000,
        0xfff8_0000_0000_0000,
        0x7ff0_0000_0000_0001,
        0xffff_ffff_ffff_ffff,
    ];
    let bad = nans
        .map(f64::from_bits)
        .into_iter()
        .chain([f64::INFINITY, f64::NEG_INFINITY]);
    for value in bad {
        assert_eq!(code(insert(&engine, &[(1, 1.0), (2, value)])), 425);
    }
    for time in [MIN_TIME - 1, MAX_TIME - 1, MAX_TIME, i64::MIN, i64::MAX] {
        assert_eq!(code(insert(&engine, &[(1, 1.0), (time, 1.0)])), 413);
    }
    let uneven = Points {
        times: vec![1, 2],
        values: vec![1.0],
    };
    assert!(engine.insert(STREAM, uneven, MergePolicy::Never).is_err());
    assert_eq!(latest(&engine), []);
    assert_eq!(engine.version(STREAM).unwrap().minor, 0);
}

#[test]
fn both_ends_of_time_and_special_values_survive() {
    let engine = with_stream();
    let special = [
        -0.0,
        0.0,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        -f64::from_bits(1),
    ];
    let mut pairs = vec![(MIN_TIME, 1.5), (MAX_INSERT_TIME, -1.5)];
    pairs.extend(special.iter().enumerate().map(|(at, v)| (at as i64, *v)));
    insert(&engine, &pairs).unwrap();
    pairs.sort_by_key(|pair| pair.0);
    let bits = |pairs: &[(i64, f64)]| -> Vec<(i64, u64)> {
        pairs.iter().map(|(t, v)| (*t, v.to_bits())).collect()
    };
    assert_eq!(bits(&latest(&engine)), bits(&pairs));
    engine.flush(STREAM).unwrap();
    assert_eq!(bits(&latest(&engine)), bits(&pairs));
}

#[test]
fn nearest_is_inclusive_forward_and_exclusive_backward() {
    let engine = with_stream();
    let at = |time, backward| {
        let snapshot = engine.snapshot(STREAM, 0).unwrap();
        snapshot
            .nearest(time, backward)
            .map(|p| p.map(|p| (p.time, p.value)))
    };
    assert_eq!(at(0, false).unwrap(), None);
    insert(&engine, &[(10, 1.0), (20, 2.0)]).unwrap();
    for _ in 0..2 {
        assert_eq!(at(20, false).unwrap(), Some((20, 2.0)));
        assert_eq!(at(21, false).unwrap(), None);
        assert_eq!(at(10, true).unwrap(), None);
        assert_eq!(at(11, true).unwrap(), Some((10, 1.0)));
        assert_eq!(at(MAX_TIME - 1, true).unwrap(), Some((20, 2.0)));
        assert_eq!(at(MIN_TIME, false).unwrap(), Some((10, 1.0)));
        for outside in [MIN_TIME - 1, MAX_TIME, i64::MIN, i64::MAX] {
            assert_eq!(code(at(outside, true)), 413);
            assert_eq!(code(at(outside, false)), 413);
        }
        engine.flush(STREAM).unwrap();
    }
}

#[test]
fn an_old_buffer_is_committed_by_the_clock() {
    let clock = Arc::new(ManualClock::new(0));
    let options = Options {
        buffer_age_ns: 1_000,
        ..Options::default()
    };
    let engine = Engine::in_memory(Arc::clone(&clock) as _, options).unwrap();
    engine.create(stream(STREAM, "a")).unwrap();
    insert(&engine, &[(1, 1.0)]).unwrap();
    clock.set(999);
    engine.maintain().unwrap();
    assert_eq!(engine.version(STREAM).unwrap().minor, 1);
    clock.set(1_000);
    engine.maintain().unwrap();
    let version = engine.version(STREAM).unwrap();
    assert_eq!((version.major, version.minor), (11, 0));
}

#[test]
fn writers_of_one_stream_lose_nothing_to_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        buffer_points: 300,
        ..Options::default()
    };
    let open = || {
        Engine::open_directory(directory.path(), Arc::new(SystemClock), options.clone()).unwrap()
    };
    let expected: Vec<_> = (0..4_000).map(|i| (i, i as f64)).collect();
    {
        let engine = open();
        engine.create(stream(STREAM, "a")).unwrap();
        thread::scope(|scope| {
            for writer in 0..4 {
                let (engine, expected) = (&engine, &expected);
                scope.spawn(move || {
                    for batch in 0..50 {
                        let from = (batch * 4 + writer) * 20;
                        insert(engine, &expected[from..from + 20]).unwrap();
                    }
                });
            }
            scope.spawn(|| {
                let mut seen = 0;
                while seen < expected.len() {
                    let now = latest(&engine).len();
                    assert!(now >= seen, "{now} points after {seen}");
                    seen = now;
                }
            });
        });
        assert_eq!(latest(&engine), expected);
    }
    assert_eq!(latest(&open()), expected);
}

/// Zero and minus zero are different values, in the buffer and in the tree.
#[test]
fn equal_keeps_zero_and_minus_zero_apart() {
    let (engine, uuid) = (with_stream(), STREAM);
    let insert = |values: &[f64]| {
        let points = Points {
            times: vec![5; values.len()],
            values: values.to_vec(),
        };
        engine.insert(uuid, points, MergePolicy::Equal).unwrap();
        let mut reader = engine.snapshot(uuid, 0).unwrap().raw(TimeRange::ALL);
        let found = reader.next_batch(100).unwrap().unwrap();
        found.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
    };
    let (zero, minus) = (0.0_f64.to_bits(), (-0.0_f64).to_bits());
    assert_eq!(insert(&[0.0]), [zero]);
    assert_eq!(insert(&[-0.0, 0.0]), [zero, minus]);
    assert_eq!(insert(&[-0.0]), [zero, minus]);
    engine.flush(uuid).unwrap();
    assert_eq!(insert(&[-0.0, 0.0]), [zero, minus]);
}

/// Windows that end at the border of a bucket, one nanosecond before it, and one after it.
#[test]
fn a_window_has_no_point_beyond_its_end() {
    let (engine, uuid) = (with_stream(), STREAM);
    let times: Vec<i64> = (-20_000..70_000).collect();
    let points = Points {
        values: times.iter().map(|&time| time as f64).collect(),
        times,
    };
    engine.insert(uuid, points, MergePolicy::Never).unwrap();
    engine.flush(uuid).unwrap();
    let snapshot = engine.snapshot(uuid, 0).unwrap();
    for exponent in [0, 2, 8, 14] {
        for width in [-1, 0, 1].map(|off| (1_i64 << exponent) + off) {
            for start in [-1_i64, 0, 1, 255, 16_383] {
                let Ok(range) = TimeRange::new(start, start + 3 * width.max(0)) else {
                    continue;
                };
                let width = width.unsigned_abs();
                let windows = PreciseWindows::new(range, width).unwrap().unwrap();
                let found = snapshot.windows(windows).next_batch(10).unwrap().unwrap();
                assert_eq!(found.counts, [width; 3], "{start} {width}");
                for at in 0..3_usize {
                    let first = start + (at as u64 * width) as i64;
                    let last = first + width as i64 - 1;
                    assert_eq!(found.mins[at].to_bits(), (first as f64).to_bits());
                    assert_eq!(found.maxs[at].to_bits(), (last as f64).to_bits());
                }
            }
        }
    }
}
