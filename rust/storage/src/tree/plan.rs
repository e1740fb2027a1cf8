//! A tree about to be written: the blocks it keeps, and the content of its new ones.

use pingthings_types::Stat;

use super::node::{Address, BlockKind, Child};
use crate::format::{BLOCK_HEADER, InnerParts, Malformed, encode_inner, encode_run, seal_block};

/// A block below some buckets of a planned node.
#[derive(Debug)]
pub(crate) enum PlannedBlock {
    /// An existing block.
    Kept(BlockKind, Address),
    /// The payload of a new leaf.
    Leaf(Vec<u8>),
    Inner(Box<PlanInner>),
    Run(i64, Vec<(Self, Stat)>),
}

/// A child of a planned node.
#[derive(Debug)]
pub(crate) struct PlanChild {
    pub(crate) first: u8,
    pub(crate) last: u8,
    pub(crate) content: PlannedBlock,
}

/// A new inner node, which may keep existing blocks below it.
#[derive(Debug)]
pub(crate) struct PlanInner {
    pub(crate) start: i64,
    pub(crate) exponent: u32,
    pub(crate) stats: Box<[Stat; 64]>,
    pub(crate) children: Vec<PlanChild>,
}

/// A new tree; `None` if it has no points.
pub(crate) type Plan = Option<PlanInner>;

/// Assigns addresses to planned blocks and encodes them, one after the other.
#[derive(Debug)]
pub(crate) struct Placer {
    segment: u32,
    offset: u64,
    bytes: Vec<u8>,
}

impl Placer {
    /// Places blocks one after the other in `segment`, from `offset` on.
    pub(crate) const fn new(segment: u32, offset: u64) -> Self {
        Self {
            segment,
            offset,
            bytes: Vec::new(),
        }
    }

    /// The encoded blocks, to be written at the offset.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn seal(&mut self, kind: BlockKind, payload: &[u8]) -> Result<Address, Malformed> {
        let end = self.offset + (self.bytes.len() + BLOCK_HEADER + payload.len()) as u64;
        if u32::try_from(end).is_err() {
            return Err(Malformed("a segment cannot be longer than 4 GiB"));
        }
        let offset = u32::try_from(self.offset + self.bytes.len() as u64)
            .map_err(|_| Malformed("a segment cannot be longer than 4 GiB"))?;
        seal_block(&mut self.bytes, self.segment, offset, kind, payload)
    }

    fn place(&mut self, content: &PlannedBlock) -> Result<(BlockKind, Address), Malformed> {
        match content {
            PlannedBlock::Kept(kind, address) => Ok((*kind, *address)),
            PlannedBlock::Leaf(payload) => {
                Ok((BlockKind::Leaf, self.seal(BlockKind::Leaf, payload)?))
            }
            PlannedBlock::Inner(inner) => Ok((BlockKind::Inner, self.place_inner(inner)?)),
            PlannedBlock::Run(time, leaves) => {
                let leaves = leaves
                    .iter()
                    .map(|(content, stat)| Ok((self.place(content)?.1, *stat)))
                    .collect::<Result<Vec<_>, Malformed>>()?;
                let payload = encode_run(*time, &leaves);
                Ok((BlockKind::Run, self.seal(BlockKind::Run, &payload)?))
            }
        }
    }

    /// Places a node and all new blocks below it, and returns its address.
    pub(crate) fn place_inner(&mut self, inner: &PlanInner) -> Result<Address, Malformed> {
        let children = inner
            .children
            .iter()
            .map(|child| {
                let (kind, address) = self.place(&child.content)?;
                Ok(Child {
                    first: child.first,
                    last: child.last,
                    kind,
                    address,
                })
            })
            .collect::<Result<Vec<_>, Malformed>>()?;
        let parts = InnerParts {
            start: inner.start,
            exponent: inner.exponent,
            stats: &inner.stats[..],
        };
        let payload = encode_inner(parts, &children);
        self.seal(BlockKind::Inner, &payload)
    }
}
