//! Damaged bytes on disk: the engine reports an error or answers as before; it never returns wrong
//! data and never panics.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a test fails by panicking and its files are small"
)]

mod copy;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use copy::copy_folder;
use pingthings_storage::{Engine, Error, ManualClock, NewStream, Options};
use pingthings_types::{MergePolicy, Points, RawPoint, TimeRange};
use uuid::Uuid;

const STREAM: Uuid = Uuid::from_u128(0xdead);
/// Two of the inserts are committed, the others are only in the journal.
const COMMITTED: i64 = 2;
const INSERTS: i64 = 5;

type Found = Vec<(i64, u64)>;

fn open(directory: &Path) -> Result<Engine, Error> {
    Engine::open_directory(directory, Arc::new(ManualClock::new(0)), Options::default())
}

fn batch(number: i64) -> Points {
    let point = |at: i64| RawPoint {
        time: number * 1_000 + at * at,
        value: f64::from(number as i32) / 3.0,
    };
    (0..4).map(point).collect()
}

fn batches(count: i64) -> Found {
    (0..count)
        .flat_map(|number| batch(number).iter().collect::<Vec<_>>())
        .map(|p| (p.time, p.value.to_bits()))
        .collect()
}

fn read(engine: &Engine, version: u64) -> Result<Found, Error> {
    let mut reader = engine.snapshot(STREAM, version)?.raw(TimeRange::ALL);
    let mut found = Vec::new();
    while let Some(points) = reader.next_batch(100)? {
        found.extend(points.iter().map(|p| (p.time, p.value.to_bits())));
    }
    Ok(found)
}

/// The directory of a process that was killed after five inserts.
struct Left {
    directory: tempfile::TempDir,
    /// The catalog as it was after the first commit.
    old_catalog: tempfile::TempDir,
}

impl Left {
    fn new() -> Self {
        let running = tempfile::tempdir().unwrap();
        let left = Self {
            directory: tempfile::tempdir().unwrap(),
            old_catalog: tempfile::tempdir().unwrap(),
        };
        let engine = open(running.path()).unwrap();
        let stream = NewStream {
            uuid: STREAM,
            collection: "corruption".to_owned(),
            ..NewStream::default()
        };
        engine.create(stream).unwrap();
        for number in 0..INSERTS {
            engine
                .insert(STREAM, batch(number), MergePolicy::Never)
                .unwrap();
            if number < COMMITTED {
                engine.flush(STREAM).unwrap();
            }
            if number == 0 {
                copy_folder(running.path(), left.old_catalog.path());
            }
        }
        copy_folder(running.path(), left.directory.path());
        left
    }

    fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(self.directory.path(), copy.path());
        copy
    }

    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.directory.path().join(name)).unwrap()
    }
}

const JOURNAL: &str = "journal/00000001";
const SEGMENT: &str = "segments/00000001";

fn write(directory: &Path, name: &str, bytes: &[u8]) {
    fs::write(directory.join(name), bytes).unwrap();
}

/// The offsets of the frames in a journal file.
fn frames(journal: &[u8]) -> Vec<usize> {
    let starts = journal.windows(4).enumerate();
    starts
        .filter(|(_, window)| window == b"PTfs")
        .map(|(at, _)| at)
        .collect()
}

/// Only the last frame may be cut short, because it may not have been acknowledged. The frames
/// before it were.
#[test]
fn only_the_last_frame_of_the_journal_may_be_torn() {
    let left = Left::new();
    let whole = left.file(JOURNAL);
    let starts = frames(&whole);
    assert_eq!(starts.len() as i64, INSERTS);
    let last = starts[starts.len() - 1];
    for length in (0..=whole.len()).filter(|length| length % 3 == 0 || *length >= last - 1) {
        let copy = left.copy();
        write(copy.path(), JOURNAL, &whole[..length]);
        match open(copy.path()) {
            Ok(engine) => {
                assert!(length >= last, "cut at {length}");
                let kept = if length == whole.len() {
                    INSERTS
                } else {
                    INSERTS - 1
                };
                assert_eq!(read(&engine, 0).unwrap(), batches(kept), "cut at {length}");
            }
            Err(error @ Error::Damaged { .. }) => {
                assert!(length < last, "cut at {length}: {error}");
                assert!(error.to_string().contains(JOURNAL), "{error}");
                assert_eq!(
                    fs::read(copy.path().join(JOURNAL)).unwrap(),
                    whole[..length]
                );
            }
            Err(error) => panic!("cut at {length}: {error}"),
        }
    }
}

#[test]
fn a_flipped_bit_in_the_journal_is_noticed_or_does_not_matter() {
    let left = Left::new();
    let whole = left.file(JOURNAL);
    let starts = frames(&whole);
    let (first, last) = (starts[0], starts[starts.len() - 1]);
    for at in (0..whole.len()).filter(|at| *at < 20 || *at >= first || whole[*at] != 0) {
        let copy = left.copy();
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        write(copy.path(), JOURNAL, &bytes);
        match open(copy.path()) {
            Err(error @ Error::Damaged { .. }) => {
                assert!(error.to_string().contains(JOURNAL), "{error}");
                assert!(at < last, "byte {at}: {error}");
            }
            // Damage to the very last frame looks like a write that was cut short.
            Ok(engine) => {
                let is_frame = (first..last).contains(&at) || at < 16;
                assert!(!is_frame, "byte {at} went unnoticed");
                let kept = if at < last { INSERTS } else { INSERTS - 1 };
                assert_eq!(read(&engine, 0).unwrap(), batches(kept));
            }
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}

#[test]
fn a_flipped_bit_in_a_segment_is_noticed_or_does_not_matter() {
    let left = Left::new();
    let whole = left.file(SEGMENT);
    let mut noticed = 0;
    for at in 0..whole.len() {
        let copy = left.copy();
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        write(copy.path(), SEGMENT, &bytes);
        let Ok(engine) = open(copy.path()).inspect_err(|error| {
            assert!(matches!(error, Error::Damaged { .. }), "byte {at}: {error}");
        }) else {
            noticed += 1;
            continue;
        };
        for (version, count) in [(0, INSERTS), (11, 1), (12, 2)] {
            match read(&engine, version) {
                Ok(found) => assert_eq!(found, batches(count), "byte {at} version {version}"),
                Err(error) => {
                    assert!(matches!(error, Error::Damaged { .. }), "byte {at}: {error}");
                    assert!(error.to_string().contains(SEGMENT), "{error}");
                    noticed += 1;
                }
            }
        }
    }
    // The records of the two commits are read only if the catalog lacks them.
    let records = 2 * (12 + 36 + 4 + 36 + 4 + 12);
    assert!(
        noticed >= whole.len() - records,
        "every byte of every block of a tree is checked"
    );
}

#[test]
fn a_missing_or_short_segment_is_named() {
    let left = Left::new();
    let copy = left.copy();
    let path = copy.path().join(SEGMENT);
    let length = fs::metadata(&path).unwrap().len();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(length - 1).unwrap();
    for problem in ["is cut off", "is missing"] {
        let error = open(copy.path()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(SEGMENT) && text.contains(problem), "{text}");
        assert_eq!(error.code().number(), 432, "{text}");
        let _ = fs::remove_file(&path);
    }
}

/// Replaces the catalog in `directory`.
fn replace_catalog(directory: &Path, from: Option<&Path>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if is_catalog(&path) {
            fs::remove_file(path).unwrap();
        }
    }
    let Some(from) = from else { return };
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if is_catalog(&path) {
            fs::copy(&path, directory.join(path.file_name().unwrap())).unwrap();
        }
    }
}

fn is_catalog(path: &Path) -> bool {
    let name: PathBuf = path.file_name().unwrap().into();
    name.to_string_lossy().starts_with("catalog.sqlite")
}

/// Without its catalog, a segment would look unused.
#[test]
fn a_lost_old_or_foreign_catalog_costs_no_data() {
    let left = Left::new();
    let other = tempfile::tempdir().unwrap();
    let stream = NewStream {
        uuid: Uuid::from_u128(1),
        collection: "other".to_owned(),
        ..NewStream::default()
    };
    open(other.path()).unwrap().create(stream).unwrap();
    for from in [None, Some(other.path()), Some(left.old_catalog.path())] {
        let copy = left.copy();
        replace_catalog(copy.path(), from);
        let error = open(copy.path()).unwrap_err();
        assert!(matches!(error, Error::CatalogDamaged { .. }), "{error}");
        replace_catalog(copy.path(), Some(left.directory.path()));
        let engine = open(copy.path()).unwrap();
        assert_eq!(read(&engine, 0).unwrap(), batches(INSERTS));
        assert_eq!(read(&engine, 12).unwrap(), batches(2));
    }
}

#[test]
fn a_file_that_is_no_catalog_is_refused() {
    let left = Left::new();
    let copy = left.copy();
    replace_catalog(copy.path(), None);
    write(copy.path(), "catalog.sqlite", &[b'x'; 5_000]);
    let error = open(copy.path()).unwrap_err();
    assert!(matches!(error, Error::Catalog { .. }), "{error}");
}

#[test]
fn a_changed_row_of_the_catalog_is_damage() {
    let left = Left::new();
    let copy = left.copy();
    let catalog = rusqlite::Connection::open(copy.path().join("catalog.sqlite")).unwrap();
    let changed = catalog.execute("update versions set length = 4000 where major = 11", []);
    assert_eq!(changed.unwrap(), 1);
    drop(catalog);
    let engine = open(copy.path()).unwrap();
    let error = read(&engine, 11).unwrap_err();
    assert!(matches!(error, Error::CatalogDamaged { .. }), "{error}");
    assert!(error.to_string().contains("`versions`"), "{error}");
    assert_eq!(read(&engine, 0).unwrap(), batches(INSERTS));
}

#[test]
fn another_format_version_is_named() {
    let left = Left::new();
    for name in [SEGMENT, JOURNAL] {
        let copy = left.copy();
        let mut bytes = left.file(name);
        bytes[4..8].copy_from_slice(&77u32.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..12]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        write(copy.path(), name, &bytes);
        let error = open(copy.path()).unwrap_err();
        assert!(
            matches!(error, Error::FormatVersion { found: 77, .. }),
            "{error}"
        );
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// Whichever byte of the catalog changes, an answer is what was written, or an error.
#[test]
fn a_changed_catalog_answers_truly_or_not_at_all() {
    let whole = Left::new().copy();
    let open_whole = || open(whole.path()).unwrap();
    // Committed, so that everything is in the catalog.
    open_whole().flush(STREAM).unwrap();
    let versions: Vec<_> = {
        let engine = open_whole();
        let last = engine.version(STREAM).unwrap().major;
        (10..=last).map(|v| read(&engine, v).unwrap()).collect()
    };
    let bytes = fs::read(whole.path().join("catalog.sqlite")).unwrap();
    let (mut tried, mut refused, mut answered) = (0, 0, 0);
    // Zeros are mostly unused space.
    let used = (0..bytes.len()).filter(|&at| bytes[at] != 0);
    for at in used.step_by(7) {
        tried += 1;
        let copy = tempfile::tempdir().unwrap();
        copy_folder(whole.path(), copy.path());
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        replace_catalog(copy.path(), None);
        write(copy.path(), "catalog.sqlite", &damaged);
        let Ok(engine) = open(copy.path()) else {
            refused += 1;
            continue;
        };
        if let Ok(found) = engine.stream(STREAM) {
            assert_eq!(found.collection, "corruption", "byte {at}");
        }
        for (version, expected) in (10..)
            .zip(&versions)
            .chain([(0, &versions[versions.len() - 1])])
        {
            if let Ok(points) = read(&engine, version) {
                answered += 1;
                assert_eq!(&points, expected, "byte {at}, version {version}");
            }
        }
    }
    assert!(
        refused > 0 && answered > 0,
        "{refused} refused, {answered} answered of {tried}"
    );
}
