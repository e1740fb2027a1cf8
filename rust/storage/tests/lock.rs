//! One process has a directory open, whatever becomes of its lock file.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use pingthings_storage::{Engine, Error, Options, SystemClock};

/// Where the child works; unless set, there is no child.
const DIRECTORY: &str = "STORAGE_LOCK_DIRECTORY";

fn open(directory: &Path) -> Result<Engine, Error> {
    Engine::open_directory(directory, Arc::new(SystemClock), Options::default())
}

/// Has the directory open until its input ends; by itself it does nothing.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let _engine = open(Path::new(&directory)).unwrap();
    let mut out = std::io::stdout().lock();
    out.write_all(b"\nopen\n").unwrap();
    out.flush().unwrap();
    std::io::stdin().lines().for_each(drop);
}

#[test]
fn a_deleted_lock_file_lets_nobody_in() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "open"));
    let is_locked = || matches!(open(directory.path()), Err(Error::Locked { .. }));
    assert!(is_locked());
    std::fs::remove_file(directory.path().join("lock")).unwrap();
    // Also once somebody has tried and has left a lock file of their own.
    assert!(is_locked());
    assert!(is_locked());
    drop(child.stdin.take());
    child.wait().unwrap();
    open(directory.path()).unwrap();
}
