//! `numeric`: decimal numbers that keep the scale with which they were written.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// `digits / 10^scale`. `PostgreSQL` supports 131,072 digits, this type 38; numbers that need more
/// are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    digits: i128,
    scale: u32,
}

const MOST_DIGITS: u32 = 38;
/// Constants with which `PostgreSQL` chooses the scale of a quotient.
const SIGNIFICANT_DIGITS: i64 = 16;
const DIGITS_PER_GROUP: i64 = 4;

fn too_large() -> String {
    format!("a numeric needs more than the {MOST_DIGITS} digits this server supports")
}

fn power(exponent: u32) -> Result<i128, String> {
    10_i128.checked_pow(exponent).ok_or_else(too_large)
}

impl Decimal {
    pub(crate) const fn from_int(value: i64) -> Self {
        Self {
            digits: value as i128,
            scale: 0,
        }
    }

    /// A whole number.
    pub(crate) const fn from_wide(digits: i128) -> Self {
        Self { digits, scale: 0 }
    }

    /// `micros` millionths, with six digits after the point.
    pub(crate) const fn from_micros(micros: i64) -> Self {
        Self {
            digits: micros as i128,
            scale: 6,
        }
    }

    pub(crate) fn from_float(value: f64) -> Result<Self, String> {
        if !value.is_finite() {
            return Err("a numeric that is not a finite number is not supported".into());
        }
        format!("{value:.14e}").parse::<Self>().map(Self::trimmed)
    }

    pub(crate) fn to_float(self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// The nearest whole number; halves are rounded away from zero.
    pub(crate) fn to_int(self) -> Result<i64, String> {
        i64::try_from(self.round(0)?.digits).map_err(|_| "bigint out of range".to_owned())
    }

    fn trimmed(mut self) -> Self {
        while self.scale > 0 && self.digits % 10 == 0 {
            self.digits /= 10;
            self.scale -= 1;
        }
        self
    }

    fn at_scale(self, scale: u32) -> Result<i128, String> {
        self.digits
            .checked_mul(power(scale - self.scale)?)
            .ok_or_else(too_large)
    }

    fn both(self, other: Self) -> Result<(i128, i128, u32), String> {
        let scale = self.scale.max(other.scale);
        Ok((self.at_scale(scale)?, other.at_scale(scale)?, scale))
    }

    pub(crate) fn add(self, other: Self) -> Result<Self, String> {
        let (left, right, scale) = self.both(other)?;
        let digits = left.checked_add(right).ok_or_else(too_large)?;
        Ok(Self { digits, scale })
    }

    pub(crate) fn negate(self) -> Self {
        Self {
            digits: -self.digits,
            ..self
        }
    }

    pub(crate) fn abs(self) -> Self {
        Self {
            digits: self.digits.abs(),
            ..self
        }
    }

    pub(crate) fn sign(self) -> Self {
        Self::from_wide(self.digits.signum())
    }

    pub(crate) fn subtract(self, other: Self) -> Result<Self, String> {
        self.add(other.negate())
    }

    pub(crate) fn multiply(self, other: Self) -> Result<Self, String> {
        Ok(Self {
            digits: self
                .digits
                .checked_mul(other.digits)
                .ok_or_else(too_large)?,
            scale: self.scale + other.scale,
        })
    }

    /// The quotient at the scale that `PostgreSQL` chooses; halves are rounded away from zero.
    pub(crate) fn divide(self, other: Self) -> Result<Self, String> {
        if other.digits == 0 {
            return Err("division by zero".into());
        }
        let (weight, first) = self.leading_group();
        let (other_weight, other_first) = other.leading_group();
        let mut quotient_weight = weight - other_weight;
        if first <= other_first {
            quotient_weight -= 1;
        }
        let scale = (SIGNIFICANT_DIGITS - quotient_weight * DIGITS_PER_GROUP)
            .max(i64::from(self.scale))
            .max(i64::from(other.scale))
            .max(0);
        let scale = u32::try_from(scale).map_err(|_| too_large())?;
        let (left, right, _) = self.both(other)?;
        let negative = (left < 0) != (right < 0);
        let (left, right) = (left.unsigned_abs(), right.unsigned_abs());
        let mut quotient = left / right;
        let mut rest = left % right;
        for _ in 0..scale {
            rest = rest.checked_mul(10).ok_or_else(too_large)?;
            quotient = quotient
                .checked_mul(10)
                .and_then(|quotient| quotient.checked_add(rest / right))
                .ok_or_else(too_large)?;
            rest %= right;
        }
        if rest >= right - rest {
            quotient += 1;
        }
        let digits = i128::try_from(quotient).map_err(|_| too_large())?;
        Ok(Self {
            digits: if negative { -digits } else { digits },
            scale,
        })
    }

    pub(crate) fn remainder(self, other: Self) -> Result<Self, String> {
        if other.digits == 0 {
            return Err("division by zero".into());
        }
        let (left, right, scale) = self.both(other)?;
        Ok(Self {
            digits: left % right,
            scale,
        })
    }

    /// The weight and the value of the first group of four digits, counted as `PostgreSQL` stores them.
    fn leading_group(self) -> (i64, i64) {
        if self.digits == 0 {
            return (0, 0);
        }
        let text = self.digits.unsigned_abs().to_string();
        let exponent = i64::try_from(text.len()).unwrap_or(0) - 1 - i64::from(self.scale);
        let weight = exponent.div_euclid(DIGITS_PER_GROUP);
        let length = usize::try_from(exponent.rem_euclid(DIGITS_PER_GROUP) + 1).unwrap_or(1);
        let first: String = text.chars().chain("000".chars()).take(length).collect();
        (weight, first.parse().unwrap_or(0))
    }

    /// Rounds to `scale` digits after the point, or before it if negative; halves are rounded away
    /// from zero.
    pub(crate) fn round(self, scale: i32) -> Result<Self, String> {
        self.cut(scale, true)
    }

    pub(crate) fn truncate(self, scale: i32) -> Result<Self, String> {
        self.cut(scale, false)
    }

    fn cut(self, scale: i32, round: bool) -> Result<Self, String> {
        let kept = u32::try_from(scale.max(0)).unwrap_or(0);
        if i64::from(scale) >= i64::from(self.scale) {
            let digits = self.at_scale(kept)?;
            return Ok(Self {
                digits,
                scale: kept,
            });
        }
        let dropped = u32::try_from(i64::from(self.scale) - i64::from(scale)).unwrap_or(u32::MAX);
        let Ok(unit) = power(dropped) else {
            return Ok(Self {
                digits: 0,
                scale: kept,
            });
        };
        let mut quotient = self.digits / unit;
        if round && (self.digits % unit).abs() >= unit - (self.digits % unit).abs() {
            quotient += self.digits.signum();
        }
        let raised = power(u32::try_from((-scale).max(0)).unwrap_or(0))?;
        Ok(Self {
            digits: quotient.checked_mul(raised).ok_or_else(too_large)?,
            scale: kept,
        })
    }

    pub(crate) fn floor(self) -> Result<Self, String> {
        let whole = self.truncate(0)?;
        if whole.cmp(&self) == Ordering::Greater {
            return whole.subtract(Self::from_int(1));
        }
        Ok(whole)
    }

    pub(crate) fn ceil(self) -> Result<Self, String> {
        Ok(self.negate().floor()?.negate())
    }

    /// Converts it to `numeric(precision, scale)`.
    pub(crate) fn fit(self, precision: u32, scale: u32) -> Result<Self, String> {
        let fitted = self.round(i32::try_from(scale).map_err(|_| too_large())?)?;
        if precision < MOST_DIGITS && fitted.digits.abs() >= power(precision)? {
            return Err(format!(
                "numeric field overflow: `{self}` does not fit numeric({precision}, {scale})"
            ));
        }
        Ok(fitted)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        let parts = |number: &Self| {
            let unit = power(number.scale).unwrap_or(i128::MAX);
            let raise = power(scale - number.scale).unwrap_or(1);
            (
                number.digits / unit,
                (number.digits % unit).saturating_mul(raise),
            )
        };
        parts(self).cmp(&parts(other))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Decimal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid input syntax for type numeric: `{text}`");
        let trimmed = text.trim_matches([' ', '\t', '\n', '\r']);
        let (mantissa, exponent) = match trimmed.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                (mantissa, exponent.parse::<i32>().map_err(|_| invalid())?)
            }
            None => (trimmed, 0),
        };
        let (negative, unsigned) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let mut digits: i128 = 0;
        for digit in whole.chars().chain(fraction.chars()) {
            let digit = digit.to_digit(10).ok_or_else(invalid)?;
            digits = digits
                .checked_mul(10)
                .and_then(|digits| digits.checked_add(i128::from(digit)))
                .ok_or_else(too_large)?;
        }
        if negative {
            digits = -digits;
        }
        let scale = i32::try_from(fraction.len())
            .map_err(|_| too_large())?
            .checked_sub(exponent)
            .ok_or_else(too_large)?;
        if scale < 0 {
            let raised = digits
                .checked_mul(power(scale.unsigned_abs())?)
                .ok_or_else(too_large)?;
            return Ok(Self::from_wide(raised));
        }
        if scale.unsigned_abs() > MOST_DIGITS {
            return Err(too_large());
        }
        Ok(Self {
            digits,
            scale: scale.unsigned_abs(),
        })
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = self.scale as usize;
        let digits = format!("{:0>width$}", self.digits.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let sign = if self.digits < 0 { "-" } else { "" };
        if scale == 0 {
            return write!(f, "{sign}{whole}");
        }
        write!(f, "{sign}{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn quotients_have_the_scale_of_postgresql() {
        let quotient = |a, b| decimal(a).divide(decimal(b)).unwrap().to_string();
        assert_eq!(quotient("1", "3"), "0.33333333333333333333");
        assert_eq!(quotient("10", "4"), "2.5000000000000000");
        assert_eq!(quotient("-2", "3"), "-0.66666666666666666667");
        assert_eq!(quotient("100000", "3"), "33333.333333333333");
    }

    #[test]
    fn rounding_goes_away_from_zero() {
        assert_eq!(decimal("2.5").round(0).unwrap().to_string(), "3");
        assert_eq!(decimal("-2.5").round(0).unwrap().to_string(), "-3");
        assert_eq!(decimal("1234.5").round(-2).unwrap().to_string(), "1200");
        assert_eq!(decimal("-1.1").floor().unwrap().to_string(), "-2");
        assert_eq!(decimal("1.1").ceil().unwrap().to_string(), "2");
    }

    #[test]
    fn the_scale_does_not_count_in_comparisons() {
        assert_eq!(decimal("1.10").cmp(&decimal("1.1")), Ordering::Equal);
        assert!(decimal("-0.5") < decimal("-0.25"));
        assert!("1e400".parse::<Decimal>().is_err());
        assert!("nothing".parse::<Decimal>().is_err());
    }
}
