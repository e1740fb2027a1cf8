//! Conversion of decimals to the nearest float64. Whole numbers must be exact.

use arrow_array::{ArrayRef, Float64Array, cast::AsArray, types::Decimal256Type};
use arrow_buffer::i256;
use arrow_schema::DataType;

use crate::{
    error::Error,
    insert::cast::{checked_cast, inexact_number, is_exact, unsuitable_points},
};

/// Every whole number up to this one is exact as a float64.
const EXACT: i128 = 1 << 53;
/// The powers of ten that a float64 represents exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Converts decimals of any width to values of a stream. Nulls stay nulls.
pub(crate) fn floats(values: &ArrayRef, scale: i8) -> Result<Float64Array, Error> {
    let widest = checked_cast(values, &DataType::Decimal256(76, scale))
        .map_err(|error| unsuitable_points(&error.to_string()).with_source(error))?;
    let numbers = widest.as_primitive::<Decimal256Type>().iter();
    numbers
        .map(|number| number.map(|number| nearest(number, scale)).transpose())
        .collect()
}

/// Computes `number / 10^scale`, rounded once.
fn nearest(number: i256, scale: i8) -> Result<f64, Error> {
    if let Some(number) = number.to_i128()
        && let Ok(power) = usize::try_from(scale)
        && number.abs() <= EXACT
        && power < POWERS.len()
    {
        #[allow(clippy::cast_precision_loss, reason = "it is below 2^53")]
        return Ok(number as f64 / POWERS[power]);
    }
    check_whole(number, scale)?;
    let text = format!("{number}e{}", -i16::from(scale));
    text.parse()
        .map_err(|_| unsuitable_points(&format!("{text} is not a number")))
}

/// Fails for a whole number that is not exact as a float64.
fn check_whole(number: i256, scale: i8) -> Result<(), Error> {
    let power = i256::from(10).checked_pow(u32::from(scale.unsigned_abs()));
    let whole = match power {
        Some(power) if scale > 0 && number % power != i256::ZERO => return Ok(()),
        Some(power) if scale > 0 => Some(number / power),
        Some(power) => number.checked_mul(power),
        None if scale > 0 => return Ok(()),
        None => None,
    };
    match whole.map(|whole| (whole, whole.to_i128())) {
        Some((_, Some(whole))) if is_exact(whole) => Ok(()),
        Some((whole, _)) => Err(inexact_number(whole)),
        None => Err(inexact_number(format!("{number}e{}", -i16::from(scale)))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Array, Decimal128Array, Decimal256Array};
    use proptest::prelude::*;

    use super::*;

    fn of(number: i128, scale: i8) -> Result<f64, Error> {
        let numbers = Decimal128Array::from(vec![Some(number), None]);
        let numbers = numbers.with_precision_and_scale(38, scale).unwrap();
        let found = floats(&(Arc::new(numbers) as ArrayRef), scale)?;
        assert!(found.is_null(1));
        Ok(found.value(0))
    }

    proptest! {
        #[test]
        fn decimals_become_the_nearest_float(number in -(10_i128.pow(37))..10_i128.pow(37), scale in 0_i8..38) {
            let exact: f64 = format!("{number}e-{scale}").parse().unwrap();
            match of(number, scale) {
                Ok(found) => prop_assert_eq!(found.to_bits(), exact.to_bits()),
                Err(error) => {
                    prop_assert!(number % 10_i128.pow(scale.unsigned_abs().into()) == 0);
                    prop_assert!(error.to_string().contains("whole number"));
                }
            }
        }
    }

    #[test]
    fn whole_numbers_are_exact_or_refused() {
        let next = (1_i128 << 53) + 1;
        for (number, scale, float) in [
            (next - 1, 0, 9_007_199_254_740_992.0_f64),
            ((next - 1) * 1_000, 3, 9_007_199_254_740_992.0),
            (next * 1_000 + 1, 3, 9_007_199_254_740_993.001),
        ] {
            assert_eq!(of(number, scale).unwrap().to_bits(), float.to_bits());
        }
        for (number, scale) in [(next, 0), (-next, 0), (next * 1_000, 3)] {
            let error = of(number, scale).unwrap_err();
            assert!(error.to_string().contains("9007199254740993"), "{error}");
        }
    }

    #[test]
    fn the_widest_decimals_are_accepted() {
        let number = i256::from_string(&format!("{}.", "1".repeat(70)).replace('.', "")).unwrap();
        let numbers = Decimal256Array::from(vec![number]);
        let numbers = numbers.with_precision_and_scale(76, 69).unwrap();
        let found = floats(&(Arc::new(numbers) as ArrayRef), 69).unwrap();
        assert_eq!(
            found.value(0).to_bits(),
            1.111_111_111_111_111_2_f64.to_bits()
        );
    }
}
