//! What the segments have that the catalog does not know of.
//!
//! A commit leaves a record behind its blocks, synced with them, before the catalog has it. So a
//! catalog that lacks the last commit may be that of a process that died in between, or it may have
//! lost what was acknowledged: nobody can tell, and nobody needs to, for the commit is made now. One
//! that lacks a change which something else knows of is older than the data.

use std::collections::BTreeMap;

use crate::Error;
use crate::blocks::{Blocks, FileKind, FileName};
use crate::catalog::{Catalog, CatalogState, SegmentState};
use crate::error::io_error;
use crate::format::{
    BLOCK_HEADER, COMMIT_BLOCK, CommitRecord, FILE_HEADER, check_file_header, open_block,
};

/// What a segment has beyond what the catalog knows of.
#[derive(Debug)]
pub(crate) struct Excess {
    /// Where it begins; 0 if the catalog does not know the segment at all.
    pub(crate) from: u64,
    pub(crate) bytes: Vec<u8>,
    /// Up to where the segment is made of whole blocks.
    whole: u64,
}

/// All that the catalog does not know of.
#[derive(Debug, Default)]
pub(crate) struct Unrecorded {
    pub(crate) segments: BTreeMap<u32, Excess>,
    records: Vec<CommitRecord>,
}

/// Something outside the catalog that knows a change it has to have.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    pub(crate) name: String,
    pub(crate) change: u64,
}

impl Unrecorded {
    /// Looks through the segments behind what is `committed`.
    pub(crate) fn find(
        blocks: &dyn Blocks,
        names: &[FileName],
        committed: &BTreeMap<u32, SegmentState>,
    ) -> Result<Self, Error> {
        let mut found = Self::default();
        // Nothing is appended to a segment that was written anew.
        let appended = |name: &&FileName| name.kind == FileKind::Segment && name.generation == 0;
        for &name in names.iter().filter(appended) {
            let from = match committed.get(&name.number) {
                Some(state) if state.generation > 0 => continue,
                Some(state) => state.length,
                None => 0,
            };
            let length = blocks.len(name).map_err(|e| io_error("look at", name, e))?;
            if length > from {
                let room = usize::try_from(length - from).unwrap_or(usize::MAX);
                let mut bytes = vec![0; room];
                blocks
                    .read_at(name, from, &mut bytes)
                    .map_err(|e| io_error("read", name, e))?;
                let whole = from + found.read_blocks(name, from, &bytes);
                found
                    .segments
                    .insert(name.number, Excess { from, bytes, whole });
            }
        }
        Ok(found)
    }

    /// Notes the commits in `bytes`, and gives how many of them are whole blocks.
    fn read_blocks(&mut self, name: FileName, from: u64, bytes: &[u8]) -> u64 {
        let mut at = 0;
        if from == 0 {
            let header = bytes.get(..FILE_HEADER).unwrap_or(bytes);
            if check_file_header(name, header).is_err() {
                return 0;
            }
            at = FILE_HEADER;
        }
        while let Some(rest) = bytes.get(at..)
            && let Ok(offset) = u32::try_from(from + at as u64)
            && let Ok((kind, payload)) = open_block(name.number, offset, rest)
        {
            if kind[0] == COMMIT_BLOCK {
                self.records.extend(CommitRecord::decode(payload));
            }
            at += BLOCK_HEADER + payload.len();
        }
        at as u64
    }

    /// The commits that `state` lacks and that can be made now, in order: one, unless in salvage.
    ///
    /// # Errors
    /// [`Error::CatalogDamaged`] if more is missing, which in salvage is pushed to `missing`.
    pub(crate) fn commits(
        &self,
        state: CatalogState,
        witnesses: &[Witness],
        missing: &mut Vec<Error>,
        is_salvage: bool,
    ) -> Result<Vec<CommitRecord>, Error> {
        let own: Vec<&CommitRecord> = self.records.iter().filter(|r| r.id == state.id).collect();
        let mut witnesses = witnesses.to_vec();
        witnesses.extend(own.iter().map(|record| Witness {
            name: "a later commit in the segments".to_owned(),
            change: record.previous,
        }));
        let Some(last) = witnesses.into_iter().max_by_key(|witness| witness.change) else {
            return Ok(Vec::new());
        };
        let mut change = state.change;
        let mut commits = Vec::new();
        let next = |change| {
            let after = own.iter().filter(|record| {
                record.previous == change && record.change > change && self.is_whole(record)
            });
            // Only one of them can have come to something; the others were given up before it.
            after.max_by_key(|record| record.change)
        };
        while let Some(record) = next(change) {
            change = record.change;
            commits.push(CommitRecord::clone(record));
            if !is_salvage {
                break;
            }
        }
        // It lacks what was acknowledged, even if all of that can be made now.
        if last.change > state.change {
            let problem = format!(
                "it is older than the data: it is at change {}, and {} knows of change {}",
                state.change, last.name, last.change
            );
            let error = Error::CatalogDamaged { problem };
            if !is_salvage {
                return Err(error);
            }
            missing.push(error);
        }
        Ok(commits)
    }

    /// Whether all blocks are whole that a commit leads to and the catalog does not know of.
    fn is_whole(&self, record: &CommitRecord) -> bool {
        record.segments.iter().all(|(number, &length)| {
            self.segments
                .get(number)
                .is_some_and(|excess| excess.whole >= length)
        })
    }

    /// Makes a commit that the catalog lacks.
    ///
    /// Its blocks are written once more and synced: after a sync that failed, the system may show
    /// bytes that are not on the disk and take them for written.
    pub(crate) fn roll_forward(
        &self,
        blocks: &dyn Blocks,
        catalog: &dyn Catalog,
        record: &CommitRecord,
    ) -> Result<(), Error> {
        for (&number, &length) in &record.segments {
            let name = FileName::segment(number);
            if let Some(excess) = self.segments.get(&number) {
                let until = usize::try_from(length - excess.from).unwrap_or(usize::MAX);
                blocks
                    .write_at(name, excess.from, &excess.bytes[..until])
                    .and_then(|()| blocks.sync(name))
                    .map_err(|e| io_error("write to", name, e))?;
            }
        }
        catalog.number(record.change);
        catalog.commit(&record.commits, &record.segments)
    }
}
