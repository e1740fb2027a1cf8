//! The order in which what is held gives way.

use std::cmp::Ordering;

/// What is held, by its bytes times the seconds without progress.
#[derive(Debug)]
pub(crate) struct Weighed {
    pub(crate) weight: f64,
    pub(crate) number: u64,
}

impl Ord for Weighed {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_weight = self.weight.total_cmp(&other.weight);
        // Of what weighs the same, the older goes first.
        by_weight.then(other.number.cmp(&self.number))
    }
}

impl PartialOrd for Weighed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Weighed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Weighed {}
