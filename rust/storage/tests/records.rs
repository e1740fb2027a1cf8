//! Devices, units, and how long collections and streams keep their points.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use pingthings_storage::{
    CollectionRetention, Engine, Error, ManualClock, NewStream, Options, Record, RecordKind,
    StreamRetention,
};
use pingthings_types::{MergePolicy, Points, TimeRange};
use uuid::Uuid;

const A: Uuid = Uuid::from_u128(0xa);
const B: Uuid = Uuid::from_u128(0xb);
const KINDS: [RecordKind; 2] = [RecordKind::Device, RecordKind::Unit];

fn engine() -> (Arc<ManualClock>, Engine) {
    let clock = Arc::new(ManualClock::new(0));
    let engine = Engine::in_memory(Arc::<ManualClock>::clone(&clock), Options::default()).unwrap();
    (clock, engine)
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> u32 {
    result.unwrap_err().code().number()
}

fn record(id: i64, name: &str, fields: &str) -> Record {
    Record {
        id,
        name: name.to_owned(),
        fields: fields.to_owned(),
    }
}

#[test]
fn records_come_back_as_they_were_given() {
    let (_, engine) = engine();
    let fields = r#"{"serial":9007199254740993,"limit":1.50,"tags":["a",{"b":null}],"é":"\u0000"}"#;
    for kind in KINDS {
        let first = engine.create_record(kind, "first", fields).unwrap();
        assert_eq!(first, record(1, "first", fields));
        let second = engine.create_record(kind, "second", "").unwrap();
        assert_eq!(second, record(2, "second", "{}"));
        assert_eq!(engine.record(kind, 1).unwrap(), first);
        assert_eq!(engine.records(kind).unwrap(), [first, second]);
    }
}

#[test]
fn an_update_changes_what_it_names() {
    let (_, engine) = engine();
    for kind in KINDS {
        engine.create_record(kind, "a", r#"{"x":1,"y":2}"#).unwrap();
        engine.create_record(kind, "b", "").unwrap();
        let found = engine.update_record(kind, 1, None, r#"{"z":3,"x":null}"#);
        let changed = record(1, "a", r#"{"x":null,"y":2,"z":3}"#);
        assert_eq!(found.unwrap(), changed);
        assert_eq!(engine.record(kind, 1).unwrap(), changed);
        let renamed = engine.update_record(kind, 1, Some("c"), "").unwrap();
        assert_eq!(renamed.name, "c");
        assert_eq!(renamed.fields, changed.fields);
        // Its own name does not conflict; that of another record does.
        assert!(engine.update_record(kind, 1, Some("c"), "").is_ok());
        assert_eq!(code(engine.update_record(kind, 1, Some("b"), "")), 442);
        assert_eq!(code(engine.update_record(kind, 1, Some(""), "")), 443);
        assert_eq!(code(engine.update_record(kind, 3, None, "")), 445);
        let long = format!(r#"{{"long":"{}"}}"#, "x".repeat((1 << 20) - 20));
        assert_eq!(code(engine.update_record(kind, 1, None, &long)), 438);
        assert_eq!(engine.record(kind, 1).unwrap(), renamed);
    }
}

#[test]
fn names_are_required_and_unique_within_a_kind() {
    let (_, engine) = engine();
    for kind in KINDS {
        engine.create_record(kind, "a", "").unwrap();
        let taken = engine.create_record(kind, "a", "").unwrap_err();
        assert_eq!(taken.code().number(), 442);
        assert!(taken.to_string().contains("`a`"), "{taken}");
        assert_eq!(code(engine.create_record(kind, "", "")), 443);
        assert_eq!(code(engine.create_record(kind, " \t", "")), 443);
        assert_eq!(code(engine.create_record(kind, "a\0", "")), 438);
        assert_eq!(code(engine.create_record(kind, &"a".repeat(256), "")), 438);
        assert_eq!(code(engine.create_record(kind, "b", r#"{"id":7}"#)), 438);
        assert_eq!(engine.records(kind).unwrap().len(), 1);
    }
}

#[test]
fn a_number_is_never_reused() {
    let (_, engine) = engine();
    for kind in KINDS {
        engine.create_record(kind, "a", "").unwrap();
        engine.delete_record(kind, 1).unwrap();
        let error = engine.delete_record(kind, 1).unwrap_err();
        assert_eq!(error.code().number(), 445);
        assert_eq!(error.to_string(), format!("{kind} `1` does not exist"));
        assert_eq!(code(engine.record(kind, 1)), 445);
        assert_eq!(engine.create_record(kind, "a", "").unwrap().id, 2);
    }
}

#[test]
fn records_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let clock = Arc::new(ManualClock::new(0));
        Engine::open_directory(directory.path(), clock, Options::default()).unwrap()
    };
    let engine = open();
    engine
        .create_record(RecordKind::Device, "pmu", r#"{"x":1}"#)
        .unwrap();
    engine.close().unwrap();
    drop(engine);
    let found = open().records(RecordKind::Device).unwrap();
    assert_eq!(found, [record(1, "pmu", r#"{"x":1}"#)]);
}

fn keep(keep_ns: Option<i64>, overrides: bool) -> CollectionRetention {
    CollectionRetention { keep_ns, overrides }
}

fn with_streams() -> (Arc<ManualClock>, Engine) {
    let (clock, engine) = engine();
    for (uuid, name) in [(A, "x"), (B, "y")] {
        let tags = BTreeMap::from([("name".to_owned(), Some(name.to_owned()))]);
        let stream = NewStream {
            uuid,
            collection: "a".to_owned(),
            tags,
            annotations: BTreeMap::new(),
        };
        engine.create(stream).unwrap();
        let points = Points {
            times: vec![10, 20, 30],
            values: vec![1.0; 3],
        };
        engine.insert(uuid, points, MergePolicy::Never).unwrap();
    }
    (clock, engine)
}

fn times(engine: &Engine, uuid: Uuid) -> Vec<i64> {
    let mut reader = engine.snapshot(uuid, 0).unwrap().raw(TimeRange::ALL);
    let batch = reader.next_batch(1_000).unwrap();
    batch.map_or_else(Vec::new, |points| points.times)
}

#[test]
fn the_effective_retention_is_reported() {
    let (_, engine) = with_streams();
    let told = |own_ns, effective_ns| {
        let retention = StreamRetention {
            own_ns,
            effective_ns,
        };
        assert_eq!(engine.stream_retention(A).unwrap(), retention);
    };
    told(None, None);
    assert_eq!(engine.collection_retention("a").unwrap(), keep(None, false));
    engine.set_collection_retention("a", Some(100)).unwrap();
    told(None, Some(100));
    engine.set_stream_retention(A, Some(1_000)).unwrap();
    told(Some(1_000), Some(1_000));
    for retention in [keep(Some(100), true), keep(None, true), keep(None, false)] {
        engine.set_collection_retention("a", retention).unwrap();
        assert_eq!(engine.collection_retention("a").unwrap(), retention);
        let own = Some(1_000).filter(|_| !retention.overrides);
        told(Some(1_000), retention.keep_ns.or(own));
    }
    assert_eq!(code(engine.stream_retention(Uuid::nil())), 404);
    assert_eq!(code(engine.set_stream_retention(Uuid::nil(), None)), 404);
    assert_eq!(code(engine.set_collection_retention("", Some(1))), 407);
    assert_eq!(code(engine.set_collection_retention("a", Some(0))), 438);
}

#[test]
fn a_collection_that_overrides_trims_what_streams_would_keep() {
    let (clock, engine) = with_streams();
    engine.set_stream_retention(B, Some(1_000)).unwrap();
    engine
        .set_collection_retention("a", keep(Some(100), true))
        .unwrap();
    clock.set(120);
    engine.maintain().unwrap();
    assert_eq!(
        (times(&engine, A), times(&engine, B)),
        (vec![20, 30], vec![20, 30])
    );
}

#[test]
fn a_collection_that_overrides_with_for_ever_keeps_what_streams_would_trim() {
    let (clock, engine) = with_streams();
    engine.set_stream_retention(B, Some(100)).unwrap();
    engine
        .set_collection_retention("a", keep(None, true))
        .unwrap();
    clock.set(120);
    engine.maintain().unwrap();
    assert_eq!(times(&engine, B), [10, 20, 30]);
    engine
        .set_collection_retention("a", keep(None, false))
        .unwrap();
    engine.maintain().unwrap();
    assert_eq!(times(&engine, B), [20, 30]);
}
