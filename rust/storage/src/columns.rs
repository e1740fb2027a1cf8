//! Sorting and merging columns of points.

use pingthings_types::Points;

/// Sorts points by time; points at equal times keep their order.
pub(crate) fn sort_by_time(points: &mut Points) {
    if points.times.is_sorted() {
        return;
    }
    let mut pairs: Vec<(i64, f64)> = points
        .times
        .iter()
        .copied()
        .zip(points.values.iter().copied())
        .collect();
    pairs.sort_by_key(|pair| pair.0);
    for (slot, (time, value)) in points.times.iter_mut().zip(&mut points.values).zip(pairs) {
        (*slot.0, *slot.1) = (time, value);
    }
}

/// A borrowed column of times, sorted, and the column of values that belongs to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice<'a> {
    pub(crate) times: &'a [i64],
    pub(crate) values: &'a [f64],
}

impl<'a> Slice<'a> {
    pub(crate) fn of(points: &'a Points) -> Self {
        Self {
            times: &points.times,
            values: &points.values,
        }
    }

    pub(crate) const fn len(self) -> usize {
        self.times.len()
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.times.is_empty()
    }

    /// The points with these indices, which must exist.
    pub(crate) fn range(self, from: usize, to: usize) -> Self {
        Self {
            times: &self.times[from..to],
            values: &self.values[from..to],
        }
    }

    /// Splits off the points before `time`.
    pub(crate) fn split_before(self, time: i64) -> (Self, Self) {
        let at = self.times.partition_point(|&t| t < time);
        (self.range(0, at), self.range(at, self.len()))
    }

    /// The points in `[start, end)`.
    pub(crate) fn between(self, start: i64, end: i64) -> Self {
        self.split_before(start).1.split_before(end).0
    }

    /// Appends the points to `target`.
    pub(crate) fn append_to(self, target: &mut Points) {
        target.times.extend_from_slice(self.times);
        target.values.extend_from_slice(self.values);
    }
}

/// Merges sorted columns into `target`; at equal times `old` comes before `new`.
pub(crate) fn merge_into(target: &mut Points, mut old: Slice<'_>, mut new: Slice<'_>) {
    target.times.reserve(old.len() + new.len());
    target.values.reserve(old.len() + new.len());
    while let (Some(&first_old), Some(&first_new)) = (old.times.first(), new.times.first()) {
        if first_old <= first_new {
            // Copying stretches makes the usual case, new after old, one copy of each side.
            let stretch = stretch(old.times, |time| time <= first_new);
            old.range(0, stretch).append_to(target);
            old = old.range(stretch, old.len());
        } else {
            let stretch = stretch(new.times, |time| time < first_old);
            new.range(0, stretch).append_to(target);
            new = new.range(stretch, new.len());
        }
    }
    old.append_to(target);
    new.append_to(target);
}

/// The number of leading times for which `holds` is true; it is false from some time on.
///
/// Doubles the bound first, because stretches are either short or very long.
pub(crate) fn stretch(times: &[i64], holds: impl Fn(i64) -> bool) -> usize {
    let mut bound = 1;
    while times.get(bound).is_some_and(|&time| holds(time)) {
        bound *= 2;
    }
    let bound = bound.min(times.len());
    times[..bound].partition_point(|&time| holds(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn merging_is_a_stable_sort_of_both(
            old in prop::collection::vec(0..40i64, 0..60),
            new in prop::collection::vec(0..40i64, 0..60),
        ) {
            let column = |times: &[i64], from: usize| {
                let mut points: Points = Points {
                    times: times.to_vec(),
                    values: (from..from + times.len()).map(|i| i as f64).collect(),
                };
                sort_by_time(&mut points);
                points
            };
            let (first, second) = (column(&old, 0), column(&new, 1_000));
            let mut merged = Points::default();
            merge_into(&mut merged, Slice::of(&first), Slice::of(&second));
            let mut expected: Vec<(i64, f64)> =
                first.iter().chain(second.iter()).map(|p| (p.time, p.value)).collect();
            expected.sort_by_key(|pair| pair.0);
            let found: Vec<(i64, f64)> = merged.iter().map(|p| (p.time, p.value)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
