//! Finding the blocks that trees refer to.

use std::collections::HashSet;

use super::node::{Address, Block};
use crate::Error;
use crate::segment::Segments;

/// The blocks reachable from `roots` but not from `kept`, in no particular order.
///
/// It does not read leaves, and does not add to the cache what it reads.
pub(crate) fn unshared(
    segments: &Segments,
    roots: &[Address],
    kept: Option<Address>,
) -> Result<Vec<Address>, Error> {
    let mut collector = BlockCollector {
        segments,
        seen: HashSet::new(),
        found: Vec::new(),
    };
    if let Some(kept) = kept {
        collector.visit(kept)?;
        collector.found.clear();
    }
    for &root in roots {
        collector.visit(root)?;
    }
    Ok(collector.found)
}

struct BlockCollector<'a> {
    segments: &'a Segments,
    /// Segment and offset of the visited blocks.
    seen: HashSet<(u32, u32)>,
    found: Vec<Address>,
}

impl BlockCollector<'_> {
    fn add(&mut self, address: Address) -> bool {
        let is_new = self.seen.insert((address.segment, address.offset));
        if is_new {
            self.found.push(address);
        }
        is_new
    }

    /// Adds an inner node or a run, and all blocks below it.
    fn visit(&mut self, address: Address) -> Result<(), Error> {
        let mut open = vec![address];
        while let Some(address) = open.pop() {
            if !self.add(address) {
                continue;
            }
            match self.segments.peek(address)? {
                Block::Leaf(_) => {}
                Block::Inner(inner) => {
                    for child in &inner.children {
                        if child.kind.is_leaf() {
                            self.add(child.address);
                        } else {
                            open.push(child.address);
                        }
                    }
                }
                Block::Run(run) => {
                    for (leaf, _) in &run.leaves {
                        self.add(*leaf);
                    }
                }
            }
        }
        Ok(())
    }
}
