//! The order of a client's writes to a stream, as servers are told of it.

use std::fmt;

use uuid::Uuid;

/// Which of a client's writes to a stream a request is, and which earlier ones it still waits for.
///
/// All other earlier ones have ended or were given up: should the network deliver one of those
/// later than this, it must not be done any more, or it would win over what is newer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOrder {
    /// Who writes: a client in a process.
    pub writer: Uuid,
    /// Rises with every request, also with one that is made again.
    pub number: u64,
    /// Numbers below that are still under way.
    pub alive: Vec<u64>,
}

impl WriteOrder {
    /// The name of the header that tells it.
    pub const HEADER: &'static str = "pingthings-write-order";

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let writer = Uuid::try_parse(words.next()?).ok()?;
        let mut numbers = words.map(|word| word.parse().ok());
        Some(Self {
            writer,
            number: numbers.next()??,
            alive: numbers.collect::<Option<_>>()?,
        })
    }

    /// Whether `earlier`, of the same writer, was given up before this was sent.
    pub fn has_given_up(&self, earlier: &Self) -> bool {
        earlier.number < self.number && !self.alive.contains(&earlier.number)
    }
}

impl fmt::Display for WriteOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.writer, self.number)?;
        self.alive.iter().try_for_each(|n| write!(f, " {n}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(number: u64, alive: &[u64]) -> WriteOrder {
        WriteOrder {
            writer: Uuid::from_u128(7),
            number,
            alive: alive.to_vec(),
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        for order in [order(0, &[]), order(9, &[3]), order(u64::MAX, &[1, 2, 3])] {
            assert_eq!(WriteOrder::parse(&order.to_string()), Some(order));
        }
        let writer = Uuid::from_u128(7);
        for text in ["", "x 1", &format!("{writer}"), &format!("{writer} 1 x")] {
            assert_eq!(WriteOrder::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_earlier_writes_that_nobody_waits_for_were_given_up() {
        let last = order(5, &[3]);
        let gone = |number| last.has_given_up(&order(number, &[]));
        assert_eq!([2, 3, 4, 5, 6].map(gone), [true, false, true, false, false]);
    }
}
