//! Reclaiming the room of what nobody can read any more: obliterated streams, and versions that
//! retention or an operator has forgotten.
//!
//! Three steps, each durable before the next: versions are doomed (nobody can open them), their
//! blocks are looked for and become holes, and segments are written anew without their holes.
//! Readers that had a doomed version open when it was doomed keep it: its blocks are only looked
//! for once they are through.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use crate::blocks::FileName;
use crate::catalog::{Hole, SegmentState};
use crate::compact::{Compaction, holes_of, joined};
use crate::format::FILE_HEADER;
use crate::live::{Stream, View};
use crate::store::Store;
use crate::tree::unshared;
use crate::{Engine, Error};

/// The background writes a segment anew once less than this many hundredths of it are needed.
const BACKGROUND_LIVE_PERCENT: u64 = 30;

impl Engine {
    /// Forgets the versions of all streams that were replaced by a later one at or before
    /// `wall_ns`, a time of the clock; gives how many there were.
    ///
    /// The latest version of a stream is never forgotten. Asking for a forgotten version is
    /// [`Error::VersionNotAvailable`].
    pub fn forget_versions(&self, wall_ns: i64) -> Result<usize, Error> {
        self.store.check_open()?;
        let mut count = 0;
        for uuid in self.store.catalog.forgettable(wall_ns)? {
            count += self.store.forget(uuid, wall_ns)?;
        }
        Ok(count)
    }

    /// Writes every segment anew that has blocks nothing leads to, and removes those that hold
    /// nothing else; `progress` is told after each segment.
    ///
    /// Reading and writing go on meanwhile. Blocks of versions that a [`crate::Snapshot`] still
    /// has open stay.
    pub fn compact(&self, progress: &mut dyn FnMut(&Compaction)) -> Result<Compaction, Error> {
        self.store.check_open()?;
        self.store.sweep()?;
        self.store.segments.seal();
        let done = self.store.compact(100, progress)?;
        self.store.ledger.change(|catalog| catalog.shrink())?;
        Ok(done)
    }
}

impl Store {
    /// Dooms the versions of a stream that were replaced at or before `wall_ns`.
    pub(crate) fn forget(&self, uuid: Uuid, wall_ns: i64) -> Result<usize, Error> {
        let stream = match self.stream(uuid) {
            // It was obliterated since it was listed.
            Err(Error::NoSuchStream { .. }) => return Ok(0),
            other => other?,
        };
        // Held so that the latest version does not get a successor meanwhile.
        let _writer = stream.writer.lock();
        let id = stream.id;
        let count = self.ledger.change(|catalog| catalog.forget(id, wall_ns));
        // One that failed may be there, and will be then.
        if count
            .as_ref()
            .map_or_else(Error::is_failure, |&count| count > 0)
        {
            let view = stream.view();
            self.hold(&stream, &view);
            let hold = Arc::default();
            stream.publish(View { hold, ..view });
        }
        count
    }

    /// Readers of `view` may have a doomed version open.
    pub(crate) fn hold(&self, stream: &Stream, view: &View) {
        self.reclaim.hold(stream.id, &view.hold);
    }

    /// Looks for the blocks of doomed versions nobody has open.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        for stream in self.catalog.doomed_streams()? {
            if self.reclaim.is_held(stream) {
                continue;
            }
            let doomed = self.catalog.doomed(stream)?;
            let blocks = unshared(&self.segments, &doomed.roots, doomed.oldest_kept)?;
            let holes = holes_of(&blocks);
            self.ledger
                .change(|catalog| catalog.bury(stream, doomed.last, &holes))?;
            self.reclaim.has_holes.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Compacts what the background would: segments of which little is needed.
    pub(crate) fn compact_due(&self) -> Result<(), Error> {
        if !self.reclaim.has_holes.load(Ordering::Acquire) {
            return Ok(());
        }
        self.compact(BACKGROUND_LIVE_PERCENT, &mut |_| {})
            .map(|_| ())
    }

    /// Writes the segments anew of which less than `percent` hundredths are needed.
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
                holes.extend(self.segments.commits_in(number, segment.length, &holes)?);
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
        self.ledger.change(|catalog| catalog.removed(number))?;
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
        let holes = joined(holes);
        self.segments
            .copy(segment.length, &holes, new)
            .inspect_err(|_| self.remove_file(new))?;
        *may_replace = false;
        self.ledger
            .change(|catalog| catalog.rewritten(number, new.generation, &holes))?;
        *may_replace = true;
        self.segments
            .generations
            .set(number, new.generation, &holes);
        self.remove_file(old);
        Ok(())
    }

    /// Removes a file the catalog does not name; if that fails, the next start does it.
    fn remove_file(&self, name: FileName) {
        let _ = self.blocks.remove(name);
    }
}

fn length_of<'a>(holes: impl IntoIterator<Item = &'a Hole>) -> u64 {
    let lengths = holes.into_iter().map(|hole| hole.length);
    lengths.fold(0, u64::saturating_add)
}
