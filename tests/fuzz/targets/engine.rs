//! Any sequence of inserts, flushes, deletes, restarts and reads agrees with a list of points.
#![no_main]

#[path = "../../../rust/storage/tests/oracle/mod.rs"]
mod oracle;

use oracle::{Oracle, assert_same_windows, precise};
use pingthings_fuzz::{Bytes, STREAM, Store, read};
use pingthings_storage::{Engine, Options};
use pingthings_types::{MergePolicy, Points, PreciseWindows, TimeRange};

const LIMIT: usize = 1_000;

fn open(store: &Store) -> Engine {
    let options = Options {
        buffer_points: LIMIT,
        segment_bytes: 10_000,
        ..Options::default()
    };
    store.open(options).unwrap()
}

fn time(bytes: &mut Bytes<'_>) -> i64 {
    i64::from(bytes.byte() as i8) << (bytes.byte() % 52)
}

/// A list compares every new point with every old one, except where nothing is merged.
fn batch(bytes: &mut Bytes<'_>, policy: MergePolicy) -> Vec<(i64, f64)> {
    let start = time(bytes);
    let step = i64::from(bytes.byte() % 4) << (bytes.byte() % 40);
    let many = if policy == MergePolicy::Never {
        4_200
    } else {
        50
    };
    let count = [1, 2, 3, 20, 200, many][usize::from(bytes.byte() % 6)];
    let value = f64::from(bytes.byte());
    (0..count)
        .map(|at| (start + at * step, value + (at % 5) as f64))
        .collect()
}

fn check(engine: &Engine, oracle: &Oracle, bytes: &mut Bytes<'_>) {
    let latest = engine.version(STREAM).unwrap();
    assert_eq!(latest, oracle.version());
    let version = match bytes.byte() {
        0..100 => 0,
        byte => 10 + u64::from(byte) % (latest.major - 9),
    };
    let snapshot = engine.snapshot(STREAM, version).unwrap();
    let list = oracle.at(version);
    let expected = list.between(i64::MIN, i64::MAX);
    let expected: Vec<_> = expected.iter().map(|p| (p.0, p.1.to_bits())).collect();
    assert_eq!(read(&snapshot).unwrap(), expected);
    let start = time(bytes);
    let Ok(range) = TimeRange::new(start, start + (1 << (bytes.byte() % 56))) else {
        return;
    };
    let backward = bytes.byte() % 2 == 0;
    let found = snapshot.nearest(start, backward).unwrap();
    assert_eq!(
        found.map(|p| (p.time, p.value)),
        list.nearest(start, backward)
    );
    let width = (range.width() / u64::from(1 + bytes.byte() % 60)).max(1);
    if let Some(windows) = PreciseWindows::new(range, width).unwrap() {
        let found = snapshot.windows(windows).next_batch(1_000).unwrap();
        assert_same_windows(&found.unwrap_or_default(), &precise(&list, windows));
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(data);
    let store = Store::new();
    let mut engine = open(&store);
    let mut oracle = Oracle::new(LIMIT);
    for _ in 0..20 {
        if bytes.is_empty() {
            break;
        }
        match bytes.byte() % 10 {
            policy @ 0..4 => {
                let policy = MergePolicy::ALL[usize::from(policy)];
                let pairs = batch(&mut bytes, policy);
                let (times, values) = pairs.iter().copied().unzip();
                let points = Points { times, values };
                engine.insert(STREAM, points, policy).unwrap();
                oracle.insert(&pairs, policy);
            }
            4 => {
                engine.flush(STREAM).unwrap();
                oracle.flush();
            }
            5 => {
                let (start, length) = (time(&mut bytes), 1 << (bytes.byte() % 56));
                let range = TimeRange::new(start, start + length).unwrap();
                engine.delete(STREAM, range).unwrap();
                oracle.delete(range.start(), range.end());
            }
            6 => {
                drop(engine);
                engine = open(&store);
                oracle.flush();
            }
            _ => check(&engine, &oracle, &mut bytes),
        }
    }
    check(&engine, &oracle, &mut Bytes(&[]));
});
