//! Rewriting a segment without its holes: the blocks that nothing refers to.

use crate::Error;
use crate::blocks::FileName;
use crate::catalog::Hole;
use crate::error::io_error;
use crate::format::{BLOCK_HEADER, COMMIT_BLOCK, FILE_HEADER, file_header, open_block};
use crate::segment::{Segments, damaged};
use crate::tree::Address;

/// How much is read and written at once.
const CHUNK: usize = 1 << 20;

/// The result of a compaction so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compaction {
    /// Number of segments examined.
    pub segments: usize,
    /// Number of segments rewritten without their holes.
    pub rewritten: usize,
    /// Number of segments removed because nothing in them was in use.
    pub removed: usize,
    /// Total size of the examined segments before, in bytes.
    pub bytes_before: u64,
    /// Total size of the same segments now, in bytes.
    pub bytes_after: u64,
}

/// Sorts holes and joins those that touch; all of them become `is_gone`.
pub(crate) fn merge_holes(mut holes: Vec<Hole>) -> Vec<Hole> {
    holes.sort_unstable();
    let mut apart: Vec<Hole> = Vec::new();
    for hole in holes {
        let start = u64::from(hole.offset);
        match apart.last_mut() {
            Some(last)
                if last.segment == hole.segment
                    && start <= u64::from(last.offset) + last.length =>
            {
                let end = start + hole.length;
                last.length = last.length.max(end - u64::from(last.offset));
            }
            _ => apart.push(Hole {
                is_gone: true,
                ..hole
            }),
        }
    }
    apart
}

/// The ranges that the blocks at `addresses` occupy, as holes that are still in their file.
pub(crate) fn holes_of(addresses: &[Address]) -> Vec<Hole> {
    let holes = addresses.iter().map(|address| Hole {
        segment: address.segment,
        offset: address.offset,
        length: u64::from(address.length),
        is_gone: false,
    });
    let mut holes = merge_holes(holes.collect());
    for hole in &mut holes {
        hole.is_gone = false;
    }
    holes
}

impl Segments {
    /// Copies a segment of `length` bytes, without `holes`, into the file `to`, and syncs it.
    ///
    /// The copy verifies the checksum of every block, so damage is found while the original still
    /// exists.
    pub(crate) fn copy(&self, length: u64, holes: &[Hole], to: FileName) -> Result<(), Error> {
        let failed = |action| move |e| io_error(action, to, e);
        self.blocks.create(to).map_err(failed("create"))?;
        self.blocks
            .write_at(to, 0, &file_header(to))
            .map_err(failed("write"))?;
        let mut written = FILE_HEADER as u64;
        let mut from = FILE_HEADER as u64;
        let end = Hole {
            segment: to.number,
            offset: u32::try_from(length).unwrap_or(u32::MAX),
            length: 0,
            is_gone: true,
        };
        for hole in holes.iter().chain([&end]) {
            let until = u64::from(hole.offset);
            self.copy_range(to, from, until, &mut written)?;
            from = until + hole.length;
        }
        self.blocks.sync(to).map_err(failed("sync"))
    }

    /// The commit records in a segment of `length` bytes with `holes`. The catalog has these
    /// commits by now, so the records are no longer needed.
    pub(crate) fn commit_records_in(
        &self,
        segment: u32,
        length: u64,
        holes: &[Hole],
    ) -> Result<Vec<Hole>, Error> {
        let holes = merge_holes(holes.to_vec());
        let mut holes = holes.iter().peekable();
        let mut found = Vec::new();
        let mut at = FILE_HEADER as u64;
        while at + (BLOCK_HEADER as u64) < length {
            if let Some(hole) = holes.next_if(|hole| u64::from(hole.offset) <= at) {
                at = at.max(u64::from(hole.offset) + hole.length);
                continue;
            }
            let offset = u32::try_from(at).unwrap_or(u32::MAX);
            let place = Address {
                segment,
                offset,
                length: u32::try_from(BLOCK_HEADER).unwrap_or(u32::MAX),
            };
            let header = self.read(place)?;
            let (size, kind) = block_size(&header);
            if kind == COMMIT_BLOCK {
                found.push(Hole {
                    segment,
                    offset,
                    length: size,
                    is_gone: false,
                });
            }
            at += size;
        }
        Ok(found)
    }

    fn copy_range(
        &self,
        to: FileName,
        mut from: u64,
        until: u64,
        written: &mut u64,
    ) -> Result<(), Error> {
        let mut chunk = CHUNK;
        while from < until {
            let left = usize::try_from(until - from).unwrap_or(usize::MAX);
            let address = Address {
                segment: to.number,
                offset: u32::try_from(from).unwrap_or(u32::MAX),
                length: u32::try_from(left.min(chunk)).unwrap_or(u32::MAX),
            };
            let bytes = self.read(address)?;
            let complete = complete_blocks(address, &bytes, left)?;
            if complete == 0 {
                chunk *= 2;
                continue;
            }
            self.blocks
                .write_at(to, *written, &bytes[..complete])
                .map_err(|e| io_error("write", to, e))?;
            *written += complete as u64;
            from += complete as u64;
        }
        Ok(())
    }
}

/// The length and kind of the block with this header. The block itself is verified when it is
/// copied.
fn block_size(header: &[u8]) -> (u64, u8) {
    let length = header.first_chunk().map_or(0, |l| u32::from_le_bytes(*l));
    let kind = header.get(8).copied().unwrap_or(0);
    (u64::from(length) + BLOCK_HEADER as u64, kind)
}

/// The length of the complete blocks at the start of `bytes`; `left` bytes of the segment remain,
/// these included.
fn complete_blocks(address: Address, bytes: &[u8], left: usize) -> Result<usize, Error> {
    let mut complete = 0;
    while complete < bytes.len() {
        let rest = &bytes[complete..];
        let length = rest
            .first_chunk()
            .map(|length| u32::from_le_bytes(*length) as usize + BLOCK_HEADER);
        match length {
            // The block continues beyond the bytes that were read.
            None if bytes.len() < left => break,
            Some(length) if length > rest.len() && complete + length <= left => break,
            _ => {}
        }
        let offset = address.offset + u32::try_from(complete).unwrap_or(u32::MAX);
        let place = Address { offset, ..address };
        let (_, payload) =
            open_block(address.segment, offset, rest).map_err(|problem| damaged(place, problem))?;
        complete += BLOCK_HEADER + payload.len();
    }
    Ok(complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let at = |segment, offset, length| Address {
            segment,
            offset,
            length,
        };
        let found = holes_of(&[at(1, 40, 10), at(1, 16, 4), at(2, 50, 1), at(1, 20, 20)]);
        let hole = |segment, offset, length| Hole {
            segment,
            offset,
            length,
            is_gone: false,
        };
        assert_eq!(found, [hole(1, 16, 34), hole(2, 50, 1)]);
    }
}
