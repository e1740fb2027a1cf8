//! A process that inserts, forgets streams and reclaims their room is killed at any moment, again
//! and again; everything it was told is stored is there, once, what it was told is gone is gone,
//! and every version it was told of reads as it did.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking and its numbers are small"
)]

mod copy;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use copy::copy_folder;
use pingthings_storage::{Durability, Engine, NewStream, Options, SystemClock};
use pingthings_types::{MergePolicy, Points, RawPoint, TimeRange};
use uuid::Uuid;

/// Where the child works; unless set, there is no child.
const DIRECTORY: &str = "STORAGE_KILL_DIRECTORY";
/// The number of the batch each stream goes on with, separated by commas.
const STARTS: &str = "STORAGE_KILL_STARTS";
const DURABILITY: &str = "STORAGE_KILL_RELAXED";

/// The number of the next stream to come and go.
const PASSING: &str = "STORAGE_KILL_PASSING";

const STREAMS: usize = 3;

/// How often the process is killed: many times if `STORAGE_LONG` is set.
fn rounds() -> u64 {
    if std::env::var_os("STORAGE_LONG").is_some() {
        100
    } else {
        12
    }
}

const fn passing(number: u64) -> Uuid {
    Uuid::from_u128(1_000 + number as u128)
}

const fn uuid(stream: usize) -> Uuid {
    Uuid::from_u128(100 + stream as u128)
}

/// How many points a batch has.
const fn size(stream: usize, number: u64) -> usize {
    1 + ((number * 7_919 + stream as u64 * 31) % 60) as usize
}

/// The points of a batch: 1 to 60 of them, at times of their own, a few of them equal.
fn batch(stream: usize, number: u64) -> Points {
    let count = size(stream, number) as u64;
    let point = |at: u64| RawPoint {
        time: (number * 1_000 + at / 2) as i64,
        value: (number * 100 + at) as f64 + stream as f64 / 10.0,
    };
    (0..count).map(point).collect()
}

fn open(directory: &Path, durability: Durability) -> Engine {
    let options = Options {
        durability,
        buffer_points: 700,
        segment_bytes: 30_000,
        journal_file_bytes: 30_000,
        journal_files: 4,
        ..Options::default()
    };
    Engine::open_directory(directory, Arc::new(SystemClock), options).unwrap()
}

/// Writes a whole line at once, so that lines of threads and of the test harness stay apart.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// What the parent runs in a process of its own; by itself it does nothing.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let durability = if std::env::var_os(DURABILITY).is_some() {
        Durability::Relaxed
    } else {
        Durability::Synced
    };
    let engine = open(Path::new(&directory), durability);
    let starts = std::env::var(STARTS).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| pass(&engine));
        for (stream, start) in starts.split(',').enumerate() {
            let engine = &engine;
            let start: u64 = start.parse().unwrap();
            scope.spawn(move || {
                for number in start.. {
                    let points = batch(stream, number);
                    let version = engine
                        .insert(uuid(stream), points, MergePolicy::Never)
                        .unwrap();
                    let (major, minor) = (version.major, version.minor);
                    tell(&format!("stored {stream} {number} {major} {minor}"));
                    if number % 41 == 40 {
                        let major = engine.flush(uuid(stream)).unwrap().major;
                        tell(&format!("stored {stream} {number} {major} 0"));
                    }
                }
            });
        }
    });
}

/// Streams come and go, so that their room is reclaimed while others are written to.
fn pass(engine: &Engine) {
    let first: u64 = std::env::var(PASSING).unwrap().parse().unwrap();
    for number in first.. {
        let uuid = passing(number);
        let stream = NewStream {
            uuid,
            collection: format!("kill/passing/{number}"),
            ..NewStream::default()
        };
        engine.create(stream).unwrap();
        for part in 0..3 {
            engine
                .insert(uuid, batch(0, 59 + part), MergePolicy::Never)
                .unwrap();
            engine.flush(uuid).unwrap();
        }
        engine.obliterate(uuid).unwrap();
        tell(&format!("gone {number}"));
        engine.compact(&mut |_| {}).unwrap();
    }
}

/// What the child said of one stream.
#[derive(Debug, Default)]
struct Told {
    /// How many batches are stored.
    batches: u64,
    /// How many points they have.
    points: usize,
    /// How many points a version has.
    versions: BTreeMap<u64, usize>,
}

impl Told {
    /// One more batch is stored.
    fn add(&mut self, stream: usize) {
        self.points += size(stream, self.batches);
        self.batches += 1;
    }
}

/// What the child said of everything.
#[derive(Debug, Default)]
struct Said {
    streams: [Told; STREAMS],
    /// Numbers of streams that are gone.
    gone: Vec<u64>,
}

/// Whether the line says that something is stored.
fn note(said: &mut Said, line: &str) -> bool {
    let mut words = line.split(' ');
    let subject = words.next();
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
    if subject == Some("gone") {
        said.gone.extend(number());
    }
    if subject != Some("stored") {
        return false;
    }
    let (Some(stream), Some(batch), Some(major), Some(minor)) =
        (number(), number(), number(), number())
    else {
        // The process was killed within the line.
        return false;
    };
    let stream = stream as usize;
    let told = &mut said.streams[stream];
    while told.batches <= batch {
        told.add(stream);
    }
    told.versions.insert(major, told.points - minor as usize);
    true
}

/// Runs a child until it has told so many times that something is stored, and kills it.
fn run_and_kill(
    directory: &Path,
    said: &mut Said,
    (round, patience): (u64, u64),
    durability: Durability,
) {
    let streams = said.streams.iter();
    let starts: Vec<_> = streams.map(|told| told.batches.to_string()).collect();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(STARTS, starts.join(","))
        .env(PASSING, (round * 1_000_000).to_string())
        .stdout(Stdio::piped());
    if durability == Durability::Relaxed {
        command.env(DURABILITY, "1");
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let (mut line, mut count) = (Vec::new(), 0);
    // What it said before it died counts, also what nobody had read yet.
    while lines.read_until(b'\n', &mut line).unwrap() > 0 {
        let is_whole = line.pop() == Some(b'\n');
        if is_whole && note(said, std::str::from_utf8(&line).unwrap()) {
            count += 1;
            if count == patience {
                child.kill().unwrap();
            }
        }
        line.clear();
    }
    assert!(count >= patience, "the child ended by itself");
    child.wait().unwrap();
}

fn read(engine: &Engine, stream: usize, version: u64) -> Vec<(i64, u64)> {
    let snapshot = engine.snapshot(uuid(stream), version).unwrap();
    let mut reader = snapshot.raw(TimeRange::ALL);
    let mut found = Vec::new();
    while let Some(points) = reader.next_batch(10_000).unwrap() {
        found.extend(points.iter().map(|p| (p.time, p.value.to_bits())));
    }
    found
}

/// Checks what a killed child left, and counts the batch it was about to acknowledge if it is in.
fn check(engine: &Engine, stream: usize, told: &mut Told, round: u64) {
    let found = read(engine, stream, 0);
    if found.len() > told.points {
        told.add(stream);
    }
    let mut expected = Vec::with_capacity(told.points);
    for number in 0..told.batches {
        let points = batch(stream, number);
        expected.extend(points.iter().map(|p| (p.time, p.value.to_bits())));
    }
    assert_eq!(found, expected, "stream {stream}");
    let latest = engine.version(uuid(stream)).unwrap().major;
    // Once there are many, old ones are read now and then.
    let recent = latest.saturating_sub(8);
    for (&major, &count) in &told.versions {
        assert!(major <= latest);
        if major < recent && major % 8 != round % 8 {
            continue;
        }
        let found = read(engine, stream, major);
        // Batches are in order of time, so a version is the beginning of what is there now.
        assert_eq!(found, expected[..count], "stream {stream} version {major}");
    }
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (mut said, mut gone) = (Said::default(), 0);
    {
        let engine = open(directory.path(), Durability::Synced);
        for stream in 0..STREAMS {
            let new = NewStream {
                uuid: uuid(stream),
                collection: format!("kill/{stream}"),
                ..NewStream::default()
            };
            engine.create(new).unwrap();
        }
    }
    for round in 0..rounds() {
        let durability = if round % 4 == 3 {
            Durability::Relaxed
        } else {
            Durability::Synced
        };
        let patience = 1 + round * round * 37 % 200;
        run_and_kill(directory.path(), &mut said, (round, patience), durability);
        let engine = open(directory.path(), durability);
        for (stream, told) in said.streams.iter_mut().enumerate() {
            check(&engine, stream, told, round);
        }
        gone += said.gone.len();
        for number in said.gone.drain(..) {
            let error = engine.version(passing(number)).unwrap_err();
            assert_eq!(error.code().number(), 404, "stream {number}: {error}");
        }
        if round % 3 == 0 {
            // Recovering what was recovered once already comes to the same.
            copy_crashed(directory.path(), &engine);
        }
    }
    let told = &said.streams;
    assert!(told.iter().all(|told| told.versions.len() > 2), "{told:?}");
    assert!(gone > 0, "no stream came and went");
}

/// Opens a copy of the directory as it is while the engine runs: as if it died right now.
fn copy_crashed(directory: &Path, engine: &Engine) {
    // Nothing is left to do that would change the directory meanwhile.
    engine.maintain().unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_folder(directory, copy.path());
    let again = open(copy.path(), Durability::Synced);
    for stream in 0..STREAMS {
        assert_eq!(read(&again, stream, 0), read(engine, stream, 0));
    }
}
