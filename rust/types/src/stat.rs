//! Statistics of a set of values that can be merged exactly in count and extremes, and without
//! cancellation in mean and spread.

/// Count, extremes, mean and sum of squared deviations of a set of values.
///
/// Two are merged by Chan's formula. A sum of squares is never formed: measurement streams carry
/// large offsets (60 Hz ± 1 mHz), where it would lose every digit of the spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stat {
    /// Number of values.
    pub count: u64,
    /// Least value; 0 when there is none.
    pub min: f64,
    /// Greatest value; 0 when there is none.
    pub max: f64,
    /// Mean; 0 when there is no value.
    pub mean: f64,
    /// Sum of squared deviations from the mean.
    pub m2: f64,
}

impl Stat {
    /// The statistics of nothing.
    pub const EMPTY: Self = Self {
        count: 0,
        min: 0.0,
        max: 0.0,
        mean: 0.0,
        m2: 0.0,
    };

    /// The statistics of one value.
    pub const fn of(value: f64) -> Self {
        Self {
            count: 1,
            min: value,
            max: value,
            mean: value,
            m2: 0.0,
        }
    }

    /// The statistics of a slice, in two passes: mean first, then deviations from it.
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn of_slice(values: &[f64]) -> Self {
        let Some((&first, rest)) = values.split_first() else {
            return Self::EMPTY;
        };
        let (mut min, mut max) = (first, first);
        // Deviations from the first value keep the sum small where the offset is large, and keep
        // the mean of values near f64::MAX finite.
        let n = values.len() as f64;
        let mut shift = 0.0;
        for &v in rest {
            min = min.min(v);
            max = max.max(v);
            shift += (v - first) / n;
        }
        let mean = first + shift;
        let m2 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        Self {
            count: values.len() as u64,
            min,
            max,
            mean,
            m2,
        }
    }

    /// Adds one value.
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn push(&mut self, value: f64) {
        if self.count == 0 {
            *self = Self::of(value);
            return;
        }
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let delta = value - self.mean;
        self.mean += delta / self.count as f64;
        self.m2 += delta * (value - self.mean);
    }

    /// Adds the values another set stands for.
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let share = b / (a + b);
        let delta = other.mean - self.mean;
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.mean += delta * share;
        self.m2 += other.m2 + delta * delta * a * share;
    }

    /// The population standard deviation; 0 for no value and for one.
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn stddev(&self) -> f64 {
        if self.count < 2 {
            0.0
        } else {
            (self.m2.max(0.0) / self.count as f64).sqrt()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64, scale: f64) -> bool {
        (a - b).abs() <= 1e-9 * scale.max(1e-300)
    }

    proptest! {
        #[test]
        fn merge_equals_the_whole(
            offset in -1e9..1e9f64,
            values in prop::collection::vec(-1.0..1.0f64, 1..200),
            cut in any::<prop::sample::Index>(),
        ) {
            let values: Vec<f64> = values.iter().map(|v| v + offset).collect();
            let cut = cut.index(values.len());
            let whole = Stat::of_slice(&values);
            let mut merged = Stat::of_slice(&values[..cut]);
            merged.merge(&Stat::of_slice(&values[cut..]));
            let mut pushed = Stat::EMPTY;
            for &v in &values { pushed.push(v); }
            for other in [merged, pushed] {
                prop_assert_eq!(other.count, whole.count);
                prop_assert_eq!(other.min.to_bits(), whole.min.to_bits());
                prop_assert_eq!(other.max.to_bits(), whole.max.to_bits());
                prop_assert!(close(other.mean, whole.mean, offset.abs()));
                // Rounding of the offset itself bounds how well the spread can be known.
                let tolerance = 1e-9 + offset.abs() * 1e-15;
                prop_assert!((other.stddev() - whole.stddev()).abs() <= tolerance);
            }
        }
    }

    #[test]
    fn stddev_is_that_of_the_population() {
        assert!((Stat::of_slice(&[1.0, 2.0, 3.0]).stddev() - 0.816_496_580_927_726).abs() < 1e-15);
        assert!((Stat::of_slice(&[8.0, 9.0]).stddev() - 0.5).abs() < 1e-15);
        assert_eq!(Stat::of_slice(&[7.0]).stddev().to_bits(), 0.0f64.to_bits());
    }

    #[test]
    fn spread_survives_a_large_offset() {
        let values: Vec<f64> = (0..1000).map(|i| 1e12 + f64::from(i % 2)).collect();
        assert!((Stat::of_slice(&values).stddev() - 0.5).abs() < 1e-12);
    }
}
