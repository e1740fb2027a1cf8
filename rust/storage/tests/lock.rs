//! Only one process has a directory open, even if its lock file is deleted.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use pingthings_storage::{Engine, Error, Options, SystemClock};

/// The directory of the child process; unset in the parent.
const DIRECTORY: &str = "STORAGE_LOCK_DIRECTORY";

fn open(directory: &Path) -> Result<Engine, Error> {
    Engine::open_directory(directory, Arc::new(SystemClock), Options::default())
}

/// Keeps the directory open until its input ends; without the variable it does nothing.
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
    // This also holds after another process has tried and has created a new lock file.
    assert!(is_locked());
    assert!(is_locked());
    drop(child.stdin.take());
    child.wait().unwrap();
    open(directory.path()).unwrap();
}
