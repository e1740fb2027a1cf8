//! The journal stays short, however many streams have inserts in it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copy;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use copy::copy_folder;
use pingthings_storage::{Engine, ManualClock, NewStream, Options, SystemClock};
use pingthings_types::{MergePolicy, Points, TimeRange};
use uuid::Uuid;

const FILE: u64 = 100_000;

fn journal(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory.join("journal")).unwrap();
    // A file may be removed between listing it and reading its length.
    files
        .filter_map(|file| Some(file.unwrap().metadata().ok()?.len()))
        .sum()
}

#[test]
fn buffers_are_committed_before_the_journal_grows_long() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        journal_file_bytes: FILE,
        journal_files: 2,
        ..Options::default()
    };
    let open = || {
        Engine::open_directory(directory.path(), Arc::new(SystemClock), options.clone()).unwrap()
    };
    let engine = open();
    let streams: Vec<Uuid> = (1..=600).map(Uuid::from_u128).collect();
    for &uuid in &streams {
        let stream = NewStream {
            uuid,
            collection: uuid.to_string(),
            ..NewStream::default()
        };
        engine.create(stream).unwrap();
    }
    for round in 0..20 {
        for &uuid in &streams {
            let times: Vec<i64> = (round * 10..round * 10 + 10).collect();
            let points = Points {
                values: times.iter().map(|_| 1.5).collect(),
                times,
            };
            engine.insert(uuid, points, MergePolicy::Never).unwrap();
        }
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while journal(directory.path()) > 4 * FILE {
        assert!(
            Instant::now() < deadline,
            "{} bytes",
            journal(directory.path())
        );
        thread::yield_now();
    }
    let all = |engine: &Engine| {
        for &uuid in &streams {
            let snapshot = engine.snapshot(uuid, 0).unwrap();
            assert_eq!(snapshot.count(TimeRange::ALL).unwrap(), 200, "{uuid}");
        }
    };
    all(&engine);
    assert!(engine.version(streams[0]).unwrap().major > 10);
    assert!(engine.background_error().is_none());
    drop(engine);
    all(&open());
}

/// After opening, replayed inserts keep their age and their journal file.
#[test]
fn replayed_inserts_are_committed_in_time_and_their_file_is_removed() {
    let running = tempfile::tempdir().unwrap();
    let copied = tempfile::tempdir().unwrap();
    let uuid = Uuid::from_u128(1);
    let clock = Arc::new(ManualClock::new(0));
    let options = Options {
        buffer_age_ns: 1_000,
        ..Options::default()
    };
    let open = |directory: &Path| {
        let clock = Arc::<ManualClock>::clone(&clock);
        Engine::open_directory(directory, clock, options.clone()).unwrap()
    };
    {
        let engine = open(running.path());
        let stream = NewStream {
            uuid,
            collection: "replayed".to_owned(),
            ..NewStream::default()
        };
        engine.create(stream).unwrap();
        let points = Points {
            times: vec![1, 2, 3],
            values: vec![0.5; 3],
        };
        engine.insert(uuid, points, MergePolicy::Never).unwrap();
        copy_folder(running.path(), copied.path());
    }
    let engine = open(copied.path());
    assert_eq!(engine.version(uuid).unwrap().minor, 3);
    assert!(journal(copied.path()) > 0);
    clock.set(999);
    engine.maintain().unwrap();
    assert_eq!(engine.version(uuid).unwrap().minor, 3);
    clock.set(1_001);
    engine.maintain().unwrap();
    let version = engine.version(uuid).unwrap();
    assert_eq!((version.major, version.minor), (11, 0));
    assert_eq!(journal(copied.path()), 0);
}
