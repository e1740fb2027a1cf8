//! A part of a directory is lost, damaged or older than the rest. Either everything acknowledged is
//! there, or the directory is refused, by name and unchanged. Salvage opens it with what is intact,
//! lists what is missing, and leaves an ordinary directory.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod copy;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use copy::copy_folder;
use pingthings_storage::{Engine, Error, ManualClock, NewStream, Options};
use pingthings_types::{MergePolicy, Points, TimeRange};
use uuid::Uuid;

const STREAM: Uuid = Uuid::from_u128(1);
/// Inserts that fill a buffer, so they are in no journal file.
const LARGE: i64 = 12;
/// Inserts that are only in the journal.
const SMALL: i64 = 100;

fn open_with(directory: &Path, salvage: bool) -> Result<Engine, Error> {
    let options = Options {
        buffer_points: 1_000,
        segment_bytes: 10_000,
        salvage,
        ..Options::default()
    };
    Engine::open_directory(directory, Arc::new(ManualClock::new(0)), options)
}

fn open(directory: &Path) -> Result<Engine, Error> {
    open_with(directory, false)
}

fn insert(engine: &Engine, first: i64, count: i64) {
    let times: Vec<i64> = (first..first + count).collect();
    let points = Points {
        values: times.iter().map(|_| 0.5).collect(),
        times,
    };
    engine.insert(STREAM, points, MergePolicy::Never).unwrap();
}

fn times(engine: &Engine) -> Vec<i64> {
    let Ok(snapshot) = engine.snapshot(STREAM, 0) else {
        return Vec::new();
    };
    let mut reader = snapshot.raw(TimeRange::ALL);
    let mut found = Vec::new();
    while let Some(points) = reader.next_batch(10_000).unwrap() {
        found.extend(points.times);
    }
    found
}

/// The directory of a killed process, and the catalog as it was after each large insert.
struct Left {
    directory: tempfile::TempDir,
    catalogs: Vec<tempfile::TempDir>,
    expected: Vec<i64>,
}

impl Left {
    fn new(small: i64) -> Self {
        let running = tempfile::tempdir().unwrap();
        let stream = NewStream {
            uuid: STREAM,
            collection: "lost".to_owned(),
            ..NewStream::default()
        };
        open(running.path()).unwrap().create(stream).unwrap();
        let engine = open(running.path()).unwrap();
        let mut catalogs = Vec::new();
        for number in 0..LARGE {
            insert(&engine, number * 10_000, 1_500);
            let catalog = tempfile::tempdir().unwrap();
            copy_folder(running.path(), catalog.path());
            catalogs.push(catalog);
        }
        for number in 0..small {
            insert(&engine, 1_000_000 + number * 10, 7);
        }
        let directory = tempfile::tempdir().unwrap();
        copy_folder(running.path(), directory.path());
        let expected = times(&engine);
        Self {
            directory,
            catalogs,
            expected,
        }
    }

    fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(self.directory.path(), copy.path());
        copy
    }

    /// Opens a damaged directory: either it is refused by name, or everything is there. If it is
    /// refused, returns what salvage finds.
    fn check(&self, directory: &Path, what: &str) -> Option<Vec<i64>> {
        let before = files(directory);
        let error = match open(directory) {
            Ok(engine) => {
                assert_eq!(times(&engine), self.expected, "{what}");
                return None;
            }
            Err(error) => error.to_string(),
        };
        assert!(error.contains("--salvage"), "{what}: {error}");
        assert_eq!(files(directory), before, "{what}: it was touched");
        let found = {
            let engine = open_with(directory, true).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(!engine.missing().is_empty(), "{what}");
            let found = times(&engine);
            if engine.version(STREAM).is_ok() {
                insert(&engine, 5_000_000, 1);
            }
            found
        };
        assert!(
            found
                .iter()
                .all(|time| self.expected.binary_search(time).is_ok()),
            "{what}"
        );
        let engine = open(directory).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(engine.missing().is_empty());
        assert_eq!(times(&engine)[..found.len()], found, "{what}");
        Some(found)
    }
}

/// The content of the files that hold data.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(files(&path));
        } else if name != "lock" && !name.ends_with("-shm") {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

/// The last file of a folder.
fn last_of(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap();
    files.map(|entry| entry.unwrap().path()).max().unwrap()
}

#[test]
fn a_journal_that_lost_its_end_is_refused() {
    let left = Left::new(SMALL);
    let committed = usize::try_from(LARGE * 1_500).unwrap();
    let whole = fs::read(last_of(&left.directory.path().join("journal"))).unwrap();
    let half = whole.len() / 2;
    let zeroed = |range: std::ops::Range<usize>| {
        let mut bytes = whole.clone();
        bytes[range].fill(0);
        Some(bytes)
    };
    for (what, bytes) in [
        ("halved", Some(whole[..half].to_vec())),
        ("empty", Some(Vec::new())),
        ("cut behind its header", Some(whole[..1_536].to_vec())),
        ("deleted", None),
        ("zeroed", zeroed(0..whole.len())),
        ("zeroed in its first half", zeroed(0..half)),
        ("zeroed in its last half", zeroed(half..whole.len())),
        ("zeroed in its middle", zeroed(half..half + 500)),
    ] {
        let copy = left.copy();
        let path = last_of(&copy.path().join("journal"));
        match bytes {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let error = open(copy.path()).unwrap_err().to_string();
        assert!(error.contains("journal/0000000"), "{what}: {error}");
        let found = left.check(copy.path(), what).unwrap();
        assert!(found.len() >= committed, "{what}");
        if what == "halved" || what == "zeroed in its first half" {
            assert!(found.len() > committed + 100, "{what}: {}", found.len());
        }
    }
}

/// Frames that were confirmed while the journal was idle cannot get lost unnoticed either.
#[test]
fn not_even_the_last_frame_may_go_once_the_journal_was_at_rest() {
    let running = tempfile::tempdir().unwrap();
    let engine = open(running.path()).unwrap();
    engine
        .create(NewStream {
            uuid: STREAM,
            collection: "lost".to_owned(),
            ..NewStream::default()
        })
        .unwrap();
    insert(&engine, 0, 5);
    engine.maintain().unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_folder(running.path(), copy.path());
    let path = last_of(&copy.path().join("journal"));
    let bytes = fs::read(&path).unwrap();
    for length in [1_536, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = open(copy.path()).unwrap_err().to_string();
        assert!(error.contains("journal/0000000"), "{length}: {error}");
    }
}

fn catalog_of(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_catalog = |path: &PathBuf| path.to_string_lossy().contains("catalog.sqlite");
    paths.filter(is_catalog).collect()
}

#[test]
fn a_catalog_older_than_the_data_is_refused() {
    for small in [0, 1] {
        let left = Left::new(small);
        for (number, catalog) in left.catalogs.iter().enumerate() {
            let copy = left.copy();
            for path in catalog_of(copy.path()) {
                fs::remove_file(path).unwrap();
            }
            for path in catalog_of(catalog.path()) {
                fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
            }
            let what = format!("the catalog of insert {number}");
            let found = left.check(copy.path(), &what);
            // If nothing followed it, the missing commit may be that of a process that died, and is
            // completed.
            let is_last = left.catalogs.len() - number <= if small == 0 { 2 } else { 1 };
            assert_eq!(found.is_none(), is_last, "{what}");
            // Every commit has a record, so nothing is missing in the end.
            assert!(found.is_none_or(|found| found == left.expected), "{what}");
        }
    }
}

#[test]
fn a_damaged_log_of_the_catalog_costs_nothing_unnoticed() {
    let left = Left::new(0);
    let log = |directory: &Path| directory.join("catalog.sqlite-wal");
    let whole = fs::read(log(left.directory.path())).unwrap();
    let mut refused = 0;
    let steps = (0..whole.len()).step_by(whole.len() / 40);
    let flipped = steps.clone().map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        (format!("byte {at} of the log"), Some(bytes))
    });
    let cut = steps.map(|at| (format!("cut at {at}"), Some(whole[..at].to_vec())));
    for (what, bytes) in flipped.chain(cut).chain([("no log".to_owned(), None)]) {
        let copy = left.copy();
        match bytes {
            Some(bytes) => fs::write(log(copy.path()), bytes).unwrap(),
            None => fs::remove_file(log(copy.path())).unwrap(),
        }
        if open(copy.path()).is_err() {
            refused += 1;
            // It was left as it was: with the log repaired everything is there.
            let again = tempfile::tempdir().unwrap();
            copy_folder(copy.path(), again.path());
            fs::write(log(again.path()), &whole).unwrap();
            assert_eq!(left.check(again.path(), &what), None, "{what}");
        }
        left.check(copy.path(), &what);
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn a_lost_manifest_is_refused() {
    let left = Left::new(10);
    let copy = left.copy();
    fs::remove_dir_all(copy.path().join("manifest")).unwrap();
    let error = open(copy.path()).unwrap_err().to_string();
    assert!(error.contains("`manifest`"), "{error}");
    assert_eq!(
        left.check(copy.path(), "no manifest").unwrap(),
        left.expected
    );
    for name in ["00000001", "00000002"] {
        let path = Path::new("manifest").join(name);
        let whole = fs::read(left.directory.path().join(&path)).unwrap();
        for at in 0..whole.len() {
            let copy = left.copy();
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(copy.path().join(&path), bytes).unwrap();
            if let Ok(engine) = open(copy.path()) {
                assert_eq!(times(&engine), left.expected, "{name}, byte {at}");
            }
        }
    }
}

/// Uncommitted data are removed, but only after a while.
#[test]
fn unreferenced_data_are_set_aside() {
    let left = Left::new(0);
    let copy = left.copy();
    let segment = last_of(&copy.path().join("segments"));
    let mut bytes = fs::read(&segment).unwrap();
    let length = bytes.len();
    bytes.extend_from_slice(b"blocks nobody was told of");
    fs::write(&segment, &bytes).unwrap();
    let unknown = copy.path().join("segments/00000099");
    fs::write(&unknown, b"a segment nobody was told of").unwrap();
    assert_eq!(left.check(copy.path(), "more than was committed"), None);
    assert!(!unknown.exists());
    assert_eq!(fs::read(&segment).unwrap().len(), length);
    let aside = files(&copy.path().join("set-aside"));
    for text in ["blocks nobody was told of", "a segment nobody was told of"] {
        let has = |bytes: &&Vec<u8>| bytes.ends_with(text.as_bytes());
        assert_eq!(aside.values().filter(has).count(), 1, "{text}");
    }
    let month = 31 * 24 * 3_600 * 1_000_000_000;
    let clock = Arc::new(ManualClock::new(month));
    drop(Engine::open_directory(copy.path(), clock, Options::default()).unwrap());
    assert!(files(&copy.path().join("set-aside")).is_empty());
}
