//! A segment of blocks that are none of ours but have checksums that fit, with the last one as
//! the root of a version: every answer is one or an error.
#![no_main]

use std::collections::BTreeMap;

use pingthings_fuzz::{Bytes, STREAM, Store, question, read};
use pingthings_storage::{
    Catalog, Commit, Engine, Error, FileKind, FileName, Options, Snapshot, fuzzing,
};
use pingthings_types::{AlignedWindows, MergePolicy, PointWidth, Points, TimeRange};

fn ask(engine: &Engine, snapshot: &Snapshot, bytes: &mut Bytes<'_>) -> Result<(), Error> {
    let start = (bytes.number::<8>() as i64).clamp(TimeRange::ALL.start(), TimeRange::ALL.end());
    let length = bytes.number::<8>() >> 2;
    let end = start
        .saturating_add_unsigned(length)
        .min(TimeRange::ALL.end());
    let width = PointWidth::new(u32::from(bytes.byte() % 64)).unwrap();
    if let Ok(range) = TimeRange::new(start, end) {
        let _ = question(snapshot, range, 1 + length / 7);
        if let Some(windows) = AlignedWindows::new(range, width) {
            let mut reader = snapshot.aligned_windows(windows);
            let _ = reader.next_batch(1_000);
        }
        let mut reader = snapshot.raw(range);
        for _ in 0..10 {
            if !matches!(reader.next_batch(500), Ok(Some(_))) {
                break;
            }
        }
    }
    let (_, mut changes) = engine.changes(STREAM, 0, 0, width)?;
    for _ in 0..10 {
        changes.next_batch(100)?;
    }
    Ok(())
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(data);
    let policy = MergePolicy::ALL[usize::from(bytes.byte() % 4)];
    let mut query = Bytes(bytes.take(17));
    let time = (query.0.first().copied().unwrap_or_default() as i8).into();
    let mut segment = fuzzing::first_header(FileKind::Segment);
    let mut root = None;
    while !bytes.is_empty() {
        let kind = bytes.byte();
        let offset = segment.len() as u32;
        root = Some(fuzzing::seal(&mut segment, offset, kind, bytes.part()));
    }
    let store = Store::new();
    store.put(FileName::segment(1), &segment);
    let head = store.catalog.head(STREAM).unwrap();
    let commit = Commit {
        stream: head.stream,
        major: head.major + 1,
        root,
        wall_ns: 1,
    };
    let lengths = BTreeMap::from([(1, segment.len() as u64)]);
    store.catalog.commit(&[commit], &lengths).unwrap();
    let options = Options {
        cache_bytes: 1 << 16,
        ..Options::default()
    };
    let engine = store.open(options).unwrap();
    let snapshot = engine.snapshot(STREAM, 0).unwrap();
    let _ = ask(&engine, &snapshot, &mut query);
    let _ = read(&snapshot);
    let points = Points {
        times: vec![time, time, 1 << 50],
        values: vec![1.0, 2.0, 3.0],
    };
    let _ = engine.insert(STREAM, points, policy);
    let _ = engine.flush(STREAM);
    let _ = engine.delete(STREAM, TimeRange::new(time, 1 << 40).unwrap());
    if let Ok(snapshot) = engine.snapshot(STREAM, 0) {
        let _ = read(&snapshot);
    }
});
