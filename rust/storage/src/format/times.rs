//! Times at a constant rate, stored exactly as a straight line.
//!
//! Sampled data have times `floor(a + i * period)` with a rational period (at 60 Hz, 50,000,000 / 3
//! nanoseconds). Where one line fits every point of a leaf exactly, the line is stored instead of
//! the times.

/// A line `floor((start * denominator + phase + i * numerator) / denominator)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) start: i64,
    pub(super) phase: u32,
    pub(super) numerator: u64,
    pub(super) denominator: u32,
}

/// The largest denominator that is tried; it keeps every product far within 128 bits.
const MAX_DENOMINATOR: u64 = 1_000_000;

/// The fraction with the least denominator in `[low, high]`, both given as fractions.
fn simplest(low: (u64, u64), high: (u64, u64)) -> Option<(u64, u64)> {
    let whole = low.0 / low.1;
    if low.0.is_multiple_of(low.1) {
        return Some((whole, 1));
    }
    if whole < high.0 / high.1 {
        return Some((whole + 1, 1));
    }
    // Both bounds have the same integer part, so the search continues between the inverses of the
    // remainders.
    let (p, q) = simplest((high.1, high.0 % high.1), (low.1, low.0 % low.1))?;
    Some((whole.checked_mul(p)?.checked_add(q)?, p))
}

impl Line {
    /// The line through all of `times`, if there is one.
    pub(super) fn fit(times: &[i64]) -> Option<Self> {
        let (&first, &last) = (times.first()?, times.last()?);
        let steps = times.len() as u64 - 1;
        if steps == 0 || first == last {
            return Self::through(times, 0, 1);
        }
        let length = u64::try_from(last.checked_sub(first)?).ok()?;
        // A quick test for irregular times: no two steps of a straight line differ by more than
        // one.
        let step = times[1].checked_sub(first)?;
        if u64::try_from(step).ok()?.abs_diff(length / steps) > 1 {
            return None;
        }
        // The rate differs from `length / steps` by less than one in `steps`. The bounds are a
        // little tighter than that, because the limits themselves are never the rate.
        let (quarters, parts) = (length.checked_mul(4)?, steps.checked_mul(4)?);
        let (numerator, denominator) = simplest(
            (quarters.saturating_sub(3), parts),
            (quarters.checked_add(3)?, parts),
        )?;
        if denominator == 0 || denominator > MAX_DENOMINATOR {
            return None;
        }
        Self::through(times, numerator, denominator)
    }

    fn through(times: &[i64], numerator: u64, denominator: u64) -> Option<Self> {
        let start = *times.first()?;
        let (mut low, mut high) = (0i128, i128::from(denominator));
        let mut ahead = 0i128;
        for &time in times {
            let distance = (i128::from(time) - i128::from(start)) * i128::from(denominator);
            low = low.max(distance - ahead);
            high = high.min(distance + i128::from(denominator) - ahead);
            if low >= high {
                return None;
            }
            ahead += i128::from(numerator);
        }
        Some(Self {
            start,
            phase: u32::try_from(low).ok()?,
            numerator,
            denominator: u32::try_from(denominator).ok()?,
        })
    }

    /// The first `count` times of the line; `None` if they leave 64 bits.
    pub(super) fn times(self, count: usize) -> Option<Vec<i64>> {
        if self.denominator == 0 || self.phase >= self.denominator {
            return None;
        }
        let denominator = u64::from(self.denominator);
        let whole = i64::try_from(self.numerator / denominator).ok()?;
        let part = self.numerator % denominator;
        let span =
            i128::from(self.numerator) * i128::try_from(count).ok()? + i128::from(denominator);
        let last = i128::from(self.start) + span / i128::from(denominator) + 1;
        i64::try_from(last).ok()?;
        let mut times = Vec::with_capacity(count);
        let (mut time, mut phase) = (self.start, u64::from(self.phase));
        for _ in 0..count {
            times.push(time);
            time = time.wrapping_add(whole);
            phase += part;
            if phase >= denominator {
                phase -= denominator;
                time = time.wrapping_add(1);
            }
        }
        Some(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(hertz: i64, from: i64, count: i64) -> Vec<i64> {
        (from..from + count)
            .map(|i| 1_500_000_000_000_000_000 + i * 1_000_000_000 / hertz)
            .collect()
    }

    #[test]
    fn sampled_times_are_a_line() {
        for hertz in [1, 7, 25, 30, 50, 60, 90, 120, 240, 960] {
            for (from, count) in [(0, 2), (1, 3), (5, 100), (12_345, 4_096)] {
                let times = sampled(hertz, from, count);
                let line = Line::fit(&times).unwrap();
                assert_eq!(
                    line.times(times.len()).unwrap(),
                    times,
                    "{hertz} Hz from {from}"
                );
            }
        }
    }

    #[test]
    fn equal_times_and_one_time_are_a_line() {
        for times in [vec![5], vec![-7; 4_096]] {
            let line = Line::fit(&times).unwrap();
            assert_eq!(line.times(times.len()).unwrap(), times);
        }
    }

    #[test]
    fn the_full_range_of_time_is_a_line() {
        let times = vec![
            pingthings_types::MIN_TIME,
            pingthings_types::MAX_INSERT_TIME,
        ];
        let line = Line::fit(&times);
        assert!(line.is_none_or(|line| line.times(2) == Some(times)));
    }

    #[test]
    fn irregular_times_are_refused() {
        let mut times = sampled(60, 0, 1_000);
        times[500] += 2;
        assert_eq!(Line::fit(&times), None);
        times.remove(500);
        assert_eq!(Line::fit(&times), None);
    }

    #[test]
    fn a_damaged_line_is_refused() {
        let line = Line {
            start: i64::MAX - 5,
            phase: 0,
            numerator: 10,
            denominator: 1,
        };
        assert_eq!(line.times(3), None);
        let line = Line {
            start: 0,
            phase: 3,
            numerator: 10,
            denominator: 3,
        };
        assert_eq!(line.times(3), None);
    }
}
