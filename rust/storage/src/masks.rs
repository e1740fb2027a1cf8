//! Ranges of time whose stored points are hidden.

/// How much of a range is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    Nothing,
    Some,
    All,
}

/// Half-open ranges of time, ascending and disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Masks(Vec<(i64, i64)>);

impl Masks {
    /// One range.
    pub(crate) fn of(start: i64, end: i64) -> Self {
        Self(vec![(start, end)])
    }

    /// These ranges and the single instants `times`, which are ascending.
    pub(crate) fn with_instants(&self, times: &[i64]) -> Self {
        let instants = times.iter().map(|&time| (time, time + 1));
        let mut all: Vec<_> = self.0.iter().copied().chain(instants).collect();
        all.sort_unstable();
        let mut joined: Vec<(i64, i64)> = Vec::with_capacity(all.len());
        for (start, end) in all {
            match joined.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => joined.push((start, end)),
            }
        }
        Self(joined)
    }

    /// The ranges that overlap `[start, end)`.
    fn overlapping(&self, start: i64, end: i64) -> &[(i64, i64)] {
        let from = self.0.partition_point(|mask| mask.1 <= start);
        let to = self.0.partition_point(|mask| mask.0 < end);
        self.0.get(from..to).unwrap_or_default()
    }

    /// The ranges.
    pub(crate) fn ranges(&self) -> &[(i64, i64)] {
        &self.0
    }

    /// How much of `[start, end)` is masked.
    pub(crate) fn cover(&self, start: i64, end: i64) -> Cover {
        match self.overlapping(start, end) {
            [] => Cover::Nothing,
            [(from, to)] if *from <= start && end <= *to => Cover::All,
            _ => Cover::Some,
        }
    }

    /// The range that contains `time`.
    pub(crate) fn containing(&self, time: i64) -> Option<(i64, i64)> {
        self.overlapping(time, time.saturating_add(1))
            .first()
            .copied()
    }

    /// The index ranges of sorted `times` that are not masked, ascending.
    pub(crate) fn kept(&self, times: &[i64]) -> Vec<(usize, usize)> {
        let (Some(&first), Some(&last)) = (times.first(), times.last()) else {
            return Vec::new();
        };
        let mut kept = Vec::new();
        let mut from = 0;
        for &(start, end) in self.overlapping(first, last.saturating_add(1)) {
            let to = times.partition_point(|&time| time < start);
            if from < to {
                kept.push((from, to));
            }
            from = times.partition_point(|&time| time < end);
        }
        if from < times.len() {
            kept.push((from, times.len()));
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_join_adjacent_ranges() {
        let masks = Masks(vec![(10, 20)]).with_instants(&[3, 9, 15, 20, 22]);
        assert_eq!(masks, Masks(vec![(3, 4), (9, 21), (22, 23)]));
        assert_eq!(masks.cover(9, 21), Cover::All);
        assert_eq!(masks.cover(8, 21), Cover::Some);
        assert_eq!(masks.cover(4, 9), Cover::Nothing);
        assert_eq!(masks.containing(20), Some((9, 21)));
        assert_eq!(masks.containing(21), None);
    }

    #[test]
    fn kept_returns_the_unmasked_indices() {
        let masks = Masks(vec![(3, 4), (9, 21)]);
        assert_eq!(
            masks.kept(&[1, 3, 3, 4, 8, 9, 20, 21, 30]),
            [(0, 1), (3, 5), (7, 9)]
        );
        assert_eq!(masks.kept(&[3, 10]), []);
        assert_eq!(masks.kept(&[]), []);
        assert_eq!(masks.kept(&[5, 6]), [(0, 2)]);
    }
}
