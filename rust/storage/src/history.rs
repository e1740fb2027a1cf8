//! Deleting, and what changed between versions.

use pingthings_types::{PointWidth, TimeRange, Version};
use uuid::Uuid;

use crate::tree::Changes;
use crate::{Engine, Error, Snapshot};

impl Engine {
    /// Removes the points in `range` in a new version; what is buffered is committed before.
    ///
    /// Past versions still show them.
    pub fn delete(&self, uuid: Uuid, range: TimeRange) -> Result<Version, Error> {
        self.store.check_open()?;
        self.store.delete(uuid, range.start(), range.end())
    }

    /// The last version committed at or before `wall_ns` by the clock; `None` if the stream is
    /// younger.
    pub fn version_at_time(&self, uuid: Uuid, wall_ns: i64) -> Result<Option<u64>, Error> {
        self.store.check_open()?;
        let stream = self.store.stream(uuid)?;
        self.store.catalog.version_at(stream.id, wall_ns)
    }

    /// Ranges `[start, end)`, ascending and apart, outside of which nothing differs between two
    /// versions, with borders at multiples of 2^`resolution` ns.
    ///
    /// With `to` 0 buffered points count as well. Gives the version compared with `from`.
    ///
    /// # Errors
    /// [`Error::InvalidVersions`] if `from` is after `to`, [`Error::VersionNotAvailable`] if
    /// there is no such version.
    pub fn changes(
        &self,
        uuid: Uuid,
        from: u64,
        to: u64,
        resolution: PointWidth,
    ) -> Result<(Version, Vec<(i64, i64)>), Error> {
        let new = self.snapshot(uuid, to)?;
        let version = new.version();
        if from > version.major {
            let to = version.major;
            return Err(Error::InvalidVersions { uuid, from, to });
        }
        // From 0 on is from before the first version, which was empty.
        let old = self.snapshot(uuid, from.max(1))?;
        Ok((version, changes_between(&old, &new, resolution)?))
    }
}

fn changes_between(
    old: &Snapshot,
    new: &Snapshot,
    resolution: PointWidth,
) -> Result<Vec<(i64, i64)>, Error> {
    let mut changes = Changes::new(&new.segments, resolution);
    changes.compare(old.root, new.root)?;
    for &time in &new.buffered.times {
        changes.add(time, time);
    }
    for &(start, end) in new.masks.ranges() {
        changes.add(start, end - 1);
    }
    Ok(changes.finish())
}
