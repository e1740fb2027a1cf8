//! Deleting points, and comparing versions.

use std::fmt;
use std::sync::Arc;

use pingthings_types::{MAX_TIME, MIN_TIME, PointWidth, TimeRange, Version};
use uuid::Uuid;

use crate::tree::Changes;
use crate::{Engine, Error, Snapshot};

impl Engine {
    /// Removes the points in `range` in a new version, after committing the buffered points.
    ///
    /// Earlier versions still contain the points.
    pub fn delete(&self, uuid: Uuid, range: TimeRange) -> Result<Version, Error> {
        self.store.check_open()?;
        self.store.delete(uuid, range.start(), range.end())
    }

    /// The last version committed at or before the wall-clock time `wall_ns`; `None` if the stream
    /// is younger.
    pub fn version_at_time(&self, uuid: Uuid, wall_ns: i64) -> Result<Option<u64>, Error> {
        self.store.check_open()?;
        let stream = self.store.stream(uuid)?;
        self.store.catalog.version_at(stream.id, wall_ns)
    }

    /// Where two versions differ, with borders at multiples of 2^`resolution` ns.
    ///
    /// If `to` is 0, buffered points count as well. Also returns the version that was compared with
    /// `from`.
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
    ) -> Result<(Version, ChangeReader), Error> {
        let new = self.snapshot(uuid, to)?;
        let version = new.version();
        if from > version.major {
            let to = version.major;
            return Err(Error::InvalidVersions { uuid, from, to });
        }
        // Version 0 means before the first version, which was empty.
        let old = self.snapshot(uuid, from.max(1))?;
        Ok((version, ChangeReader::new(old, new, resolution)))
    }
}

/// Ranges outside of which nothing differs between two versions.
pub struct ChangeReader {
    new: Snapshot,
    /// Keeps the blocks of the old version until the reader is dropped.
    _old: Snapshot,
    resolution: PointWidth,
    changes: Changes,
    /// A range found in the trees and not returned yet.
    found: Option<(i64, i64)>,
    /// Changes before this instant were returned, or are in `open`.
    known: i64,
    /// The last range, which the next one may extend.
    open: Option<(i64, i64)>,
}

impl fmt::Debug for ChangeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeReader").finish_non_exhaustive()
    }
}

impl ChangeReader {
    fn new(old: Snapshot, new: Snapshot, resolution: PointWidth) -> Self {
        let segments = Arc::clone(&new.segments);
        Self {
            changes: Changes::new(segments, [old.root, new.root], resolution),
            new,
            _old: old,
            resolution,
            found: None,
            known: i64::MIN,
            open: None,
        }
    }

    /// The next ranges `[start, end)`, ascending and disjoint, at most `max` of them (at least
    /// one); `None` when there are no more.
    pub fn next_batch(&mut self, max: usize) -> Result<Option<Vec<(i64, i64)>>, Error> {
        let mut batch = Vec::new();
        while batch.len() < max.max(1) {
            match (self.next_range()?, &mut self.open) {
                (Some(range), Some(open)) if range.0 <= open.1 => open.1 = open.1.max(range.1),
                (range, open) => {
                    batch.extend(open.take());
                    *open = range;
                    if open.is_none() {
                        break;
                    }
                }
            }
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// The next range, which may touch the one before.
    fn next_range(&mut self) -> Result<Option<(i64, i64)>, Error> {
        if self.found.is_none() {
            self.found = self.changes.next(self.known)?;
        }
        let times = &self.new.buffered.times;
        let at = times.partition_point(|&time| time < self.known);
        let buffered = times.get(at).map(|&time| (time, time));
        let masks = self.new.masks.ranges();
        let at = masks.partition_point(|mask| mask.1 <= self.known);
        let masked = masks.get(at).map(|&(start, end)| (start, end - 1));
        let all = [self.found, buffered, masked];
        let Some((first, last)) = all.into_iter().flatten().min() else {
            return Ok(None);
        };
        if self.found == Some((first, last)) {
            self.found = None;
        }
        let width = self.resolution;
        let start = width.floor(first).max(MIN_TIME);
        let end = width
            .floor(last)
            .saturating_add_unsigned(width.nanoseconds())
            .min(MAX_TIME);
        self.known = self.known.max(end);
        Ok(Some((start, end)))
    }
}
