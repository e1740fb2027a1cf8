//! Points that are acknowledged but not yet in the tree.

use std::sync::{Arc, OnceLock};

use pingthings_types::Points;

use crate::columns::{Slice, merge_into};
use crate::masks::Masks;

/// The changes on top of a committed tree: new points, and instants whose stored points are
/// replaced.
///
/// A buffer is immutable, so readers may keep it.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// Each run is sorted, and earlier runs arrived earlier. Each run is at most half as long as
    /// the one before, so a point is copied only as often as the buffer doubles in size.
    runs: Vec<Arc<Points>>,
    masks: Masks,
    length: usize,
    merged: OnceLock<Arc<Points>>,
}

fn merge(old: &Points, new: &Points) -> Points {
    let mut merged = Points::default();
    merge_into(&mut merged, Slice::of(old), Slice::of(new));
    merged
}

impl Buffer {
    /// A buffer of sorted points and masks.
    pub(crate) fn of(points: Points, masks: Masks) -> Self {
        let length = points.len();
        Self {
            runs: vec![Arc::new(points)],
            masks,
            length,
            merged: OnceLock::new(),
        }
    }

    /// Number of points.
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    pub(crate) const fn masks(&self) -> &Masks {
        &self.masks
    }

    /// A copy of this buffer with more sorted points, which come after its own at equal times.
    pub(crate) fn with(&self, points: Points) -> Self {
        let length = self.length + points.len();
        let mut runs = match self.merged.get() {
            Some(merged) => vec![Arc::clone(merged)],
            None => self.runs.clone(),
        };
        let mut last = Arc::new(points);
        while let Some(previous) = runs.pop_if(|run| run.len() <= 2 * last.len()) {
            last = Arc::new(merge(&previous, &last));
        }
        runs.push(last);
        Self {
            runs,
            masks: self.masks.clone(),
            length,
            merged: OnceLock::new(),
        }
    }

    /// All points, sorted by time, in order of arrival at equal times.
    pub(crate) fn points(&self) -> Arc<Points> {
        let merged = self.merged.get_or_init(|| {
            let mut runs = self.runs.iter().rev();
            let Some(last) = runs.next() else {
                return Arc::default();
            };
            runs.fold(Arc::clone(last), |later, earlier| {
                Arc::new(merge(earlier, &later))
            })
        });
        Arc::clone(merged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn points_come_back_sorted_and_in_order_of_arrival(
            inserts in prop::collection::vec(prop::collection::vec(0..20i64, 1..30), 1..12),
            look in any::<bool>(),
        ) {
            let mut buffer = Buffer::default();
            let mut expected: Vec<(i64, f64)> = Vec::new();
            let mut serial = 0.0;
            for mut times in inserts {
                times.sort_unstable();
                let mut points = Points::default();
                for time in times {
                    serial += 1.0;
                    expected.push((time, serial));
                    points.times.push(time);
                    points.values.push(serial);
                }
                buffer = buffer.with(points);
                if look {
                    prop_assert_eq!(buffer.points().len(), expected.len());
                }
            }
            expected.sort_by_key(|pair| pair.0);
            let found: Vec<_> = buffer.points().iter().map(|p| (p.time, p.value)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
