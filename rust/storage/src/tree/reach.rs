//! Which blocks trees lead to.

use std::collections::HashSet;

use super::node::{Address, Block};
use crate::Error;
use crate::segment::Segments;

/// The blocks that `roots` lead to and `kept` does not, in no order.
///
/// Leaves are not read, and what is read is not kept for later.
pub(crate) fn unshared(
    segments: &Segments,
    roots: &[Address],
    kept: Option<Address>,
) -> Result<Vec<Address>, Error> {
    let mut reach = Reach {
        segments,
        seen: HashSet::new(),
        found: Vec::new(),
    };
    if let Some(kept) = kept {
        reach.visit(kept)?;
        reach.found.clear();
    }
    for &root in roots {
        reach.visit(root)?;
    }
    Ok(reach.found)
}

struct Reach<'a> {
    segments: &'a Segments,
    /// Where blocks begin that were met.
    seen: HashSet<(u32, u32)>,
    found: Vec<Address>,
}

impl Reach<'_> {
    fn meet(&mut self, address: Address) -> bool {
        let is_new = self.seen.insert((address.segment, address.offset));
        if is_new {
            self.found.push(address);
        }
        is_new
    }

    /// Meets an inner node or a run and all below it.
    fn visit(&mut self, address: Address) -> Result<(), Error> {
        let mut open = vec![address];
        while let Some(address) = open.pop() {
            if !self.meet(address) {
                continue;
            }
            match self.segments.peek(address)? {
                Block::Leaf(_) => {}
                Block::Inner(inner) => {
                    for child in &inner.children {
                        if child.kind.is_leaf() {
                            self.meet(child.address);
                        } else {
                            open.push(child.address);
                        }
                    }
                }
                Block::Run(run) => {
                    for (leaf, _) in &run.leaves {
                        self.meet(*leaf);
                    }
                }
            }
        }
        Ok(())
    }
}
