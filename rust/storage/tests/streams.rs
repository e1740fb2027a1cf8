//! Operations on streams: names, properties, obliterating, retention, versions by time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use pingthings_storage::{
    Engine, Error, ManualClock, NewStream, Options, PropertyChange, StreamQuery,
};
use pingthings_types::{MergePolicy, Points, TimeRange};
use uuid::Uuid;

const A: Uuid = Uuid::from_u128(0xa);
const B: Uuid = Uuid::from_u128(0xb);

fn stream(uuid: Uuid, collection: &str, name: &str) -> NewStream {
    NewStream {
        uuid,
        collection: collection.to_owned(),
        tags: BTreeMap::from([("name".to_owned(), Some(name.to_owned()))]),
        annotations: BTreeMap::new(),
    }
}

fn points(times: &[i64]) -> Points {
    Points {
        times: times.to_vec(),
        values: vec![1.0; times.len()],
    }
}

fn engine() -> (Arc<ManualClock>, Engine) {
    let clock = Arc::new(ManualClock::new(0));
    let engine = Engine::in_memory(Arc::<ManualClock>::clone(&clock), Options::default()).unwrap();
    (clock, engine)
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> u32 {
    result.unwrap_err().code().number()
}

fn times(engine: &Engine, uuid: Uuid, version: u64) -> Vec<i64> {
    let mut reader = engine.snapshot(uuid, version).unwrap().raw(TimeRange::ALL);
    let batch = reader.next_batch(1_000).unwrap();
    batch.map_or_else(Vec::new, |points| points.times)
}

#[test]
fn a_stream_is_created_once() {
    let (_, engine) = engine();
    engine.create(stream(A, "a", "x")).unwrap();
    assert_eq!(code(engine.create(stream(A, "b", "y"))), 417);
    assert_eq!(code(engine.create(stream(B, "a", "x"))), 418);
    let mut other = stream(B, "a", "x");
    other.tags.insert("unit".to_owned(), Some("A".to_owned()));
    engine.create(other).unwrap();
    let found = engine.stream(B).unwrap();
    let expected = [
        ("distiller", ""),
        ("ingress", ""),
        ("name", "x"),
        ("unit", "A"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(found.tags, BTreeMap::from(expected));
    assert_eq!(
        (found.property_version, found.collection.as_str()),
        (1, "a")
    );
}

#[test]
fn lookups_take_every_character_literally() {
    let (_, engine) = engine();
    let names = ["a_b[1]", "a_b[1]/c", "axb[1]", "a%", "A_b[1]", "ä/ö"];
    for (at, name) in names.iter().enumerate() {
        let mut new = stream(Uuid::from_u128(at as u128), name, name);
        let note = (at % 2 == 0).then(|| "even".to_owned());
        new.annotations.insert("Parity".to_owned(), note);
        engine.create(new).unwrap();
    }
    let find = |collection: &str, is_prefix, tag: Option<&str>, note: Option<&str>| {
        let own = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
        let query = StreamQuery {
            collection: collection.to_owned(),
            is_prefix,
            tags: tag.iter().map(|value| own("name", value)).collect(),
            annotations: note.iter().map(|value| own("Parity", value)).collect(),
        };
        let found = engine.lookup(&query).unwrap();
        found.into_iter().map(|s| s.collection).collect::<Vec<_>>()
    };
    assert_eq!(find("a_b[1]", true, None, None), ["a_b[1]", "a_b[1]/c"]);
    assert_eq!(find("a_b[1]", false, None, None), ["a_b[1]"]);
    assert_eq!(find("a%", true, None, None), ["a%"]);
    assert_eq!(find("", false, None, None), Vec::<String>::new());
    assert_eq!(find("", true, None, None).len(), 6);
    assert_eq!(find("", true, Some("ä/ö"), None), ["ä/ö"]);
    assert_eq!(find("", true, None, Some("even")).len(), 3);
    let any = StreamQuery {
        is_prefix: true,
        tags: vec![("unit".to_owned(), None)],
        annotations: vec![("Parity".to_owned(), None)],
        ..StreamQuery::default()
    };
    assert_eq!(engine.lookup(&any).unwrap().len(), 6);
    assert_eq!(engine.collections("a_").unwrap(), ["a_b[1]", "a_b[1]/c"]);
    assert_eq!(engine.collections("a%").unwrap(), ["a%"]);
    assert_eq!(engine.collections("").unwrap().len(), 6);
    assert_eq!(engine.collections("zz").unwrap(), Vec::<String>::new());
}

#[test]
fn an_obliterated_stream_is_gone_and_its_uuid_is_never_accepted_again() {
    let (_, engine) = engine();
    engine.create(stream(A, "a", "x")).unwrap();
    engine.insert(A, points(&[1]), MergePolicy::Never).unwrap();
    let kept = engine.snapshot(A, 0).unwrap();
    engine.obliterate(A).unwrap();
    assert_eq!(code(engine.snapshot(A, 0)), 404);
    assert_eq!(code(engine.stream(A)), 404);
    assert_eq!(
        code(engine.insert(A, points(&[1]), MergePolicy::Never)),
        404
    );
    assert_eq!(code(engine.obliterate(A)), 404);
    assert_eq!(code(engine.create(stream(A, "b", "z"))), 429);
    assert_eq!(engine.collections("").unwrap(), Vec::<String>::new());
    engine.create(stream(B, "a", "x")).unwrap();
    assert_eq!(kept.count(TimeRange::ALL).unwrap(), 1);
}

#[test]
fn properties_change_by_version() {
    let (_, engine) = engine();
    engine.create(stream(A, "a", "x")).unwrap();
    engine.create(stream(B, "b", "x")).unwrap();
    let value = |text: &str| Some(text.to_owned());
    let change = PropertyChange {
        expected: 1,
        tags: BTreeMap::from([("unit".to_owned(), value("V"))]),
        annotations: BTreeMap::from([("k".to_owned(), value("v")), ("n".to_owned(), None)]),
        ..PropertyChange::default()
    };
    assert_eq!(engine.set_properties(A, &change).unwrap(), 2);
    assert_eq!(code(engine.set_properties(A, &change)), 423);
    let found = engine.stream(A).unwrap();
    assert_eq!(
        (found.tags["name"].as_str(), found.tags["unit"].as_str()),
        ("x", "V")
    );
    assert_eq!(found.annotations, change.annotations);
    assert_eq!(found.property_version, 2);
    let usage = engine.metadata_usage("a").unwrap();
    assert_eq!(
        usage.annotations,
        [("k".to_owned(), 1), ("n".to_owned(), 1)]
    );
    let moved = PropertyChange {
        collection: value("b"),
        removed: vec!["k".to_owned(), "unknown".to_owned()],
        ..PropertyChange::default()
    };
    assert_eq!(engine.set_properties(A, &moved).unwrap(), 3);
    assert_eq!(engine.collections("").unwrap(), ["b"]);
    assert_eq!(engine.stream(A).unwrap().annotations.len(), 1);
    let clash = PropertyChange {
        tags: BTreeMap::from([("unit".to_owned(), None)]),
        ..PropertyChange::default()
    };
    assert_eq!(code(engine.set_properties(A, &clash)), 418);
    assert_eq!(engine.stream(A).unwrap().property_version, 3);
}

#[test]
fn retention_trims_as_a_new_version() {
    let (clock, engine) = engine();
    engine.create(stream(A, "a", "x")).unwrap();
    engine.create(stream(B, "a", "y")).unwrap();
    for uuid in [A, B] {
        engine
            .insert(uuid, points(&[10, 20, 30]), MergePolicy::Never)
            .unwrap();
    }
    engine.set_collection_retention("a", Some(100)).unwrap();
    engine.set_stream_retention(B, Some(1_000)).unwrap();
    assert_eq!(code(engine.set_stream_retention(B, Some(0))), 438);
    clock.set(120);
    engine.maintain().unwrap();
    assert_eq!(times(&engine, A, 0), [20, 30]);
    assert_eq!(times(&engine, A, 11), [10, 20, 30]);
    assert_eq!(engine.version(A).unwrap().major, 12);
    assert_eq!(times(&engine, B, 0), [10, 20, 30]);
    engine.maintain().unwrap();
    assert_eq!(engine.version(A).unwrap().major, 12, "nothing more to trim");
    engine.set_stream_retention(B, None).unwrap();
    engine.maintain().unwrap();
    assert_eq!(times(&engine, B, 0), [20, 30]);
}

#[test]
fn versions_are_found_by_the_clock() {
    let (clock, engine) = engine();
    clock.set(100);
    engine.create(stream(A, "a", "x")).unwrap();
    clock.set(200);
    engine.insert(A, points(&[1]), MergePolicy::Never).unwrap();
    engine.flush(A).unwrap();
    assert_eq!(engine.version_at_time(A, 99).unwrap(), None);
    assert_eq!(engine.version_at_time(A, 199).unwrap(), Some(10));
    assert_eq!(engine.version_at_time(A, 200).unwrap(), Some(11));
}

#[test]
fn deleting_everything_twice_and_inserting_again_works() {
    let (_, engine) = engine();
    engine.create(stream(A, "a", "x")).unwrap();
    engine
        .insert(A, points(&[1, 2, 3]), MergePolicy::Never)
        .unwrap();
    assert_eq!(engine.delete(A, TimeRange::ALL).unwrap().major, 12);
    assert_eq!(engine.delete(A, TimeRange::ALL).unwrap().major, 13);
    assert_eq!(times(&engine, A, 0), Vec::<i64>::new());
    assert_eq!(times(&engine, A, 11), [1, 2, 3]);
    engine.insert(A, points(&[5]), MergePolicy::Never).unwrap();
    assert_eq!(times(&engine, A, 0), [5]);
}
