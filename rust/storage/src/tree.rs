//! The tree: 64-way, partitioned by time, copy-on-write.
//!
//! The root covers all of time, [`MIN_TIME`, `MIN_TIME` + 2^62), in 64 buckets of 2^56 ns. Each
//! level below divides a bucket by 64, down to one nanosecond. An inner node stores the statistics
//! of each bucket. Neighbouring buckets with few points share one leaf, so leaves stay large
//! whatever the rate of the stream. If more points than a leaf holds have equal times, they form a
//! run of leaves.

mod changes;
mod edit;
mod nearest;
mod node;
mod plan;
mod probe;
mod reach;
mod walk;

pub(crate) use changes::Changes;
pub(crate) use edit::{Edit, edit_root};
pub(crate) use nearest::last_before;
pub use node::Address;
#[cfg(test)]
pub(crate) use node::MAX_LEAF;
pub(crate) use node::{Block, BlockKind, Child, Inner, Run};
pub(crate) use plan::{Placer, PlanInner};
pub(crate) use probe::Probe;
pub(crate) use reach::unshared;
pub(crate) use walk::{Piece, Walk, WindowCheck};
