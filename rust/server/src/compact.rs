//! Compaction of a data directory that no server has open.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pingthings_storage::{Clock, Compaction, Engine, Options, SystemClock};

use crate::Error;

/// Rewrites the segments of a data directory without their holes.
///
/// With an age, versions that were superseded longer ago are forgotten first, but never the latest
/// version of a stream. `progress` is called after each segment. Returns the number of forgotten
/// versions and the result of the compaction.
///
/// # Errors
/// If there are no data in the directory, or a server has it open.
pub fn compact(
    directory: &Path,
    forget_older_than: Option<Duration>,
    progress: &mut dyn FnMut(&Compaction),
) -> Result<(usize, Compaction), Error> {
    // Opening would create an empty store in a directory without one.
    if !directory.join("catalog.sqlite").is_file() {
        return Err(Error::NoStorage {
            path: directory.to_owned(),
        });
    }
    let clock = SystemClock;
    let engine = Engine::open_directory(directory, Arc::new(clock), Options::default())?;
    let forgotten = match forget_older_than {
        Some(age) => {
            let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
            engine.forget_versions(clock.now_ns().saturating_sub(age))?
        }
        None => 0,
    };
    let compaction = engine.compact(progress)?;
    engine.close()?;
    Ok((forgotten, compaction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compaction_creates_no_store() {
        let folder = tempfile::tempdir().unwrap();
        let error = compact(folder.path(), None, &mut |_| {}).unwrap_err();
        assert!(matches!(error, Error::NoStorage { .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_in_use_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::default();
        let engine = Engine::open_directory(folder.path(), Arc::new(SystemClock), options);
        let engine = engine.unwrap();
        let error = compact(folder.path(), None, &mut |_| {}).unwrap_err();
        let name = folder.path().display().to_string();
        assert!(error.to_string().contains(&name), "{error}");
        drop(engine);
        compact(folder.path(), Some(Duration::ZERO), &mut |_| {}).unwrap();
    }
}
