//! Compares the answers of a store about one stream with those of a list of points.

use pingthings_storage::{ChangeReader, Engine, Error, RawReader, Snapshot, WindowReader};
use pingthings_types::{
    AlignedWindows, MAX_TIME, MIN_TIME, PointWidth, PreciseWindows, RawPoint, TimeRange, Windows,
};
use uuid::Uuid;

use crate::action::StreamAction;
use crate::oracle::{List, Oracle, aligned, assert_same_windows, precise};

pub(crate) fn range(start: i64, length: i64) -> Option<TimeRange> {
    TimeRange::new(start, start.saturating_add(length).min(MAX_TIME - 1)).ok()
}

fn raw(mut reader: RawReader, max: usize) -> Vec<RawPoint> {
    let mut points = Vec::new();
    while let Some(batch) = reader.next_batch(max).unwrap() {
        assert!(!batch.is_empty() && batch.len() <= max);
        points.extend(batch.iter());
    }
    points
}

fn changes(mut reader: ChangeReader, max: usize) -> Vec<(i64, i64)> {
    let mut ranges = Vec::new();
    while let Some(batch) = reader.next_batch(max).unwrap() {
        assert!(!batch.is_empty() && batch.len() <= max);
        ranges.extend(batch);
    }
    ranges
}

fn windows(mut reader: WindowReader, max: usize) -> Windows {
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

/// The version to ask for: 0 for the latest, otherwise any number from before the first to the
/// last.
fn pick(oracle: &Oracle, version: usize) -> u64 {
    match version {
        0 | 1 => 0,
        n => 9 + n as u64 % (oracle.version().major - 8),
    }
}

/// A version as the engine shows it and as it should be; `None` if it was forgotten.
pub(crate) fn open(
    engine: &Engine,
    uuid: Uuid,
    oracle: &Oracle,
    version: usize,
) -> Option<(Snapshot, List)> {
    let version = pick(oracle, version);
    let snapshot = engine.snapshot(uuid, version);
    if version != 0 && !oracle.is_there(version) {
        assert!(matches!(
            snapshot.unwrap_err(),
            Error::VersionNotAvailable { .. }
        ));
        return None;
    }
    Some((snapshot.unwrap(), oracle.at(version)))
}

/// Checks that a held snapshot reads as it did.
pub(crate) fn assert_same_points(snapshot: &Snapshot, list: &List) {
    let found = raw(snapshot.raw(TimeRange::ALL), 1_000);
    let found = found.iter().map(|p| (p.time, p.value)).collect();
    assert_eq!(List::of(found).bytes(), list.bytes());
}

fn compare_raw(snapshot: &Snapshot, list: &List, range: TimeRange, batch: usize) {
    let expected = list.between(range.start(), range.end());
    let found = raw(snapshot.raw(range), batch);
    assert_eq!(snapshot.count(range).unwrap(), expected.len() as u64);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.time, expected.0);
        assert_eq!(found.value.to_bits(), expected.1.to_bits());
    }
}

fn compare_changes(
    engine: &Engine,
    uuid: Uuid,
    oracle: &Oracle,
    (from, to): (u64, u64),
    deed: (PointWidth, usize),
) {
    let (width, batch) = deed;
    let answer = engine.changes(uuid, from, to, width);
    let empty = if from == 0 { 1 } else { from };
    if !oracle.is_there(empty) || (to != 0 && !oracle.is_there(to)) {
        assert!(matches!(
            answer.unwrap_err(),
            Error::VersionNotAvailable { .. }
        ));
        return;
    }
    let ranges = changes(answer.unwrap().1, batch);
    let (old, new) = (oracle.at(empty), oracle.at(to));
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

/// Asks the engine and the list the same question.
pub(crate) fn compare(engine: &Engine, uuid: Uuid, oracle: &Oracle, deed: &StreamAction) {
    let open = |version| open(engine, uuid, oracle, version);
    match *deed {
        StreamAction::Changes {
            from,
            to,
            resolution,
            batch,
        } => {
            let (mut from, mut to) = (pick(oracle, from), pick(oracle, to));
            if to != 0 && from > to {
                std::mem::swap(&mut from, &mut to);
            }
            let width = PointWidth::new(resolution).unwrap();
            compare_changes(engine, uuid, oracle, (from, to), (width, batch));
        }
        StreamAction::Raw {
            start,
            length,
            version,
            batch,
        } => {
            if let (Some(range), Some((snapshot, list))) = (range(start, length), open(version)) {
                compare_raw(&snapshot, &list, range, batch);
            }
        }
        StreamAction::Aligned {
            start,
            length,
            version,
            exponent,
            batch,
        } => {
            let width = PointWidth::new(exponent).unwrap();
            let wanted = range(start, length).and_then(|range| AlignedWindows::new(range, width));
            if let (Some(wanted), Some((snapshot, list))) = (wanted, open(version)) {
                let found = windows(snapshot.aligned_windows(wanted), batch);
                assert_same_windows(&found, &aligned(&list, wanted));
            }
        }
        StreamAction::Windows {
            start,
            length,
            version,
            width,
            batch,
        } => {
            let wanted =
                range(start, length).and_then(|range| PreciseWindows::new(range, width).unwrap());
            if let (Some(wanted), Some((snapshot, list))) = (wanted, open(version)) {
                let found = windows(snapshot.windows(wanted), batch);
                assert_same_windows(&found, &precise(&list, wanted));
            }
        }
        StreamAction::Nearest {
            time,
            backward,
            version,
        } => {
            if let Some((snapshot, list)) = open(version) {
                let found = snapshot.nearest(time, backward).unwrap();
                let bits = |p: (i64, f64)| (p.0, p.1.to_bits());
                let expected = list.nearest(time, backward).map(bits);
                assert_eq!(found.map(|p| bits((p.time, p.value))), expected);
            }
        }
        _ => {}
    }
}
