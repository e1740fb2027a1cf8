//! Reclaiming the space of data that can no longer be read: obliterated streams, and versions that
//! retention or an operator has forgotten.
//!
//! There are three steps, each durable before the next. Versions are forgotten: nobody can open
//! them any more. A sweep finds their blocks, which become holes. Compaction rewrites segments
//! without their holes. A reader that had a version open when it was forgotten keeps it: the sweep
//! skips a stream until such readers are done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use crate::blocks::FileName;
use crate::catalog::{Hole, SegmentState};
use crate::compact::{Compaction, holes_of, merge_holes};
use crate::format::FILE_HEADER;
use crate::live::{Stream, View};
use crate::store::Store;
use crate::tree::unshared;
use crate::{Engine, Error};

/// The background thread rewrites a segment once less than this percentage of it is in use.
const BACKGROUND_LIVE_PERCENT: u64 = 30;

impl Engine {
    /// Forgets every version, of any stream, that was superseded at or before the wall-clock time
    /// `wall_ns`, and returns how many there were.
    ///
    /// The latest version of a stream is never forgotten. Opening a forgotten version fails with
    /// [`Error::VersionNotAvailable`].
    pub fn forget_versions(&self, wall_ns: i64) -> Result<usize, Error> {
        self.store.check_open()?;
        let mut count = 0;
        for uuid in self
            .store
            .catalog
            .streams_with_superseded_versions(wall_ns)?
        {
            count += self.store.forget_versions(uuid, wall_ns)?;
        }
        Ok(count)
    }

    /// Rewrites every segment that contains unreferenced blocks, and removes those that contain
    /// nothing else; calls `progress` after each segment.
    ///
    /// Reads and writes continue meanwhile. Blocks of versions that a [`crate::Snapshot`] has open
    /// are kept.
    pub fn compact(&self, progress: &mut dyn FnMut(&Compaction)) -> Result<Compaction, Error> {
        self.store.check_open()?;
        self.store.sweep()?;
        self.store.segments.seal();
        let done = self.store.compact(100, progress)?;
        self.store
            .catalog_writer
            .change(|catalog| catalog.shrink())?;
        Ok(done)
    }
}

impl Store {
    /// Forgets the versions of a stream that were superseded at or before `wall_ns`.
    pub(crate) fn forget_versions(&self, uuid: Uuid, wall_ns: i64) -> Result<usize, Error> {
        let stream = match self.stream(uuid) {
            // It was obliterated after it was listed.
            Err(Error::NoSuchStream { .. }) => return Ok(0),
            other => other?,
        };
        // Holding the lock prevents a commit, which would supersede the latest version.
        let _writer = stream.writer.lock();
        let id = stream.id;
        let count = self
            .catalog_writer
            .change(|catalog| catalog.forget_versions(id, wall_ns));
        // A failed change may have happened nevertheless.
        if count
            .as_ref()
            .map_or_else(Error::is_failure, |&count| count > 0)
        {
            let view = stream.view();
            self.note_readers(&stream, &view);
            let guard = Arc::default();
            stream.publish(View { guard, ..view });
        }
        count
    }

    /// Notes that readers of `view` may have a forgotten version open.
    pub(crate) fn note_readers(&self, stream: &Stream, view: &View) {
        self.reclaim.add_guard(stream.id, &view.guard);
    }

    /// Finds the blocks of forgotten versions that no reader has open, and records them as holes.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        for stream in self.catalog.streams_with_forgotten_versions()? {
            if self.reclaim.has_readers(stream) {
                continue;
            }
            let forgotten = self.catalog.forgotten_versions(stream)?;
            let blocks = unshared(&self.segments, &forgotten.roots, forgotten.oldest_kept)?;
            let holes = holes_of(&blocks);
            self.catalog_writer.change(|catalog| {
                catalog.drop_forgotten_versions(stream, forgotten.last, &holes)
            })?;
            self.reclaim.has_holes.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Compacts segments of which only a small part is in use, if there may be any.
    pub(crate) fn compact_due(&self) -> Result<(), Error> {
        if !self.reclaim.has_holes.load(Ordering::Acquire) {
            return Ok(());
        }
        self.compact(BACKGROUND_LIVE_PERCENT, &mut |_| {})
            .map(|_| ())
    }

    /// Rewrites the segments of which less than `percent` per cent is in use.
    fn compact(
        &self,
        percent: u64,
        progress: &mut dyn FnMut(&Compaction),
    ) -> Result<Compaction, Error> {
        let mut may_replace = self.reclaim.may_replace.lock();
        let mut done = Compaction::default();
        if !*may_replace {
            return Ok(done);
        }
        self.reclaim.has_holes.store(false, Ordering::Release);
        let mut holes: BTreeMap<u32, Vec<Hole>> = BTreeMap::new();
        for hole in self.catalog.holes()? {
            holes.entry(hole.segment).or_default().push(hole);
        }
        for (number, segment) in self.catalog.segments()? {
            let holes = holes.remove(&number).unwrap_or_default();
            let left = |length| {
                let problem = format!("segment {number} has more holes than bytes");
                let left = segment.length.checked_sub(length);
                left.ok_or(Error::CatalogDamaged { problem })
            };
            let before = left(length_of(holes.iter().filter(|hole| hole.is_gone)))?;
            let needed = left(length_of(&holes))?;
            let is_sealed = self.segments.sealed_length(number) == Some(segment.length);
            let is_empty = needed <= FILE_HEADER as u64;
            let is_due = needed < before && (is_empty || needed * 100 < before * percent);
            done.segments += 1;
            done.bytes_before += before;
            if !is_sealed || !is_due {
                if needed < before && !is_sealed {
                    self.reclaim.has_holes.store(true, Ordering::Release);
                }
                done.bytes_after += before;
                continue;
            }
            if is_empty {
                self.drop_segment(number, &mut may_replace)?;
                done.removed += 1;
            } else {
                let mut holes = holes;
                holes.extend(
                    self.segments
                        .commit_records_in(number, segment.length, &holes)?,
                );
                let needed = left(length_of(&holes))?;
                if needed <= FILE_HEADER as u64 {
                    self.drop_segment(number, &mut may_replace)?;
                    done.removed += 1;
                } else {
                    self.rewrite(number, segment, holes, &mut may_replace)?;
                    done.rewritten += 1;
                    done.bytes_after += needed;
                }
            }
            progress(&done);
        }
        Ok(done)
    }

    fn drop_segment(&self, number: u32, may_replace: &mut bool) -> Result<(), Error> {
        let name = self.segments.generations.name(number);
        *may_replace = false;
        self.catalog_writer
            .change(|catalog| catalog.remove_segment(number))?;
        *may_replace = true;
        self.segments.generations.remove(number);
        self.remove_file(name);
        Ok(())
    }

    fn rewrite(
        &self,
        number: u32,
        segment: SegmentState,
        holes: Vec<Hole>,
        may_replace: &mut bool,
    ) -> Result<(), Error> {
        let old = self.segments.generations.name(number);
        let new = FileName {
            generation: segment.generation + 1,
            ..old
        };
        let holes = merge_holes(holes);
        self.segments
            .copy(segment.length, &holes, new)
            .inspect_err(|_| self.remove_file(new))?;
        *may_replace = false;
        self.catalog_writer
            .change(|catalog| catalog.set_generation(number, new.generation, &holes))?;
        *may_replace = true;
        self.segments
            .generations
            .set(number, new.generation, &holes);
        self.remove_file(old);
        Ok(())
    }

    /// Removes a file that the catalog does not list; if that fails, the next start removes it.
    fn remove_file(&self, name: FileName) {
        let _ = self.blocks.remove(name);
    }
}

fn length_of<'a>(holes: impl IntoIterator<Item = &'a Hole>) -> u64 {
    let lengths = holes.into_iter().map(|hole| hole.length);
    lengths.fold(0, u64::saturating_add)
}
