//! Merge policies.

use std::str::FromStr;

/// What an insert does with a point at a time that already has a value: a stored one, a buffered
/// one, or an earlier one in the same call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MergePolicy {
    /// Keep everything: equal times become several points.
    #[default]
    Never,
    /// Drop a new point if one with the same time and value exists.
    Equal,
    /// Keep the old value.
    Retain,
    /// Keep the new value, and remove every old one at that time.
    Replace,
}

impl MergePolicy {
    /// All policies, in the order of their numbers on the wire.
    pub const ALL: [Self; 4] = [Self::Never, Self::Equal, Self::Retain, Self::Replace];

    /// The documented name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Equal => "equal",
            Self::Retain => "retain",
            Self::Replace => "replace",
        }
    }

    /// Whether repeating an insert has no further effect.
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Never)
    }

    /// The policy with this number on the wire.
    pub fn from_wire(number: i32) -> Option<Self> {
        usize::try_from(number)
            .ok()
            .and_then(|n| Self::ALL.get(n))
            .copied()
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> i32 {
        match self {
            Self::Never => 0,
            Self::Equal => 1,
            Self::Retain => 2,
            Self::Replace => 3,
        }
    }
}

/// A name that is not a merge policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a merge policy: use `never`, `equal`, `retain` or `replace`")]
pub struct UnknownPolicy(String);

impl FromStr for MergePolicy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.name() == name)
            .ok_or_else(|| UnknownPolicy(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_round_trip() {
        for policy in MergePolicy::ALL {
            assert_eq!(policy.name().parse(), Ok(policy));
            assert_eq!(MergePolicy::from_wire(policy.to_wire()), Some(policy));
        }
        assert!("sometimes".parse::<MergePolicy>().is_err());
        assert_eq!(MergePolicy::from_wire(4), None);
        assert_eq!(MergePolicy::from_wire(-1), None);
    }
}
