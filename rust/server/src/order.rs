//! Writes that their client has given up, and that the network delivers late, are not done any more
//! once a newer one has come.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pingthings_types::{Code, WriteOrder};
use uuid::Uuid;

use crate::status::Refusal;

/// Streams of which the last writes are known. Twice as many at most: when there are this many, the
/// ones not written to since the last time are forgotten.
const STREAMS: usize = 1 << 16;

/// Writers known of one stream; the one that was heard of longest ago is forgotten first.
const WRITERS: usize = 16;

/// The newest write of each writer of a stream.
type Newest = Vec<WriteOrder>;

/// Knows which writes were given up.
#[derive(Debug, Default)]
pub(crate) struct Orders(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    recent: HashMap<Uuid, Arc<Mutex<Newest>>>,
    before: HashMap<Uuid, Arc<Mutex<Newest>>>,
}

impl Orders {
    /// Does the work, unless its client has given it up and gone on to something newer.
    ///
    /// Writes to one stream take turns here, as they do in the engine, so that none is overtaken
    /// between being looked at and being done.
    pub(crate) fn in_order<R>(
        &self,
        stream: Uuid,
        order: Option<WriteOrder>,
        work: impl FnOnce() -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        let Some(order) = order else { return work() };
        let newest = self.of(stream);
        let mut newest = newest.lock();
        note(&mut newest, order)?;
        work()
    }

    fn of(&self, stream: Uuid) -> Arc<Mutex<Newest>> {
        let mut known = self.0.lock();
        if let Some(newest) = known.recent.get(&stream) {
            return Arc::clone(newest);
        }
        let newest = known.before.remove(&stream).unwrap_or_default();
        if known.recent.len() >= STREAMS {
            known.before = std::mem::take(&mut known.recent);
        }
        known.recent.insert(stream, Arc::clone(&newest));
        newest
    }
}

fn note(newest: &mut Newest, order: WriteOrder) -> Result<(), Refusal> {
    let own = newest.iter().position(|last| last.writer == order.writer);
    if let Some(at) = own {
        let last = &newest[at];
        if last.has_given_up(&order) {
            return Err(Refusal::new(
                Code::ConcurrentModification,
                "this write came late: its client has given it up and sent a newer one",
            ));
        }
        if order.number < last.number {
            return Ok(());
        }
        newest.remove(at);
    } else if newest.len() >= WRITERS {
        newest.remove(0);
    }
    newest.push(order);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(writer: u128, number: u64, alive: &[u64]) -> WriteOrder {
        WriteOrder {
            writer: Uuid::from_u128(writer),
            number,
            alive: alive.to_vec(),
        }
    }

    fn is_done(orders: &Orders, stream: u128, order: WriteOrder) -> bool {
        let stream = Uuid::from_u128(stream);
        orders.in_order(stream, Some(order), || Ok(())).is_ok()
    }

    #[test]
    fn a_late_write_is_done_only_if_somebody_waits_for_it() {
        let orders = Orders::default();
        assert!(is_done(&orders, 1, order(1, 7, &[5])));
        assert!(is_done(&orders, 1, order(1, 5, &[])));
        assert!(!is_done(&orders, 1, order(1, 6, &[5])));
        assert!(is_done(&orders, 1, order(1, 7, &[5])));
        // Another writer, another stream, and whoever says nothing.
        assert!(is_done(&orders, 1, order(2, 6, &[])));
        assert!(is_done(&orders, 2, order(1, 6, &[])));
        assert!(orders.in_order(Uuid::from_u128(1), None, || Ok(())).is_ok());
        // What came late has not become the newest.
        assert!(!is_done(&orders, 1, order(1, 6, &[])));
    }

    #[test]
    fn the_writer_heard_of_longest_ago_is_forgotten_first() {
        let orders = Orders::default();
        for writer in 0..WRITERS as u128 {
            assert!(is_done(&orders, 1, order(writer, 5, &[])));
        }
        // One that comes again is heard of again.
        assert!(is_done(&orders, 1, order(0, 5, &[])));
        assert!(is_done(&orders, 1, order(100, 5, &[])));
        for known in [100, 0, 2, WRITERS as u128 - 1] {
            assert!(!is_done(&orders, 1, order(known, 4, &[])), "{known}");
        }
        assert!(is_done(&orders, 1, order(1, 4, &[])));
    }

    #[test]
    fn streams_are_remembered_until_as_many_others_came() {
        let orders = Orders::default();
        for stream in 0..=STREAMS as u128 {
            assert!(is_done(&orders, stream, order(1, 5, &[])));
        }
        assert!(!is_done(&orders, 0, order(1, 4, &[])));
        assert!(!is_done(&orders, STREAMS as u128 - 1, order(1, 4, &[])));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let orders = Orders::default();
        for writer in 0..1_000 {
            assert!(is_done(&orders, 1, order(writer, 1, &[])));
        }
        assert_eq!(orders.of(Uuid::from_u128(1)).lock().len(), WRITERS);
        for stream in 0..3 * STREAMS as u128 {
            assert!(is_done(&orders, stream, order(1, 1, &[])));
        }
        let known = orders.0.lock();
        assert!(known.recent.len() <= STREAMS && known.before.len() <= STREAMS);
    }
}
