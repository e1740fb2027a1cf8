//! The order of a client's writes to a stream, which lets a server refuse outdated ones.

use std::fmt;

use uuid::Uuid;

/// The position of a request among a client's writes to a stream, and the earlier writes that the
/// client still waits for.
///
/// All other earlier writes have ended or were abandoned. If the network delivers an abandoned
/// write after this one, the server must refuse it, because it would overwrite newer data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOrder {
    /// The writer: one client in one process.
    pub writer: Uuid,
    /// Increases with every request, including repeated ones.
    pub number: u64,
    /// Smaller numbers of requests that are still in progress.
    pub alive: Vec<u64>,
}

impl WriteOrder {
    /// The name of the request header that carries it.
    pub const HEADER: &'static str = "pingthings-write-order";

    /// Parses the format of [`fmt::Display`].
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

    /// Whether the same writer abandoned `earlier` before it sent this request.
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
