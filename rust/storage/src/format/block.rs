//! A block of a segment: header, checksum, payload.

use std::sync::Arc;

use super::{Cursor, Malformed};
use crate::tree::{Address, Block, BlockKind};

/// Length of the header of a block.
pub(crate) const BLOCK_HEADER: usize = 12;

/// The checksum covers the location of the block, so that a block read from a wrong place is
/// detected.
fn checksum(segment: u32, offset: u32, kind: [u8; 4], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&segment.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &offset.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &kind);
    crc32c::crc32c_append(crc, payload)
}

/// The kind of a commit record, which is a block outside all trees.
pub(crate) const COMMIT_BLOCK: u8 = 4;

/// Appends a block to `buffer`, and returns its address; `segment` and `offset` are its final
/// location.
pub(crate) fn seal_block(
    buffer: &mut Vec<u8>,
    segment: u32,
    offset: u32,
    kind: BlockKind,
    payload: &[u8],
) -> Result<Address, Malformed> {
    seal(buffer, segment, offset, kind.to_byte(), payload)
}

/// Appends a commit record to `buffer`.
pub(crate) fn seal_commit(
    buffer: &mut Vec<u8>,
    segment: u32,
    offset: u32,
    payload: &[u8],
) -> Result<Address, Malformed> {
    seal(buffer, segment, offset, COMMIT_BLOCK, payload)
}

fn seal(
    buffer: &mut Vec<u8>,
    segment: u32,
    offset: u32,
    kind: u8,
    payload: &[u8],
) -> Result<Address, Malformed> {
    let too_long = |_| Malformed("the block is too long");
    let length = u32::try_from(payload.len()).map_err(too_long)?;
    let total = u32::try_from(payload.len() + BLOCK_HEADER).map_err(too_long)?;
    let kind = [kind, 0, 0, 0];
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&checksum(segment, offset, kind, payload).to_le_bytes());
    buffer.extend_from_slice(&kind);
    buffer.extend_from_slice(payload);
    Ok(Address {
        segment,
        offset,
        length: total,
    })
}

/// The kind and payload of the block at the start of `bytes`.
pub(crate) fn open_block(
    segment: u32,
    offset: u32,
    bytes: &[u8],
) -> Result<([u8; 4], &[u8]), Malformed> {
    let mut cursor = Cursor::new(bytes);
    let length = cursor.u32()?;
    let crc = cursor.u32()?;
    let kind = cursor.array::<4>()?;
    let payload = cursor
        .rest()
        .get(..length as usize)
        .ok_or(Malformed("the length of the block is wrong"))?;
    if crc != checksum(segment, offset, kind, payload) {
        return Err(Malformed("the checksum of the block does not match"));
    }
    Ok((kind, payload))
}

/// Decodes the block whose bytes were read from `address`.
pub(crate) fn decode_block(address: Address, bytes: &[u8]) -> Result<Block, Malformed> {
    let (kind, payload) = open_block(address.segment, address.offset, bytes)?;
    if payload.len() + BLOCK_HEADER != address.length as usize {
        return Err(Malformed("the length of the block is wrong"));
    }
    match BlockKind::from_byte(kind[0]).filter(|_| kind[1..] == [0, 0, 0]) {
        Some(BlockKind::Leaf) => {
            super::decode_leaf(payload).map(|leaf| Block::Leaf(Arc::new(leaf)))
        }
        Some(BlockKind::Inner) => {
            super::decode_inner(payload).map(|inner| Block::Inner(Arc::new(inner)))
        }
        Some(BlockKind::Run) => super::decode_run(payload).map(|run| Block::Run(Arc::new(run))),
        None => Err(Malformed("the kind of the block is unknown")),
    }
}
