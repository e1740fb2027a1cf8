//! Where the bytes of a segment are after it was rewritten without its holes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use crate::blocks::FileName;
use crate::catalog::{Hole, SegmentState};

/// A range of the original segment that the present file does not contain.
#[derive(Clone, Copy, Debug)]
struct Gap {
    start: u64,
    end: u64,
    /// Total length of all gaps up to `end`.
    total: u64,
}

#[derive(Debug)]
struct Generation {
    number: u32,
    /// Ascending and disjoint.
    gaps: Vec<Gap>,
}

/// The present file of each segment, and the offset of each address in it.
///
/// An address is an offset in the segment as it was first written, and never changes. This type
/// translates it to an offset in the present file.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    rewritten: RwLock<HashMap<u32, Arc<Generation>>>,
}

impl Generations {
    /// The generations that the catalog lists.
    pub(crate) fn new(states: &BTreeMap<u32, SegmentState>, holes: &[Hole]) -> Self {
        let generations = Self::default();
        for (&segment, state) in states.iter().filter(|(_, state)| state.generation > 0) {
            let gone: Vec<Hole> = holes
                .iter()
                .filter(|hole| hole.segment == segment && hole.is_gone)
                .copied()
                .collect();
            generations.set(segment, state.generation, &gone);
        }
        generations
    }

    /// Records that a segment is now in the file of `generation`, without `holes`, which are sorted
    /// and disjoint.
    pub(crate) fn set(&self, segment: u32, generation: u32, holes: &[Hole]) {
        let mut total = 0;
        let gaps = holes.iter().map(|hole| {
            total += hole.length;
            let start = u64::from(hole.offset);
            Gap {
                start,
                end: start + hole.length,
                total,
            }
        });
        let generation = Generation {
            number: generation,
            gaps: gaps.collect(),
        };
        self.rewritten.write().insert(segment, Arc::new(generation));
    }

    /// Records that a segment was removed.
    pub(crate) fn remove(&self, segment: u32) {
        self.rewritten.write().remove(&segment);
    }

    /// The present file of a segment.
    pub(crate) fn name(&self, segment: u32) -> FileName {
        let generation = self.rewritten.read().get(&segment).map_or(0, |g| g.number);
        FileName {
            generation,
            ..FileName::segment(segment)
        }
    }

    /// The file and offset that now hold what a segment had at `offset`; `None` if the rewrite left
    /// it out.
    pub(crate) fn locate(&self, segment: u32, offset: u64) -> Option<(FileName, u64)> {
        let name = FileName::segment(segment);
        let Some(generation) = self.rewritten.read().get(&segment).cloned() else {
            return Some((name, offset));
        };
        let gaps = &generation.gaps;
        let before = gaps.partition_point(|gap| gap.start <= offset);
        let total = match before.checked_sub(1).and_then(|at| gaps.get(at)) {
            Some(gap) if offset < gap.end => return None,
            Some(gap) => gap.total,
            None => 0,
        };
        let generation = generation.number;
        Some((FileName { generation, ..name }, offset - total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_shrink_by_the_gaps_before_them() {
        let hole = |offset, length| Hole {
            segment: 3,
            offset,
            length,
            is_gone: true,
        };
        let generations = Generations::default();
        assert_eq!(
            generations.locate(3, 500),
            Some((FileName::segment(3), 500))
        );
        generations.set(3, 2, &[hole(100, 50), hole(200, 100)]);
        let name = generations.name(3);
        assert_eq!(name.to_string(), "segments/00000003.2");
        for (offset, expected) in [
            (16, Some(16)),
            (99, Some(99)),
            (100, None),
            (149, None),
            (150, Some(100)),
            (199, Some(149)),
            (200, None),
            (299, None),
            (300, Some(150)),
        ] {
            let expected = expected.map(|place| (name, place));
            assert_eq!(generations.locate(3, offset), expected, "{offset}");
        }
        generations.remove(3);
        assert_eq!(generations.name(3), FileName::segment(3));
    }
}
