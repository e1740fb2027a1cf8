//! Refuses late writes: writes that their client has abandoned, and that arrive after a newer one.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pingthings_types::{Code, WriteOrder};
use uuid::Uuid;

use crate::status::Refusal;

/// How many streams a generation of the history has. When it is full, it becomes the previous
/// generation, and the streams of the one before it are forgotten.
const MAX_STREAMS: usize = 1 << 16;

/// How many writers are known for each stream. The one that wrote least recently is forgotten
/// first.
const MAX_WRITERS: usize = 16;

/// The newest write of each writer of a stream, least recent first.
type LatestWrites = Vec<WriteOrder>;

/// The history of writes, which shows the abandoned ones.
#[derive(Debug, Default)]
pub(crate) struct WriteOrders(Mutex<History>);

#[derive(Debug, Default)]
struct History {
    recent: HashMap<Uuid, Arc<Mutex<LatestWrites>>>,
    previous: HashMap<Uuid, Arc<Mutex<LatestWrites>>>,
}

impl WriteOrders {
    /// Does the work of a write, unless its client has abandoned it and sent a newer one.
    ///
    /// The writes of one stream are serialized here, as in the engine, so that no other write comes
    /// between the check and the work.
    pub(crate) fn in_order<R>(
        &self,
        stream: Uuid,
        order: Option<WriteOrder>,
        work: impl FnOnce() -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        let Some(order) = order else { return work() };
        let newest = self.stream(stream);
        let mut newest = newest.lock();
        record(&mut newest, order)?;
        work()
    }

    fn stream(&self, stream: Uuid) -> Arc<Mutex<LatestWrites>> {
        let mut history = self.0.lock();
        if let Some(newest) = history.recent.get(&stream) {
            return Arc::clone(newest);
        }
        let newest = history.previous.remove(&stream).unwrap_or_default();
        if history.recent.len() >= MAX_STREAMS {
            history.previous = std::mem::take(&mut history.recent);
        }
        history.recent.insert(stream, Arc::clone(&newest));
        newest
    }
}

/// Records a write, or refuses it if its client has abandoned it.
fn record(newest: &mut LatestWrites, order: WriteOrder) -> Result<(), Refusal> {
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
    } else if newest.len() >= MAX_WRITERS {
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

    fn is_done(orders: &WriteOrders, stream: u128, order: WriteOrder) -> bool {
        let stream = Uuid::from_u128(stream);
        orders.in_order(stream, Some(order), || Ok(())).is_ok()
    }

    #[test]
    fn a_late_write_is_done_only_if_its_client_waits_for_it() {
        let orders = WriteOrders::default();
        assert!(is_done(&orders, 1, order(1, 7, &[5])));
        assert!(is_done(&orders, 1, order(1, 5, &[])));
        assert!(!is_done(&orders, 1, order(1, 6, &[5])));
        assert!(is_done(&orders, 1, order(1, 7, &[5])));
        // Another writer, another stream, and a write without an order are accepted.
        assert!(is_done(&orders, 1, order(2, 6, &[])));
        assert!(is_done(&orders, 2, order(1, 6, &[])));
        assert!(orders.in_order(Uuid::from_u128(1), None, || Ok(())).is_ok());
        // A refused write does not become the newest.
        assert!(!is_done(&orders, 1, order(1, 6, &[])));
    }

    #[test]
    fn the_least_recent_writer_is_forgotten_first() {
        let orders = WriteOrders::default();
        for writer in 0..MAX_WRITERS as u128 {
            assert!(is_done(&orders, 1, order(writer, 5, &[])));
        }
        // A writer that writes again becomes the most recent one.
        assert!(is_done(&orders, 1, order(0, 5, &[])));
        assert!(is_done(&orders, 1, order(100, 5, &[])));
        for known in [100, 0, 2, MAX_WRITERS as u128 - 1] {
            assert!(!is_done(&orders, 1, order(known, 4, &[])), "{known}");
        }
        assert!(is_done(&orders, 1, order(1, 4, &[])));
    }

    #[test]
    fn a_stream_is_forgotten_after_as_many_others() {
        let orders = WriteOrders::default();
        for stream in 0..=MAX_STREAMS as u128 {
            assert!(is_done(&orders, stream, order(1, 5, &[])));
        }
        assert!(!is_done(&orders, 0, order(1, 4, &[])));
        assert!(!is_done(&orders, MAX_STREAMS as u128 - 1, order(1, 4, &[])));
    }

    #[test]
    fn the_history_is_bounded() {
        let orders = WriteOrders::default();
        for writer in 0..1_000 {
            assert!(is_done(&orders, 1, order(writer, 1, &[])));
        }
        assert_eq!(orders.stream(Uuid::from_u128(1)).lock().len(), MAX_WRITERS);
        for stream in 0..3 * MAX_STREAMS as u128 {
            assert!(is_done(&orders, stream, order(1, 1, &[])));
        }
        let history = orders.0.lock();
        assert!(history.recent.len() <= MAX_STREAMS && history.previous.len() <= MAX_STREAMS);
    }
}
