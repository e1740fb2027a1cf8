//! The pending writes of a client. Each write tells the server which earlier writes are still
//! pending, so that the server does not apply a cancelled write after a newer one.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use pingthings_types::WriteOrder;
use tonic::metadata::{Ascii, MetadataValue};
use uuid::Uuid;

/// Maximum number of pending writes to one stream that a header lists, because headers have a size
/// limit.
const MAX_PENDING: usize = 100;

/// The pending writes of one process. The child of a fork is a different writer.
#[derive(Debug)]
pub(crate) struct PendingWrites {
    writer: Uuid,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    pending: HashMap<Uuid, BTreeSet<u64>>,
}

/// A write that is pending until this is dropped.
#[derive(Debug)]
pub(crate) struct PendingWrite {
    writes: Arc<PendingWrites>,
    stream: Uuid,
    number: u64,
    /// The header of the request; `None` if too many writes are pending.
    pub(crate) header: Option<MetadataValue<Ascii>>,
}

impl PendingWrites {
    pub(crate) fn new() -> Self {
        Self {
            writer: Uuid::new_v4(),
            state: Mutex::default(),
        }
    }

    /// Registers a write that is about to be sent.
    pub(crate) fn begin(self: &Arc<Self>, stream: Uuid) -> PendingWrite {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        let pending = state.pending.entry(stream).or_default();
        let header = (pending.len() <= MAX_PENDING).then(|| {
            let order = WriteOrder {
                writer: self.writer,
                number,
                alive: pending.iter().copied().collect(),
            };
            order.to_string().parse().ok()
        });
        pending.insert(number);
        drop(state);
        PendingWrite {
            writes: Arc::clone(self),
            stream,
            number,
            header: header.flatten(),
        }
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        let mut state = self.writes.state.lock();
        if let Some(pending) = state.pending.get_mut(&self.stream) {
            pending.remove(&self.number);
            if pending.is_empty() {
                state.pending.remove(&self.stream);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order_of(write: &PendingWrite) -> WriteOrder {
        let header = write.header.as_ref().unwrap();
        WriteOrder::parse(header.to_str().unwrap()).unwrap()
    }

    #[test]
    fn a_write_lists_the_pending_writes_of_its_stream() {
        let writes = Arc::new(PendingWrites::new());
        let (stream, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = writes.begin(stream);
        let other_stream = writes.begin(other);
        let second = writes.begin(stream);
        assert_eq!(order_of(&other_stream).alive, [0; 0]);
        assert_eq!(order_of(&second).alive, [0]);
        drop(first);
        let third = writes.begin(stream);
        assert_eq!(order_of(&third).alive, [2]);
        assert!(order_of(&third).number > order_of(&second).number);
        drop((other_stream, second, third));
        assert!(writes.state.lock().pending.is_empty());
    }

    #[test]
    fn headers_stay_short() {
        let writes = Arc::new(PendingWrites::new());
        let all: Vec<_> = (0..150).map(|_| writes.begin(Uuid::nil())).collect();
        let longest = all.iter().filter_map(|write| write.header.as_ref());
        assert!(longest.map(MetadataValue::len).max().unwrap() < 1_000);
        assert!(all.last().unwrap().header.is_none());
    }
}
