//! The lock that lets only one process open a directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::Error;
use crate::error::io_error;

/// The lock of an open directory.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    /// The operating system releases the lock with the file, also when the process is killed.
    _file: File,
    /// A lock of the folder itself, where the system supports it: it still holds after the lock
    /// file is deleted.
    _folder: Option<File>,
}

/// Locks the folder itself; `None` where the system does not support that.
fn lock_folder(directory: &Path) -> Result<Option<File>, Error> {
    let Ok(folder) = File::open(directory) else {
        return Ok(None);
    };
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::Error(_)) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let pid = std::fs::read_to_string(directory.join("lock"));
            Err(locked(directory, &pid.unwrap_or_default()))
        }
    }
}

fn locked(directory: &Path, pid: &str) -> Error {
    let pid = match pid.trim() {
        "" => "unknown",
        pid => pid,
    };
    Error::Locked {
        path: directory.to_owned(),
        pid: pid.to_owned(),
    }
}

impl DirectoryLock {
    /// Takes the lock of `directory`.
    pub(crate) fn take(directory: &Path) -> Result<Self, Error> {
        let folder = lock_folder(directory)?;
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
                let _ = file.read_to_string(&mut pid);
                return Err(locked(directory, &pid));
            }
        }
        file.set_len(0).map_err(failed("write"))?;
        file.rewind().map_err(failed("write"))?;
        writeln!(file, "{}", std::process::id()).map_err(failed("write"))?;
        Ok(Self {
            _file: file,
            _folder: folder,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_and_the_error_names_the_holder() {
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
