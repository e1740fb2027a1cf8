//! Watchers receive points as they are inserted.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use pingthings_storage::{Engine, ManualClock, NewStream, Options, Watcher};
use pingthings_types::{MergePolicy, Points};
use uuid::Uuid;

const A: Uuid = Uuid::from_u128(0xa);
const B: Uuid = Uuid::from_u128(0xb);

#[derive(Default)]
struct Recorder(Mutex<Vec<(Uuid, Vec<i64>)>>);

impl Watcher for Recorder {
    fn inserted(&self, uuid: Uuid, points: &Arc<Points>) {
        self.0.lock().unwrap().push((uuid, points.times.clone()));
    }
}

fn engine() -> Engine {
    let options = Options {
        buffer_points: 4,
        ..Options::default()
    };
    let engine = Engine::in_memory(Arc::new(ManualClock::new(0)), options).unwrap();
    for (uuid, name) in [(A, "x"), (B, "y")] {
        let stream = NewStream {
            uuid,
            collection: "a".to_owned(),
            tags: BTreeMap::from([("name".to_owned(), Some(name.to_owned()))]),
            annotations: BTreeMap::new(),
        };
        engine.create(stream).unwrap();
    }
    engine
}

fn insert(engine: &Engine, uuid: Uuid, times: &[i64]) {
    let points = Points {
        times: times.to_vec(),
        values: vec![1.0; times.len()],
    };
    engine.insert(uuid, points, MergePolicy::Never).unwrap();
}

#[test]
fn inserts_are_reported_in_order_whether_buffered_or_committed() {
    let engine = engine();
    let heard = Arc::new(Recorder::default());
    insert(&engine, A, &[1]);
    let number = engine.watch(A, Arc::clone(&heard) as _).unwrap();
    insert(&engine, A, &[3, 2]);
    insert(&engine, B, &[4]);
    insert(&engine, A, &[5, 6, 7, 8]);
    insert(&engine, A, &[]);
    engine.unwatch(A, number);
    insert(&engine, A, &[9]);
    let expected = [(A, vec![2, 3]), (A, vec![5, 6, 7, 8])];
    assert_eq!(*heard.0.lock().unwrap(), expected);
}

#[test]
fn refused_inserts_are_not_reported() {
    let engine = engine();
    let heard = Arc::new(Recorder::default());
    engine.watch(A, Arc::clone(&heard) as _).unwrap();
    let points = Points {
        times: vec![1],
        values: vec![f64::NAN],
    };
    engine.insert(A, points, MergePolicy::Never).unwrap_err();
    assert!(heard.0.lock().unwrap().is_empty());
    let nobody = engine.watch(Uuid::nil(), heard).unwrap_err();
    assert_eq!(nobody.code().number(), 404);
}
