//! One process per directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::Error;
use crate::error::io_error;

/// Held for as long as a directory is open.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    /// The operating system frees the lock with the file, also after a kill.
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock of `directory`.
    pub(crate) fn take(directory: &Path) -> Result<Self, Error> {
        let path = directory.join("lock");
        let failed = |action| {
            let path = path.display().to_string();
            move |e| io_error(action, path, e)
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(e)) => return Err(failed("lock")(e)),
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let known = file.read_to_string(&mut pid).is_ok_and(|length| length > 0);
                let pid = if known {
                    pid.trim().to_owned()
                } else {
                    "unknown".to_owned()
                };
                return Err(Error::Locked {
                    path: directory.to_owned(),
                    pid,
                });
            }
        }
        file.set_len(0).map_err(failed("write"))?;
        file.rewind().map_err(failed("write"))?;
        writeln!(file, "{}", std::process::id()).map_err(failed("write"))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_and_told_who_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(directory.path()).unwrap();
        let error = DirectoryLock::take(directory.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        assert!(
            error.contains(&directory.path().display().to_string()),
            "{error}"
        );
        drop(first);
        DirectoryLock::take(directory.path()).unwrap();
    }
}
