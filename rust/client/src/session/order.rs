//! Writes to one stream, in the order of this client, so that servers do none that was given up
//! after a newer one.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use pingthings_types::WriteOrder;
use tonic::metadata::{Ascii, MetadataValue};
use uuid::Uuid;

/// Writes to one stream under way at once of which servers are told; headers have a limit.
const MOST_ALIVE: usize = 100;

/// The writes under way. Belongs to one process: the child of a fork is another writer.
#[derive(Debug)]
pub(crate) struct Order {
    writer: Uuid,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    alive: HashMap<Uuid, BTreeSet<u64>>,
}

/// A write that is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Writing {
    order: Arc<Order>,
    stream: Uuid,
    number: u64,
    /// What the server is told; nothing with too many of them at once.
    pub(crate) header: Option<MetadataValue<Ascii>>,
}

impl Order {
    pub(crate) fn new() -> Self {
        Self {
            writer: Uuid::new_v4(),
            state: Mutex::default(),
        }
    }

    /// A request to write to the stream is about to be sent.
    pub(crate) fn begin(self: &Arc<Self>, stream: Uuid) -> Writing {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        let alive = state.alive.entry(stream).or_default();
        let header = (alive.len() <= MOST_ALIVE).then(|| {
            let order = WriteOrder {
                writer: self.writer,
                number,
                alive: alive.iter().copied().collect(),
            };
            order.to_string().parse().ok()
        });
        alive.insert(number);
        drop(state);
        Writing {
            order: Arc::clone(self),
            stream,
            number,
            header: header.flatten(),
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut state = self.order.state.lock();
        if let Some(alive) = state.alive.get_mut(&self.stream) {
            alive.remove(&self.number);
            if alive.is_empty() {
                state.alive.remove(&self.stream);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(writing: &Writing) -> WriteOrder {
        let header = writing.header.as_ref().unwrap();
        WriteOrder::parse(header.to_str().unwrap()).unwrap()
    }

    #[test]
    fn a_write_names_those_of_its_stream_that_are_under_way() {
        let order = Arc::new(Order::new());
        let (stream, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = order.begin(stream);
        let elsewhere = order.begin(other);
        let second = order.begin(stream);
        assert_eq!(told(&elsewhere).alive, [0; 0]);
        assert_eq!(told(&second).alive, [0]);
        drop(first);
        let third = order.begin(stream);
        assert_eq!(told(&third).alive, [2]);
        assert!(told(&third).number > told(&second).number);
        drop((elsewhere, second, third));
        assert!(order.state.lock().alive.is_empty());
    }

    #[test]
    fn headers_stay_short() {
        let order = Arc::new(Order::new());
        let all: Vec<_> = (0..150).map(|_| order.begin(Uuid::nil())).collect();
        let longest = all.iter().filter_map(|writing| writing.header.as_ref());
        assert!(longest.map(MetadataValue::len).max().unwrap() < 1_000);
        assert!(all.last().unwrap().header.is_none());
    }
}
