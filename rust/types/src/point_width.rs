//! Point widths: window lengths that are powers of two nanoseconds.

use std::fmt;

/// The exponent of a window length: a window of width `p` is 2^p nanoseconds long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointWidth(u8);

impl PointWidth {
    /// The largest exponent in the protocol.
    pub const MAX: Self = Self(63);

    /// A point width from its exponent, 0 to 63.
    pub fn new(exponent: u32) -> Option<Self> {
        u8::try_from(exponent)
            .ok()
            .filter(|&e| e <= Self::MAX.0)
            .map(Self)
    }

    /// The exponent.
    pub const fn exponent(self) -> u32 {
        self.0 as u32
    }

    /// Length of a window in nanoseconds.
    pub const fn nanoseconds(self) -> u64 {
        1 << self.0
    }

    /// `time` rounded down to a multiple of the window length.
    pub const fn floor(self, time: i64) -> i64 {
        time & (-1i64 << self.0)
    }
}

impl fmt::Display for PointWidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2^{} ns", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floor_rounds_towards_minus_infinity() {
        let width = PointWidth::new(6).unwrap();
        assert_eq!(width.floor(11199), 11136);
        assert_eq!(width.floor(-1), -64);
        assert_eq!(width.floor(-64), -64);
        assert_eq!(PointWidth::new(0).unwrap().floor(-7), -7);
        assert_eq!(PointWidth::MAX.floor(-1), i64::MIN);
    }

    #[test]
    fn exponents_end_at_63() {
        assert!(PointWidth::new(63).is_some());
        assert!(PointWidth::new(64).is_none());
    }
}
