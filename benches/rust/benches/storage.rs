#![allow(
    clippy::expect_used,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a bench: failing is its way to answer"
)]

//! The storage engine on synchrophasor data: ingest, raw scans, windows, opening, size on disk.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pingthings_benches::synchrophasor;
use pingthings_storage::{Engine, Error, NewStream, Options, SystemClock};
use pingthings_types::{AlignedWindows, MergePolicy, PointWidth, TimeRange};
use uuid::Uuid;

const STREAM: Uuid = Uuid::from_u128(1);
const BATCH: usize = 50_000;

fn open(path: &Path) -> Result<Engine, Error> {
    Engine::open_directory(path, Arc::new(SystemClock), Options::default())
}

fn with_streams(path: &Path, count: u128) -> Result<Engine, Error> {
    let engine = open(path)?;
    for number in 1..=count {
        engine.create(NewStream {
            uuid: Uuid::from_u128(number),
            collection: format!("bench/{number}"),
            ..NewStream::default()
        })?;
    }
    Ok(engine)
}

fn fill(engine: &Engine, points: usize) -> Result<(), Error> {
    for first in (0..points).step_by(BATCH) {
        let batch = synchrophasor(first, BATCH.min(points - first));
        engine.insert(STREAM, batch, MergePolicy::Never)?;
    }
    engine.flush(STREAM).map(|_| ())
}

fn one_stream(c: &mut Criterion) {
    let mut group = c.benchmark_group("ingest");
    group
        .sample_size(20)
        .throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("one stream, batches of 50,000", |b| {
        let directory = tempfile::tempdir().expect("a directory");
        let engine = with_streams(directory.path(), 1).expect("an engine");
        let mut first = 0;
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let batch = synchrophasor(first, BATCH);
                first += BATCH;
                let start = Instant::now();
                engine
                    .insert(STREAM, batch, MergePolicy::Never)
                    .expect("an insert");
                spent += start.elapsed();
            }
            spent
        });
    });
    group.finish();
}

fn many_streams(c: &mut Criterion) {
    const STREAMS: usize = 1_000;
    let mut group = c.benchmark_group("ingest");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(STREAMS as u64 * 1_000));
    group.bench_function("1,000 streams, batches of 1,000", |b| {
        let directory = tempfile::tempdir().expect("a directory");
        let engine = with_streams(directory.path(), STREAMS as u128).expect("an engine");
        let mut first = 0;
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let batch = synchrophasor(first, 1_000);
                first += 1_000;
                let next = AtomicUsize::new(0);
                let start = Instant::now();
                thread::scope(|scope| {
                    for _ in 0..32 {
                        scope.spawn(|| {
                            loop {
                                let number = next.fetch_add(1, Ordering::Relaxed);
                                if number >= STREAMS {
                                    break;
                                }
                                let uuid = Uuid::from_u128(number as u128 + 1);
                                let batch = batch.clone();
                                engine
                                    .insert(uuid, batch, MergePolicy::Never)
                                    .expect("an insert");
                            }
                        });
                    }
                });
                spent += start.elapsed();
            }
            spent
        });
    });
    group.finish();
}

fn reads(c: &mut Criterion) {
    for points in [1_000_000, 10_000_000] {
        let directory = tempfile::tempdir().expect("a directory");
        let engine = with_streams(directory.path(), 1).expect("an engine");
        fill(&engine, points).expect("data");
        let snapshot = engine.snapshot(STREAM, 0).expect("a snapshot");
        let first = synchrophasor(0, 1).times[0];
        let last = synchrophasor(points, 1).times[0];
        let range = TimeRange::new(first, last).expect("a range");
        let mut group = c.benchmark_group("read");
        group
            .sample_size(10)
            .throughput(Throughput::Elements(points as u64));
        group.bench_function(BenchmarkId::new("raw scan", points), |b| {
            b.iter(|| {
                let mut reader = snapshot.raw(range);
                while let Some(batch) = reader.next_batch(BATCH).expect("a batch") {
                    black_box(batch);
                }
            });
        });
        let exponent = (range.width() / 1_000).ilog2();
        let width = PointWidth::new(exponent).expect("a width");
        let windows = AlignedWindows::new(range, width).expect("windows");
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("1,000 aligned windows", points), |b| {
            b.iter(|| {
                let mut reader = snapshot.aligned_windows(windows);
                while let Some(batch) = reader.next_batch(BATCH).expect("a batch") {
                    black_box(batch);
                }
            });
        });
        drop(snapshot);
        drop(engine);
        group.bench_function(BenchmarkId::new("open", points), |b| {
            b.iter(|| black_box(open(directory.path()).expect("an engine")));
        });
        group.finish();
        report_size(directory.path(), points);
    }
}

#[allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "the figure asked for"
)]
fn report_size(path: &Path, points: usize) {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path.join("segments")).expect("segments") {
        bytes += entry
            .expect("a segment")
            .metadata()
            .expect("its length")
            .len();
    }
    println!(
        "size/{points}: {:.3} bytes per point",
        bytes as f64 / points as f64
    );
}

criterion_group!(storage, one_stream, many_streams, reads);
criterion_main!(storage);
