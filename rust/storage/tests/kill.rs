//! A process that inserts, obliterates streams and reclaims their space is killed at arbitrary
//! moments, again and again. Everything it acknowledged is stored, exactly once; obliterated
//! streams are gone; and every acknowledged version reads as it did.

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

/// The directory of the child process; unset in the parent.
const DIRECTORY: &str = "STORAGE_KILL_DIRECTORY";
/// The number of the next batch of each stream, separated by commas.
const STARTS: &str = "STORAGE_KILL_STARTS";
const DURABILITY: &str = "STORAGE_KILL_RELAXED";

/// The number of the first temporary stream.
const PASSING: &str = "STORAGE_KILL_PASSING";

const STREAMS: usize = 3;

/// How often the process is killed; more often if `STORAGE_LONG` is set.
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

/// The number of points of a batch.
const fn size(stream: usize, number: u64) -> usize {
    1 + ((number * 7_919 + stream as u64 * 31) % 60) as usize
}

/// The points of a batch: 1 to 60 of them, at times that only this batch has, a few of them equal.
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

/// Writes a line in one call, so that lines of threads and of the test harness do not mix.
fn report(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// The child process. Without the variable it does nothing.
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
        scope.spawn(|| create_and_obliterate(&engine));
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
                    report(&format!("stored {stream} {number} {major} {minor}"));
                    if number % 41 == 40 {
                        let major = engine.flush(uuid(stream)).unwrap().major;
                        report(&format!("stored {stream} {number} {major} 0"));
                    }
                }
            });
        }
    });
}

/// Creates and obliterates streams, so that space is reclaimed while others are written to.
fn create_and_obliterate(engine: &Engine) {
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
        report(&format!("gone {number}"));
        engine.compact(&mut |_| {}).unwrap();
    }
}

/// What the child reported about one stream.
#[derive(Debug, Default)]
struct StreamReport {
    /// Number of stored batches.
    batches: u64,
    /// Number of points in them.
    points: usize,
    /// Number of points of each version.
    versions: BTreeMap<u64, usize>,
}

impl StreamReport {
    /// Counts one more stored batch.
    fn add(&mut self, stream: usize) {
        self.points += size(stream, self.batches);
        self.batches += 1;
    }
}

/// Everything the child reported.
#[derive(Debug, Default)]
struct ChildReport {
    streams: [StreamReport; STREAMS],
    /// Numbers of obliterated streams.
    gone: Vec<u64>,
}

/// Parses a line; returns whether it reports that something is stored.
fn parse_line(said: &mut ChildReport, line: &str) -> bool {
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
        // The process was killed while it wrote the line.
        return false;
    };
    let stream = stream as usize;
    let stream_report = &mut said.streams[stream];
    while stream_report.batches <= batch {
        stream_report.add(stream);
    }
    stream_report
        .versions
        .insert(major, stream_report.points - minor as usize);
    true
}

/// Runs a child until it has reported `patience` stored batches, then kills it.
fn run_and_kill(
    directory: &Path,
    said: &mut ChildReport,
    (round, patience): (u64, u64),
    durability: Durability,
) {
    let streams = said.streams.iter();
    let starts: Vec<_> = streams
        .map(|stream_report| stream_report.batches.to_string())
        .collect();
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
    // Everything it wrote before it died counts, also if it was not read yet.
    while lines.read_until(b'\n', &mut line).unwrap() > 0 {
        let is_whole = line.pop() == Some(b'\n');
        if is_whole && parse_line(said, std::str::from_utf8(&line).unwrap()) {
            count += 1;
            if count == patience {
                child.kill().unwrap();
            }
        }
        line.clear();
    }
    assert!(count >= patience, "the child was not killed");
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

/// Checks the state that a killed child left. Counts the batch that it was about to acknowledge, if
/// that is stored.
fn check(engine: &Engine, stream: usize, stream_report: &mut StreamReport, round: u64) {
    let found = read(engine, stream, 0);
    if found.len() > stream_report.points {
        stream_report.add(stream);
    }
    let mut expected = Vec::with_capacity(stream_report.points);
    for number in 0..stream_report.batches {
        let points = batch(stream, number);
        expected.extend(points.iter().map(|p| (p.time, p.value.to_bits())));
    }
    assert_eq!(found, expected, "stream {stream}");
    let latest = engine.version(uuid(stream)).unwrap().major;
    // If there are many versions, old ones are read only in some rounds.
    let recent = latest.saturating_sub(8);
    for (&major, &count) in &stream_report.versions {
        assert!(major <= latest);
        if major < recent && major % 8 != round % 8 {
            continue;
        }
        let found = read(engine, stream, major);
        // Batches are in order of time, so a version is a prefix of the latest one.
        assert_eq!(found, expected[..count], "stream {stream} version {major}");
    }
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (mut said, mut gone) = (ChildReport::default(), 0);
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
        for (stream, stream_report) in said.streams.iter_mut().enumerate() {
            check(&engine, stream, stream_report, round);
        }
        gone += said.gone.len();
        for number in said.gone.drain(..) {
            let error = engine.version(passing(number)).unwrap_err();
            assert_eq!(error.code().number(), 404, "stream {number}: {error}");
        }
        if round % 3 == 0 {
            // Recovering twice has the same result.
            copy_crashed(directory.path(), &engine);
        }
    }
    let stream_report = &said.streams;
    assert!(
        stream_report
            .iter()
            .all(|stream_report| stream_report.versions.len() > 2),
        "{stream_report:?}"
    );
    assert!(gone > 0, "no stream was obliterated");
}

/// Opens a copy of the directory while the engine runs, as if the process had died now.
fn copy_crashed(directory: &Path, engine: &Engine) {
    // After this the background thread changes nothing in the directory.
    engine.maintain().unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_folder(directory, copy.path());
    let again = open(copy.path(), Durability::Synced);
    for stream in 0..STREAMS {
        assert_eq!(read(&again, stream, 0), read(engine, stream, 0));
    }
}
