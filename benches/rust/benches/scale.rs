#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    missing_docs,
    reason = "a bench: failing is its way to answer, printing its purpose"
)]

//! Every figure the storage engine has to reach, beside what it reaches here: ingest, scans,
//! windows over 100 million points, warm and in a new process, opening a gigabyte after a kill,
//! bytes written for bytes kept, and memory whatever is asked.
//! `--smoke` does the same a hundred times
//! smaller, to see that it works. Processes of its own are started for what a process remembers.

use std::fs;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pingthings_benches::recording;
use pingthings_storage::{Engine, NewStream, Options, SystemClock};
use pingthings_types::{AlignedWindows, MergePolicy, PointWidth, PreciseWindows, TimeRange};
use uuid::Uuid;

const BATCH: usize = 50_000;
/// Seconds of data that the windows are asked over; the rate decides how many points that is.
const SECONDS: i64 = 1_000_000;
const SPARSE: i64 = 10;
const DENSE: i64 = 100;

fn uuid(rate: i64) -> Uuid {
    Uuid::from_u128(u128::from(rate.unsigned_abs()))
}

fn open(path: &Path) -> Engine {
    Engine::open_directory(path, Arc::new(SystemClock), Options::default()).expect("an engine")
}

fn create(engine: &Engine, rate: i64) {
    let stream = NewStream {
        uuid: uuid(rate),
        collection: format!("scale/{rate}"),
        ..NewStream::default()
    };
    engine.create(stream).expect("a stream");
}

fn insert(engine: &Engine, rate: i64, first: usize, count: usize) {
    let batch = recording(rate, first, count);
    engine
        .insert(uuid(rate), batch, MergePolicy::Never)
        .expect("an insert");
}

fn fill(engine: &Engine, rate: i64, points: usize) {
    create(engine, rate);
    for first in (0..points).step_by(BATCH) {
        insert(engine, rate, first, BATCH.min(points - first));
    }
    engine.flush(uuid(rate)).expect("a flush");
}

/// About 1,000 windows over all there is.
fn windows(engine: &Engine, rate: i64, seconds: i64) -> usize {
    let start = recording(rate, 0, 1).times[0];
    let range = TimeRange::new(start, start + seconds * 1_000_000_000).expect("a range");
    let exponent = (range.width() / 1_000).ilog2();
    let width = PointWidth::new(exponent).expect("a width");
    let windows = AlignedWindows::new(range, width).expect("windows");
    let snapshot = engine.snapshot(uuid(rate), 0).expect("a snapshot");
    let mut reader = snapshot.aligned_windows(windows);
    let mut count = 0;
    while let Some(batch) = reader.next_batch(BATCH).expect("a batch") {
        count += batch.counts.len();
    }
    count
}

fn median(mut spent: Vec<Duration>) -> Duration {
    spent.sort_unstable();
    spent[spent.len() / 2]
}

fn time<R>(what: impl FnOnce() -> R) -> Duration {
    let start = Instant::now();
    black_box(what());
    start.elapsed()
}

fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).expect("a directory");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let about = entry.metadata().expect("its length");
            if about.is_dir() {
                size(&entry.path())
            } else {
                about.len()
            }
        })
        .sum()
}

/// A number of /proc/self/`file`.
fn proc(file: &str, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/{file}")).expect("Linux");
    let line = text.lines().find(|line| line.starts_with(key));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|n| n.parse().ok()).expect("a number")
}

fn row(what: &str, target: &str, reached: &str) {
    println!("| {what} | {target} | {reached} |");
}

fn milliseconds(spent: Duration) -> String {
    format!("{:.2} ms", spent.as_secs_f64() * 1e3)
}

/// Starts this program anew for one task; gives the line it prints.
fn child(task: &str, path: &Path, seconds: i64) -> String {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--task", task, &seconds.to_string()])
        .arg(path)
        .stderr(Stdio::inherit())
        .output()
        .expect("a process");
    assert!(output.status.success(), "{task} failed");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Has a process write `points` and then a little into the journal, again and again; kills it.
fn killed(path: &Path, points: usize) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--task", "write", &points.to_string()])
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for line in lines {
        // Thousands of small inserts wait in the journal then.
        if line.expect("a line") == "20000" {
            break;
        }
    }
    child.kill().expect("a kill");
    child.wait().expect("an end");
}

fn task(name: &str, number: i64, path: &Path) {
    let engine = open(path);
    match name {
        "write" => {
            let points = usize::try_from(number).expect("a number");
            fill(&engine, 60, points);
            for at in 1.. {
                insert(&engine, 60, points + at * 10, 10);
                if at % 10_000 == 0 {
                    println!("{at}");
                }
            }
        }
        "memory" => {
            let snapshot = engine.snapshot(uuid(60), 0).expect("a snapshot");
            let mut points = snapshot.raw(TimeRange::ALL);
            while let Some(batch) = points.next_batch(BATCH).expect("a batch") {
                black_box(batch);
            }
            let start = recording(60, 0, 1).times[0];
            let precise = PreciseWindows {
                start,
                width: 1_000_000_007,
                count: number.unsigned_abs() / 60,
            };
            let mut windows = snapshot.windows(precise);
            while let Some(batch) = windows.next_batch(BATCH).expect("a batch") {
                black_box(batch);
            }
            let width = PointWidth::new(40).expect("a width");
            black_box(engine.changes(uuid(60), 10, 0, width).expect("changes"));
            println!("{}", proc("status", "VmHWM:") / 1024);
        }
        other => panic!("unknown task {other}"),
    }
}

/// Points stored in a second, by `threads` that take turns at `streams`.
fn ingest(streams: i64, batch: usize, rounds: usize, threads: usize) -> f64 {
    let directory = tempfile::tempdir().expect("a directory");
    let engine = open(directory.path());
    (1..=streams).for_each(|stream| create(&engine, stream));
    let spent = (0..rounds).map(|round| {
        let points = recording(60, round * batch, batch);
        let next = AtomicI64::new(1);
        let work = || {
            loop {
                let stream = next.fetch_add(1, Ordering::Relaxed);
                if stream > streams {
                    break;
                }
                engine
                    .insert(uuid(stream), points.clone(), MergePolicy::Never)
                    .expect("an insert");
            }
        };
        time(|| {
            thread::scope(|scope| {
                for _ in 1..threads {
                    scope.spawn(work);
                }
                work();
            });
        })
    });
    let points = batch as f64 * streams as f64;
    points / median(spent.collect()).as_secs_f64()
}

fn scan(engine: &Engine, rate: i64) {
    let snapshot = engine.snapshot(uuid(rate), 0).expect("a snapshot");
    let mut reader = snapshot.raw(TimeRange::ALL);
    while let Some(batch) = reader.next_batch(BATCH).expect("a batch") {
        black_box(batch);
    }
}

fn millions(number: f64) -> String {
    format!("{:.1} million", number / 1e6)
}

fn measure_ingest(rounds: usize) {
    row(
        "ingest, one stream, batches of 50,000, points/s",
        "8 million",
        &millions(ingest(1, BATCH, rounds, 1)),
    );
    row(
        "ingest, 1,000 streams, batches of 1,000, 32 threads, points/s",
        "5 million",
        &millions(ingest(1_000, 1_000, rounds / 4, 32)),
    );
}

fn measure_windows(scale: i64) {
    let seconds = SECONDS / scale;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let mut warm = Vec::new();
    let mut bytes = (0, 0);
    for rate in [SPARSE, DENSE] {
        let points = usize::try_from(seconds * rate).expect("a number");
        let before = (proc("io", "wchar:"), size(path));
        let engine = open(path);
        fill(&engine, rate, points);
        drop(engine);
        bytes = (proc("io", "wchar:") - before.0, size(path) - before.1);
        let engine = open(path);
        if rate == SPARSE {
            scan(&engine, rate);
            let spent = median((0..11).map(|_| time(|| scan(&engine, rate))).collect());
            row(
                &format!("raw scan of {points} points, warm, one thread, points/s"),
                "60 million",
                &millions(points as f64 / spent.as_secs_f64()),
            );
        }
        windows(&engine, rate, seconds);
        warm.push(median(
            (0..51)
                .map(|_| time(|| windows(&engine, rate, seconds)))
                .collect(),
        ));
        row(
            &format!("bytes a point of {points}, with statistics and all versions"),
            "2.0",
            &format!("{:.2}", bytes.1 as f64 / points as f64),
        );
    }
    let count = windows(&open(path), DENSE, seconds);
    let amplification = bytes.0 as f64 / bytes.1 as f64;
    row(
        &format!("{count} windows of {} points, warm", seconds * DENSE),
        "3 ms",
        &milliseconds(warm[1]),
    );
    row(
        "the same call on 10 times the points",
        "1.5",
        &format!("{:.2}", warm[1].as_secs_f64() / warm[0].as_secs_f64()),
    );
    let cold = (0..11)
        .map(|_| {
            let line = child("cold-windows", path, seconds);
            Duration::from_nanos(line.parse().expect("a number"))
        })
        .collect();
    row(
        "the same in a new process, with opening the store",
        "50 ms",
        &milliseconds(median(cold)),
    );
    row(
        "bytes written for a byte kept, batches of 50,000",
        "1.3",
        &format!("{amplification:.2}"),
    );
}

fn measure_large(points: usize) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    killed(path, points);
    let bytes = size(path);
    let spent = time(|| open(path));
    row(
        &format!("opening {:.2} GB after a kill", bytes as f64 / 1e9),
        "1 s",
        &milliseconds(spent),
    );
    let megabytes: u64 = child("memory", path, i64::try_from(points).expect("a number"))
        .parse()
        .expect("a number");
    let budget = Options::default().cache_bytes as u64 >> 20;
    row(
        "memory over the budget of the cache, whatever is read",
        "200 MiB",
        &format!("{} MiB", megabytes.saturating_sub(budget)),
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, number, path] = arguments.as_slice()
        && flag == "--task"
    {
        let number = number.parse().expect("a number");
        let path = Path::new(path);
        if name == "cold-windows" {
            let start = Instant::now();
            let engine = open(path);
            black_box(windows(&engine, DENSE, number));
            println!("{}", start.elapsed().as_nanos());
        } else {
            task(name, number, path);
        }
        return;
    }
    let is_smoke = arguments.iter().any(|argument| argument == "--smoke");
    println!("| what | to reach | reached |\n|---|---|---|");
    measure_ingest(if is_smoke { 4 } else { 400 });
    measure_windows(if is_smoke { 100 } else { 1 });
    measure_large(if is_smoke { 6_000_000 } else { 600_000_000 });
}
