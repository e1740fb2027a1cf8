//! Data in the segments that the catalog does not list, and completing the commits among them.
//!
//! A commit writes a record after its blocks and syncs both before it changes the catalog. If the
//! catalog lacks the last commit, either the process died between the two or the catalog lost an
//! acknowledged commit. The two cases cannot be distinguished and need not be: the commit is
//! completed now. A catalog that lacks a change which another file knows of is older than the data.

use std::collections::BTreeMap;

use crate::Error;
use crate::blocks::{Blocks, FileKind, FileName};
use crate::catalog::{Catalog, CatalogState, SegmentState};
use crate::error::io_error;
use crate::format::{
    BLOCK_HEADER, COMMIT_BLOCK, CommitRecord, FILE_HEADER, check_file_header, open_block,
};

/// The part of a segment that the catalog does not list.
#[derive(Debug)]
pub(crate) struct UncommittedTail {
    /// Where it begins; 0 if the catalog does not list the segment at all.
    pub(crate) from: u64,
    pub(crate) bytes: Vec<u8>,
    /// The segment consists of complete blocks up to here.
    intact_until: u64,
}

/// All data in the segments that the catalog does not list.
#[derive(Debug, Default)]
pub(crate) struct UncommittedData {
    pub(crate) segments: BTreeMap<u32, UncommittedTail>,
    records: Vec<CommitRecord>,
}

/// Something outside the catalog that refers to one of its changes, so that the catalog has to have
/// it.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    pub(crate) name: String,
    pub(crate) change: u64,
}

impl UncommittedData {
    /// Reads the segments beyond their committed lengths.
    pub(crate) fn find(
        blocks: &dyn Blocks,
        names: &[FileName],
        committed: &BTreeMap<u32, SegmentState>,
    ) -> Result<Self, Error> {
        let mut found = Self::default();
        // Nothing is appended to a rewritten segment.
        let appended = |name: &&FileName| name.kind == FileKind::Segment && name.generation == 0;
        for &name in names.iter().filter(appended) {
            let from = match committed.get(&name.number) {
                Some(state) if state.generation > 0 => continue,
                Some(state) => state.length,
                None => 0,
            };
            let length = blocks.len(name).map_err(|e| io_error("look at", name, e))?;
            if length > from {
                let length = usize::try_from(length - from).unwrap_or(usize::MAX);
                let mut bytes = vec![0; length];
                blocks
                    .read_at(name, from, &mut bytes)
                    .map_err(|e| io_error("read", name, e))?;
                let intact_until = from + found.read_blocks(name, from, &bytes);
                found.segments.insert(
                    name.number,
                    UncommittedTail {
                        from,
                        bytes,
                        intact_until,
                    },
                );
            }
        }
        Ok(found)
    }

    /// Collects the commits in `bytes`, and returns the length of the complete blocks.
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

    /// The commits that `state` lacks and that can be completed, in order; at most one unless
    /// salvaging.
    ///
    /// # Errors
    /// [`Error::CatalogDamaged`] if more is missing. When salvaging, the error is added to
    /// `missing` instead.
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
                record.previous == change && record.change > change && self.is_intact(record)
            });
            // At most one of them succeeded; the others were abandoned before it.
            after.max_by_key(|record| record.change)
        };
        while let Some(record) = next(change) {
            change = record.change;
            commits.push(CommitRecord::clone(record));
            if !is_salvage {
                break;
            }
        }
        // The catalog lacks an acknowledged change, even if all commits can be completed.
        if last.change > state.change {
            let problem = format!(
                "it is older than the data: it is at change {}, but {} refers to change {}",
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

    /// Whether all blocks of a commit that the catalog does not list are intact.
    fn is_intact(&self, record: &CommitRecord) -> bool {
        record.segments.iter().all(|(number, &length)| {
            self.segments
                .get(number)
                .is_some_and(|tail| tail.intact_until >= length)
        })
    }

    /// Completes a commit that the catalog lacks.
    ///
    /// Its blocks are rewritten and synced: after a failed sync the system may show bytes that are
    /// not on the disk and consider them written.
    pub(crate) fn roll_forward(
        &self,
        blocks: &dyn Blocks,
        catalog: &dyn Catalog,
        record: &CommitRecord,
    ) -> Result<(), Error> {
        for (&number, &length) in &record.segments {
            let name = FileName::segment(number);
            if let Some(tail) = self.segments.get(&number) {
                let until = usize::try_from(length - tail.from).unwrap_or(usize::MAX);
                blocks
                    .write_at(name, tail.from, &tail.bytes[..until])
                    .and_then(|()| blocks.sync(name))
                    .map_err(|e| io_error("write to", name, e))?;
            }
        }
        catalog.set_change_number(record.change);
        catalog.commit(&record.commits, &record.segments)
    }
}
