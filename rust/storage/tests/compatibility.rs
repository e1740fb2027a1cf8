//! Directories written by earlier builds open and return what they did then; those of later builds
//! are refused.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test fails by panicking, and extremes are exact"
)]

mod copy;
mod fixture;
mod oracle;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use copy::copy_folder;
use fixture::{KEPT, LEFT, OBLITERATED, RANDOM, STREAMS, describe, read};
use pingthings_storage::{Engine, Error, ManualClock, NewStream, Options};
use uuid::Uuid;

/// Where the test that writes a fixture puts it; if unset, it writes none.
const NEW: &str = "STORAGE_FIXTURE";

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

fn open(directory: &Path, clock: &Arc<ManualClock>) -> Result<Engine, Error> {
    let clock = Arc::<ManualClock>::clone(clock);
    Engine::open_directory(directory, clock, Options::default())
}

fn copied(fixture: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(fixture, copy.path());
    copy
}

/// Compares the answers twice: as left, and after the buffers were committed.
fn check(fixture: &Path) {
    let copy = copied(fixture);
    let expected = std::fs::read_to_string(fixture.join("expected.txt")).unwrap();
    let clock = Arc::new(ManualClock::new(LEFT));
    let engine = open(copy.path(), &clock).unwrap();
    assert_eq!(describe(&engine, &[]), expected, "{}", fixture.display());
    let before = STREAMS.map(|uuid| read(&engine, uuid, 0).bytes());
    drop(engine);
    let engine = open(copy.path(), &clock).unwrap();
    for (uuid, before) in STREAMS.into_iter().zip(before) {
        assert_eq!(engine.version(uuid).unwrap().minor, 0);
        assert_eq!(read(&engine, uuid, 0).bytes(), before);
    }
}

#[test]
fn every_earlier_format_reads_as_it_did() {
    let fixtures = fixtures();
    assert!(!fixtures.is_empty());
    for fixture in fixtures {
        check(&fixture);
    }
}

/// Ensures that the next fixture can be written when it is needed.
#[test]
fn what_this_build_writes_reads_as_it_was_written() {
    let fixture = tempfile::tempdir().unwrap();
    fixture::write(fixture.path());
    check(fixture.path());
}

#[test]
fn every_earlier_format_goes_on() {
    for fixture in fixtures() {
        let copy = copied(&fixture);
        let clock = Arc::new(ManualClock::new(LEFT));
        let engine = open(copy.path(), &clock).unwrap();
        let stream = |uuid| NewStream {
            uuid,
            collection: "new".to_owned(),
            ..NewStream::default()
        };
        let burnt = engine.create(stream(OBLITERATED)).unwrap_err();
        assert_eq!(burnt.code().number(), 429);
        engine.create(stream(Uuid::from_u128(1))).unwrap();
        let kept = read(&engine, RANDOM, 0).between(LEFT - KEPT / 4, i64::MAX);
        assert!(!kept.is_empty());
        clock.set(LEFT + 3 * KEPT / 4);
        engine.maintain().unwrap();
        assert_eq!(
            read(&engine, RANDOM, 0).between(i64::MIN, i64::MAX),
            kept,
            "its retention is known"
        );
    }
}

/// The directory is not changed: the build that wrote it must still be able to open it.
#[test]
fn a_later_format_is_refused_and_not_touched() {
    for fixture in fixtures() {
        for name in ["segments", "journal", "catalog.sqlite"] {
            let copy = copied(&fixture);
            let file = make_later(copy.path(), name);
            let before = std::fs::read(&file).unwrap();
            let error = open(copy.path(), &Arc::new(ManualClock::new(LEFT))).unwrap_err();
            assert!(
                matches!(error, Error::FormatVersion { found: 1_000, .. }),
                "{error}"
            );
            assert_eq!(error.code().number(), 502);
            let text = error.to_string();
            assert!(text.contains(name) && text.contains("1000"), "{text}");
            assert_eq!(std::fs::read(&file).unwrap(), before);
        }
    }
}

/// Writes version 1000 to the place that the format of the file has for it.
fn make_later(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    if name == "catalog.sqlite" {
        let catalog = rusqlite::Connection::open(&path).unwrap();
        catalog.pragma_update(None, "user_version", 1_000).unwrap();
        return path;
    }
    let path = if path.is_dir() {
        let files = std::fs::read_dir(path).unwrap();
        files.map(|entry| entry.unwrap().path()).min().unwrap()
    } else {
        path
    };
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4..8].copy_from_slice(&1_000u32.to_le_bytes());
    let mut crc = crc32c::crc32c(&bytes[..12]);
    // The checksum covers the generation of a rewritten segment.
    let generation = path.extension().map(|text| text.to_str().unwrap());
    if let Some(generation) = generation {
        let generation: u32 = generation.parse().unwrap();
        crc = crc32c::crc32c_append(crc, &generation.to_le_bytes());
    }
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Run with `STORAGE_FIXTURE=tests/fixtures/format-N` before the format changes once more.
#[test]
#[ignore = "writes a fixture; there is one for each format"]
fn write_a_fixture() {
    if let Some(path) = std::env::var_os(NEW) {
        fixture::write(Path::new(&path));
    }
}
