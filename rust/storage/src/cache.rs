//! Decoded blocks kept for later reads, within a budget of bytes.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::tree::{Address, Block};

const SHARDS: usize = 16;

#[derive(Debug)]
struct Entry {
    block: Block,
    /// Set by a read and cleared when eviction passes over the block, which stays one more round.
    was_used: bool,
}

#[derive(Debug, Default)]
struct Shard {
    blocks: HashMap<Address, Entry>,
    order: VecDeque<Address>,
    bytes: usize,
}

/// Decoded blocks by address. Blocks are immutable, so an entry is never stale.
#[derive(Debug)]
pub(crate) struct Cache {
    shards: [Mutex<Shard>; SHARDS],
    shard_bytes: usize,
}

impl Cache {
    /// A cache that holds at most about `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            shard_bytes: bytes / SHARDS,
        }
    }

    fn shard(&self, address: Address) -> &Mutex<Shard> {
        // Mixes the bits of the address so that blocks spread evenly over the shards.
        let mixed = (address.offset ^ address.segment.rotate_left(16)).wrapping_mul(0x9e37_79b1);
        &self.shards[(mixed >> 28) as usize % SHARDS]
    }

    pub(crate) fn get(&self, address: Address) -> Option<Block> {
        let mut shard = self.shard(address).lock();
        let entry = shard.blocks.get_mut(&address)?;
        entry.was_used = true;
        Some(entry.block.clone())
    }

    pub(crate) fn put(&self, address: Address, block: Block) {
        let bytes = block.memory();
        if bytes > self.shard_bytes {
            return;
        }
        let mut shard = self.shard(address).lock();
        if shard
            .blocks
            .insert(
                address,
                Entry {
                    block,
                    was_used: false,
                },
            )
            .is_some()
        {
            return;
        }
        shard.order.push_back(address);
        shard.bytes += bytes;
        while shard.bytes > self.shard_bytes {
            let Some(oldest) = shard.order.pop_front() else {
                return;
            };
            match shard.blocks.get_mut(&oldest) {
                Some(entry) if entry.was_used => {
                    entry.was_used = false;
                    shard.order.push_back(oldest);
                }
                _ => {
                    let gone = shard.blocks.remove(&oldest);
                    shard.bytes -= gone.map_or(0, |entry| entry.block.memory());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use pingthings_types::Points;

    #[test]
    fn the_budget_holds_and_used_blocks_stay_longer() {
        let leaf = || {
            Block::Leaf(Arc::new(Points {
                times: vec![0; 64],
                values: vec![0.0; 64],
            }))
        };
        let bytes = leaf().memory();
        let cache = Cache::new(bytes * 10 * SHARDS);
        let at = |offset| Address {
            segment: 1,
            offset,
            length: 9,
        };
        cache.put(at(0), leaf());
        for offset in 1..2_000 {
            cache.put(at(offset), leaf());
            assert!(cache.get(at(0)).is_some(), "dropped at {offset}");
        }
        let held = (0..2_000)
            .filter(|&offset| cache.get(at(offset)).is_some())
            .count();
        assert!((SHARDS..=10 * SHARDS).contains(&held), "{held} held");
    }
}
