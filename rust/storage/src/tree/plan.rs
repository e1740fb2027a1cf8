//! A tree about to be written: which blocks stay, and what the new ones contain.

use pingthings_types::Stat;

use super::node::{Address, BlockKind, Child};
use crate::format::{BLOCK_HEADER, InnerParts, Malformed, encode_inner, encode_run, seal_block};

/// What lies below some buckets of a planned node.
#[derive(Debug)]
pub(crate) enum Content {
    /// A block that is there already.
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
    pub(crate) content: Content,
}

/// A node to be written, below which some blocks are new.
#[derive(Debug)]
pub(crate) struct PlanInner {
    pub(crate) start: i64,
    pub(crate) exponent: u32,
    pub(crate) stats: Box<[Stat; 64]>,
    pub(crate) children: Vec<PlanChild>,
}

/// A whole new tree; `None` is one without points.
pub(crate) type Plan = Option<PlanInner>;

/// Gives the planned blocks their places, one after the other.
#[derive(Debug)]
pub(crate) struct Placer {
    segment: u32,
    offset: u64,
    bytes: Vec<u8>,
}

impl Placer {
    /// Blocks will follow each other in `segment` from `offset` on.
    pub(crate) const fn new(segment: u32, offset: u64) -> Self {
        Self {
            segment,
            offset,
            bytes: Vec::new(),
        }
    }

    /// The bytes to be written at the offset.
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

    fn place(&mut self, content: &Content) -> Result<(BlockKind, Address), Malformed> {
        match content {
            Content::Kept(kind, address) => Ok((*kind, *address)),
            Content::Leaf(payload) => Ok((BlockKind::Leaf, self.seal(BlockKind::Leaf, payload)?)),
            Content::Inner(inner) => Ok((BlockKind::Inner, self.place_inner(inner)?)),
            Content::Run(time, leaves) => {
                let leaves = leaves
                    .iter()
                    .map(|(content, stat)| Ok((self.place(content)?.1, *stat)))
                    .collect::<Result<Vec<_>, Malformed>>()?;
                let payload = encode_run(*time, &leaves);
                Ok((BlockKind::Run, self.seal(BlockKind::Run, &payload)?))
            }
        }
    }

    /// Places a node and everything new below it; gives its own address.
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
