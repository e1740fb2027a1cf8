//! Statistics of a set of values. Merging them is exact in count and extremes, and free of
//! cancellation in mean and spread.

/// A product of a smaller number with a count cannot overflow.
const TINY: f64 = 1e-280;

/// Scales values so that no sum of them overflows.
const SCALE: f64 = 1.0 / 18_446_744_073_709_551_616.0;

/// Count, extremes, mean and sum of squared deviations of a set of values.
///
/// Two of them are merged with Chan's formula. It never computes a sum of squares: measurements
/// have large offsets (60 Hz ± 1 mHz), for which a sum of squares would lose all digits of the
/// spread.
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
    /// The statistics of no values.
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

    /// The statistics of a slice, in two passes: first the mean, then the deviations from it.
    pub fn of_slice(values: &[f64]) -> Self {
        let Some((&first, rest)) = values.split_first() else {
            return Self::EMPTY;
        };
        let (mut min, mut max) = (first, first);
        for &v in rest {
            min = min.min(v);
            max = max.max(v);
        }
        let mean = mean(values).max(min).min(max);
        let m2 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        Self {
            count: values.len() as u64,
            min,
            max,
            mean,
            m2,
        }
    }

    /// Adds the values of another set.
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
        let mean = if self.mean.abs().max(other.mean.abs()) < TINY {
            // A weighted difference could underflow to zero here; products with counts cannot.
            (self.mean * a + other.mean * b) / (a + b)
        } else if delta.is_finite() {
            self.mean + delta * share
        } else {
            self.mean * (1.0 - share) + other.mean * share
        };
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.mean = mean.max(self.min).min(self.max);
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

/// The mean of some values: their exact sum, up to one or two roundings, divided by their number.
#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn mean(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let total = sum(values.iter().copied());
    if total.is_finite() {
        total / count
    } else {
        sum(values.iter().map(|v| v * SCALE)) / count / SCALE
    }
}

/// A compensated sum, which adds the accumulated rounding errors at the end (Knuth, Neumaier).
///
/// A plain sum loses the digits of small values beside large offsets.
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0, 0.0);
    for v in values {
        let next = total + v;
        let added = next - total;
        lost += (total - (next - added)) + (v - added);
        total = next;
    }
    total + lost
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use proptest::prelude::*;

    fn close(a: f64, b: f64, scale: f64) -> bool {
        (a - b).abs() <= 1e-9 * scale.max(1e-300)
    }

    /// A number as a multiple of the smallest positive number.
    fn exact(value: f64) -> BigInt {
        let (exponent, fraction) = parts(value);
        let mantissa = if exponent == 0 { 0 } else { 1_u64 << 52 };
        let size = BigInt::from(mantissa | fraction) << (exponent.max(1) - 1);
        if value.is_sign_negative() {
            -size
        } else {
            size
        }
    }

    /// The distance to the next number, as a multiple of the smallest positive number.
    fn step(value: f64) -> BigInt {
        BigInt::from(1) << (parts(value).0.max(1) - 1)
    }

    fn parts(value: f64) -> (u64, u64) {
        let bits = value.to_bits();
        ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1))
    }

    /// The error of a mean, times twice the number of values.
    fn twice_off(mean: f64, values: &[f64]) -> BigInt {
        let sum: BigInt = values.iter().map(|&value| exact(value)).sum();
        let off = exact(mean) * values.len() - sum;
        BigInt::from(off.magnitude().clone()) * 2
    }

    fn any_value() -> impl Strategy<Value = f64> {
        let ends = [f64::MAX, 1.0, f64::MIN_POSITIVE, 5e-324, 0.0];
        let signed = ends.into_iter().flat_map(|value| [value, -value]);
        prop_oneof![
            prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
            prop::sample::select(signed.collect::<Vec<_>>()),
            (-1e-3..1e-3).prop_map(|value| 60.0 + value),
        ]
    }

    proptest! {
        #[test]
        fn means_of_any_values_are_next_to_the_true_ones(
            values in prop::collection::vec(any_value(), 1..50),
        ) {
            let mean = Stat::of_slice(&values).mean;
            prop_assert!(mean.is_finite());
            prop_assert!(twice_off(mean, &values) <= 3 * values.len() * step(mean));
        }

        #[test]
        fn the_mean_of_two_is_rounded_once(a in any_value(), b in any_value()) {
            let whole = Stat::of_slice(&[a, b]);
            let mut merged = Stat::of(a);
            merged.merge(&Stat::of(b));
            prop_assert!(twice_off(whole.mean, &[a, b]) <= 2 * step(whole.mean));
            // Half the distance between the two, which may be longer than the sum.
            let size = a.abs().max(b.abs());
            prop_assert!(twice_off(merged.mean, &[a, b]) <= 4 * step(size));
        }

        #[test]
        fn merged_means_of_any_values_are_as_good_as_their_rounding(
            pieces in prop::collection::vec(prop::collection::vec(any_value(), 1..9), 1..9),
        ) {
            let values = pieces.concat();
            let mut merged = Stat::EMPTY;
            for piece in &pieces {
                merged.merge(&Stat::of_slice(piece));
            }
            prop_assert!(merged.mean.is_finite());
            prop_assert!(merged.min <= merged.mean && merged.mean <= merged.max);
            prop_assert!(!merged.stddev().is_nan());
            let size = merged.min.abs().max(merged.max.abs());
            let bound = 12 * pieces.len() * values.len() * step(size);
            prop_assert!(twice_off(merged.mean, &values) <= bound);
        }

        #[test]
        fn merging_parts_equals_the_total(
            offset in -1e9..1e9f64,
            values in prop::collection::vec(-1.0..1.0f64, 1..200),
            cut in any::<prop::sample::Index>(),
        ) {
            let values: Vec<f64> = values.iter().map(|v| v + offset).collect();
            let cut = cut.index(values.len());
            let whole = Stat::of_slice(&values);
            let mut merged = Stat::of_slice(&values[..cut]);
            merged.merge(&Stat::of_slice(&values[cut..]));
            prop_assert_eq!(merged.count, whole.count);
            prop_assert_eq!(merged.min.to_bits(), whole.min.to_bits());
            prop_assert_eq!(merged.max.to_bits(), whole.max.to_bits());
            prop_assert!(close(merged.mean, whole.mean, offset.abs()));
            // The rounding of the offset bounds the precision of the spread.
            let tolerance = 1e-9 + offset.abs() * 1e-15;
            prop_assert!((merged.stddev() - whole.stddev()).abs() <= tolerance);
        }
    }

    #[test]
    fn means_are_correct_at_both_ends_of_the_number_range() {
        const LEAST: f64 = 5e-324;
        for (values, mean) in [
            (&[LEAST, -0.0][..], 0.0),
            (&[-LEAST, 0.0], 0.0),
            (&[LEAST, LEAST], LEAST),
            (&[LEAST, LEAST, 0.0], LEAST),
            (&[LEAST, -LEAST, LEAST, -LEAST], 0.0),
            (&[f64::MAX, f64::MAX], f64::MAX),
            (&[f64::MAX, -f64::MAX], 0.0),
            (&[f64::MIN, f64::MIN, f64::MAX], f64::MIN / 3.0),
        ] {
            let whole = Stat::of_slice(values).mean;
            let mut merged = Stat::EMPTY;
            for &value in values {
                merged.merge(&Stat::of(value));
            }
            assert!(
                (whole - mean).abs() <= mean.abs() * f64::EPSILON,
                "{values:?}: {whole}"
            );
            if values.len() == 2 {
                assert!((merged.mean - mean).abs() <= mean.abs() * f64::EPSILON);
            }
        }
        assert_eq!(Stat::of_slice(&[0.1; 7]).mean.to_bits(), 0.1_f64.to_bits());
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
