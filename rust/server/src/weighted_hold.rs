//! The order in which holds are revoked.

use std::cmp::Ordering;

/// A hold, ordered by its weight: bytes times seconds without progress.
#[derive(Debug)]
pub(crate) struct WeightedHold {
    pub(crate) weight: f64,
    pub(crate) number: u64,
}

impl Ord for WeightedHold {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_weight = self.weight.total_cmp(&other.weight);
        // Of two holds with the same weight the older one is revoked first.
        by_weight.then(other.number.cmp(&self.number))
    }
}

impl PartialOrd for WeightedHold {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for WeightedHold {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for WeightedHold {}
