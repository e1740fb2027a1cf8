//! The disk is full: the calls that fail say so and change nothing else, and the engine continues
//! once there is space.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why it was skipped"
)]

mod faults;
mod inserts;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use faults::{Fault, Loss, Machine, MachineCatalog};
use inserts::{Known, STREAMS, Scenario, batch, check, pairs, read};
use pingthings_storage::{Durability, Engine, Error, NewStream, Options, SystemClock};
use pingthings_types::{MergePolicy, Points, TimeRange};
use uuid::Uuid;

const VICTIM: Uuid = Uuid::from_u128(3);

fn stream(at: usize) -> NewStream {
    NewStream {
        uuid: STREAMS[at],
        collection: format!("full/{at}"),
        ..NewStream::default()
    }
}

/// Checks that the error says that the disk is full, not merely that something failed.
fn assert_says_full(error: &Error) {
    let text = error.to_string();
    assert!(
        ["no storage space", "full", "No space left"]
            .iter()
            .any(|words| text.contains(words)),
        "{text}"
    );
    assert!([432, 434, 440].contains(&error.code().number()), "{text}");
}

/// Obliterates a third stream, so that there is space to reclaim.
fn reclaim(engine: &Engine) -> Result<(), Error> {
    match engine.obliterate(VICTIM) {
        Ok(()) | Err(Error::NoSuchStream { .. }) => {}
        Err(error) => return Err(error),
    }
    engine.compact(&mut |_| {}).map(|_| ())
}

fn add_victim(engine: &Engine) -> Result<(), Error> {
    engine.create(NewStream {
        uuid: VICTIM,
        collection: "full/victim".to_owned(),
        ..NewStream::default()
    })?;
    for number in 0..4 {
        engine.insert(VICTIM, batch(number), MergePolicy::Never)?;
        engine.flush(VICTIM)?;
    }
    Ok(())
}

/// Fills the disk from operation `at` on. Returns the number of operations, and whether the sync of
/// a segment failed, so that only a restart helped.
fn fill(scenario: Scenario, at: usize) -> (usize, bool) {
    let machine = Machine::new(Fault::Full(at));
    let catalog = MachineCatalog::new(&machine);
    let engine = scenario
        .open(Arc::clone(&machine) as _, Arc::clone(&catalog) as _)
        .unwrap();
    let mut known = <[Known; 2]>::default();
    let are_created = [0, 1].map(|at| engine.create(stream(at)));
    let mut others = Vec::new();
    if are_created.iter().all(Result::is_ok) {
        scenario.work(&engine, &mut known, 0..10);
        others.extend(add_victim(&engine).err());
        scenario.work(&engine, &mut known, 10..20);
        others.extend(reclaim(&engine).err());
        check(&engine, &known, false);
    }
    others.iter().for_each(assert_says_full);
    for error in are_created
        .iter()
        .filter_map(|result| result.as_ref().err())
    {
        assert_says_full(error);
    }
    for error in known.iter_mut().flat_map(|known| known.errors.drain(..)) {
        assert_says_full(&error);
    }
    let count = machine.count();
    machine.free_space();
    for (at, created) in are_created.iter().enumerate() {
        if created.is_err() {
            engine.create(stream(at)).unwrap();
        }
    }
    scenario.work(&engine, &mut known, 20..40);
    reclaim(&engine).unwrap();
    check(&engine, &known, false);
    let is_lost = machine.has_lost();
    for error in known.iter_mut().flat_map(|known| known.errors.drain(..)) {
        assert!(is_lost, "{at}: not as before: {error}");
        assert!(error.to_string().contains("restart"), "{error}");
    }
    if is_lost {
        // Which bytes of the segment were written is unknown, which takes a restart.
        drop(engine);
        let engine = scenario.open(Arc::clone(&machine) as _, catalog).unwrap();
        check(&engine, &known, false);
        scenario.work(&engine, &mut known, 40..60);
        assert!(known.iter().all(|known| known.errors.is_empty()));
        check(&engine, &known, false);
        drop(engine);
    } else {
        engine.close().unwrap();
        drop(engine);
    }
    let losses = match scenario.durability {
        Durability::Synced => &Loss::ALL[..],
        // A power failure may lose inserts whose sync nobody waited for.
        Durability::Relaxed => &[Loss::Nothing],
    };
    for &loss in losses {
        let (blocks, catalog) = machine.restart(loss);
        let engine = scenario
            .open(blocks, catalog)
            .unwrap_or_else(|error| panic!("{scenario:?} {at} {loss:?}: {error}"));
        check(&engine, &known, false);
        if losses.ends_with(&[loss]) {
            // The later restarts share this catalog, so only the last one may change it.
            reclaim(&engine).unwrap();
            check(&engine, &known, false);
        }
    }
    (count, is_lost)
}

#[test]
fn a_full_disk_says_so_and_goes_on_with_room() {
    let synced = Scenario::all(Durability::Synced);
    for scenario in synced.chain(Scenario::all(Durability::Relaxed)) {
        let (all, _) = fill(scenario, usize::MAX);
        assert!(all > 25, "{all} operations are too few to fail");
        let lost = (0..all).filter(|&at| fill(scenario, at).1).count();
        assert!(0 < lost && lost < all / 2, "{lost} of {all}");
    }
}

/// A separate file system of a few megabytes.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Result<Self, String> {
        let place = tempfile::tempdir().unwrap();
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
            .arg(place.path())
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(Self(place))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// Incompressible values.
fn noise(number: i64, count: i64) -> Points {
    let mut state = number.unsigned_abs() * 7_919 + 1;
    let mut points = Points::default();
    for at in 0..count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let jitter = i64::from(state.to_le_bytes()[0]);
        points.times.push((number * count + at) * 1_000 + jitter);
        points.values.push(f64::from_bits(state >> 2));
    }
    points
}

#[test]
fn a_small_file_system_fills_up_and_gets_space() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(reason) => {
            eprintln!("skipped: cannot mount a small file system: {reason}");
            return;
        }
    };
    let directory = disk.path().join("data");
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let options = Options {
        buffer_points: 2_000,
        segment_bytes: 200_000,
        journal_file_bytes: 100_000,
        ..Options::default()
    };
    let open = || Engine::open_directory(&directory, Arc::new(SystemClock), options.clone());
    let engine = open().unwrap();
    engine.create(stream(0)).unwrap();
    let mut stored = Vec::new();
    // More than fits, in inserts that are buffered and some that are not.
    let mut insert = |engine: &Engine, number: i64| {
        let points = noise(number, 150 + number % 7 * 300);
        let result = engine.insert(STREAMS[0], points.clone(), MergePolicy::Never);
        if result.is_ok() {
            stored.extend(pairs(&points));
        }
        result.map(|_| stored.clone())
    };
    let (mut failures, mut number) = (0, 0);
    while failures < 20 {
        number += 1;
        assert!(number < 2_000, "the file system is larger than it was made");
        if let Err(error) = insert(&engine, number) {
            assert_says_full(&error);
            failures += 1;
        }
    }
    if let Err(error) = engine.create(stream(1)) {
        assert_says_full(&error);
    }
    if let Err(error) = engine.delete(STREAMS[0], TimeRange::new(0, 1).unwrap()) {
        assert_says_full(&error);
    }
    std::fs::remove_file(&ballast).unwrap();
    let mut expected = insert(&engine, 5_000).unwrap();
    expected.sort_by_key(|pair| pair.0);
    engine.flush(STREAMS[0]).unwrap();
    assert_eq!(read(&engine, STREAMS[0], 0), expected);
    drop(engine);
    assert_eq!(read(&open().unwrap(), STREAMS[0], 0), expected);
}
