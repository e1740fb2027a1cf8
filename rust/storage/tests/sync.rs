//! A sync of the catalog fails with the real `SQLite` on a real disk, and the process is killed: a
//! change that was reported as failed may have happened, and everything acknowledged after it has.
//!
//! A library, which `cc` compiles and the loader preloads, replaces the system calls.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use pingthings_storage::{Engine, NewStream, Options, SystemClock};
use pingthings_types::{MergePolicy, Points, TimeRange};
use uuid::Uuid;

/// The directory of the child process; unset in the parent.
const DIRECTORY: &str = "STORAGE_SYNC_DIRECTORY";
/// What the child does when the sync fails.
const FAILS: &str = "STORAGE_SYNC_FAILS";
/// A sync of the write-ahead log fails for each byte in this file.
const TRIGGER: &str = "STORAGE_SYNC_TRIGGER";

const STREAMS: [Uuid; 2] = [Uuid::from_u128(1), Uuid::from_u128(2)];
const NEW: Uuid = Uuid::from_u128(3);

/// `fsync` and `fdatasync` of a file that ends in `-wal` fail once for each byte of the trigger.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fails(int fd) {
    char link[64], path[4096];
    const char *trigger = getenv("STORAGE_SYNC_TRIGGER");
    struct stat about;
    if (!trigger || stat(trigger, &about) || about.st_size == 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 4 || memcmp(path + length - 4, "-wal", 4)) return 0;
    if (truncate(trigger, about.st_size - 1)) abort();
    errno = EIO;
    return 1;
}

int fsync(int fd) {
    if (fails(fd)) return -1;
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd) {
    if (fails(fd)) return -1;
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"#;

fn library(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("sync.c"), folder.join("sync.so"));
    std::fs::write(&source, LIBRARY).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(compiled.success(), "`cc` cannot make a library");
    library
}

fn open(directory: &Path) -> Engine {
    let options = Options {
        buffer_points: 100,
        ..Options::default()
    };
    Engine::open_directory(directory, Arc::new(SystemClock), options).unwrap()
}

fn points(first: i64, count: i64) -> Points {
    let times: Vec<i64> = (first..first + count).collect();
    Points {
        values: times.iter().map(|_| 0.5).collect(),
        times,
    }
}

fn stream(uuid: Uuid) -> NewStream {
    NewStream {
        uuid,
        collection: uuid.to_string(),
        ..NewStream::default()
    }
}

/// The times of a stream; `None` if it does not exist.
fn times(engine: &Engine, uuid: Uuid) -> Option<Vec<i64>> {
    engine.version(uuid).ok()?;
    let mut reader = engine.snapshot(uuid, 0).unwrap().raw(TimeRange::ALL);
    let mut found = Vec::new();
    while let Some(points) = reader.next_batch(10_000).unwrap() {
        found.extend(points.times);
    }
    Some(found)
}

fn report(what: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{what}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Reports the content of each stream.
fn report_all(engine: &Engine) {
    for uuid in [STREAMS[0], STREAMS[1], NEW] {
        report(&format!("reads {:?}", times(engine, uuid)));
    }
}

/// The child process. Without the variable it does nothing.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let engine = open(Path::new(&directory));
    for uuid in STREAMS {
        engine.create(stream(uuid)).unwrap();
        let insert = |first, count| engine.insert(uuid, points(first, count), MergePolicy::Never);
        insert(0, 150).unwrap();
        insert(1_000, 5).unwrap();
    }
    let fails = std::env::var(FAILS).unwrap();
    let (what, count) = fails.split_once(' ').unwrap();
    let count: usize = count.parse().unwrap();
    let trigger = std::env::var_os(TRIGGER).unwrap();
    std::fs::write(&trigger, vec![b'x'; count]).unwrap();
    let uuid = STREAMS[0];
    let failed = match what {
        "insert" => engine
            .insert(uuid, points(2_000, 150), MergePolicy::Never)
            .map(|_| ()),
        "delete" => engine
            .delete(uuid, TimeRange::new(0, 10).unwrap())
            .map(|_| ()),
        "obliterate" => engine.obliterate(uuid),
        "create" => engine.create(stream(NEW)),
        _ => panic!("{what}"),
    };
    report(&format!("failed {}", failed.unwrap_err()));
    // No write is acknowledged while syncs fail.
    let mut refused = 0;
    while engine
        .insert(uuid, points(3_000, 5), MergePolicy::Never)
        .is_err()
    {
        refused += 1;
        assert!(refused <= count, "writes stay refused");
    }
    engine
        .insert(STREAMS[1], points(3_000, 5), MergePolicy::Never)
        .unwrap();
    report_all(&engine);
    std::process::abort();
}

#[test]
fn what_is_acknowledged_after_a_failed_sync_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path());
    for what in ["insert", "delete", "obliterate", "create"] {
        for count in [1, 2, 3] {
            let directory = tempfile::tempdir().unwrap();
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child", "--nocapture", "--test-threads=1"])
                .env("LD_PRELOAD", &library)
                .env(DIRECTORY, directory.path())
                .env(FAILS, format!("{what} {count}"))
                .env(TRIGGER, folder.path().join("trigger"))
                .stderr(Stdio::piped())
                .output()
                .unwrap();
            let told = String::from_utf8(output.stdout).unwrap();
            let failed = told.lines().find(|line| line.starts_with("failed "));
            assert!(
                failed.is_some_and(|line| line.contains("I/O")),
                "{what}: {told}"
            );
            let reads = told.lines().filter_map(|line| line.strip_prefix("reads "));
            let reads: Vec<&str> = reads.collect();
            assert_eq!(reads.len(), 3, "{what}: {told}");
            let engine = open(directory.path());
            for (uuid, reads) in [STREAMS[0], STREAMS[1], NEW].into_iter().zip(reads) {
                let found = format!("{:?}", times(&engine, uuid));
                assert_eq!(found, reads, "{what}, {count} failures");
            }
        }
    }
}
