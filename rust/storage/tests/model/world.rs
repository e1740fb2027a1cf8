//! A store and its expected content.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use pingthings_storage::{
    CollectionRetention, Engine, Error, ManualClock, NewStream, Options, PropertyChange, Snapshot,
    StreamQuery,
};
use pingthings_types::Points;
use uuid::Uuid;

use crate::action::{Action, BEGINNING, StreamAction};
use crate::answers::{assert_same_points, compare, open as open_version, range};
use crate::oracle::{List, Oracle};

/// A buffer is committed when it has this many points,
const LIMIT: usize = 4_000;
/// or when it has waited this many nanoseconds.
const AGE: i64 = 300_000_000_000;

struct Known {
    collection: usize,
    name: usize,
    keep: Option<i64>,
    oracle: Oracle,
}

/// A store on disk, and plain lists of its expected content.
pub(crate) struct World {
    directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
    now: i64,
    engine: Option<Engine>,
    streams: BTreeMap<usize, Known>,
    burnt: BTreeSet<usize>,
    collections: BTreeMap<usize, CollectionRetention>,
    held: Vec<(Snapshot, List)>,
}

fn open(path: &Path, clock: &Arc<ManualClock>) -> Engine {
    let options = Options {
        buffer_points: LIMIT,
        buffer_age_ns: AGE,
        segment_bytes: 100_000,
        journal_file_bytes: 200_000,
        // The background thread must not commit buffers because the journal is long.
        journal_files: u32::MAX,
        ..Options::default()
    };
    Engine::open_directory(path, Arc::<ManualClock>::clone(clock), options).unwrap()
}

const fn uuid(stream: usize) -> Uuid {
    Uuid::from_u128(0x5eed + stream as u128)
}

fn collection(number: usize) -> String {
    format!("model/{number}")
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> u32 {
    result.unwrap_err().code().number()
}

impl World {
    /// A store with one empty stream.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(BEGINNING));
        let engine = open(directory.path(), &clock);
        let mut world = Self {
            directory,
            clock,
            now: BEGINNING,
            engine: Some(engine),
            streams: BTreeMap::new(),
            burnt: BTreeSet::new(),
            collections: BTreeMap::new(),
            held: Vec::new(),
        };
        world.create(0, 0, 0);
        world
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::To(stream, StreamAction::Create { collection, name }) => {
                self.create(stream, collection, name);
            }
            Action::To(stream, deed) if self.streams.contains_key(&stream) => {
                self.carry_out(stream, deed);
            }
            Action::To(stream, _) => {
                let uuid = uuid(stream);
                assert_eq!(code(self.engine().version(uuid)), 404);
                assert_eq!(code(self.engine().snapshot(uuid, 0)), 404);
                assert_eq!(code(self.engine().flush(uuid)), 404);
                assert_eq!(code(self.engine().obliterate(uuid)), 404);
            }
            Action::KeepCollection {
                collection: number,
                keep: keep_ns,
                overrides,
            } => {
                let retention = CollectionRetention { keep_ns, overrides };
                let engine = self.engine.as_ref().unwrap();
                engine
                    .set_collection_retention(&collection(number), retention)
                    .unwrap();
                self.collections.insert(number, retention);
            }
            Action::Tick(span) => {
                self.now += span;
                self.clock.set(self.now);
            }
            Action::Forget { back } => {
                let wall = self.now - back;
                let found = self.engine().forget_versions(wall).unwrap();
                let oracles = self.streams.values_mut().map(|known| &mut known.oracle);
                let expected: usize = oracles.map(|oracle| oracle.forget(wall)).sum();
                assert_eq!(found, expected);
            }
            Action::Compact => {
                self.engine().compact(&mut |_| {}).unwrap();
                self.check();
                let again = self.engine().compact(&mut |_| {}).unwrap();
                assert_eq!((again.rewritten, again.removed), (0, 0));
            }
            Action::Reopen => self.reopen(),
        }
        self.settle();
    }

    /// Does the work of the background thread, so that it does not matter when that runs.
    fn settle(&mut self) {
        for known in self.streams.values_mut() {
            known.oracle.turn(self.now);
            known.oracle.flush_old(AGE);
            let own = known.keep;
            let keep = match self.collections.get(&known.collection) {
                Some(retention) if retention.overrides => retention.keep_ns,
                Some(retention) => own.or(retention.keep_ns),
                None => own,
            };
            if let Some(keep) = keep {
                known.oracle.trim(keep);
            }
        }
        self.engine().maintain().unwrap();
    }

    /// Checks everything in the store.
    pub(crate) fn check(&self) {
        for (snapshot, list) in &self.held {
            assert_same_points(snapshot, list);
        }
        for (&stream, known) in &self.streams {
            let found = self.engine().version(uuid(stream)).unwrap();
            assert_eq!(found, known.oracle.version());
            let snapshot = self.engine().snapshot(uuid(stream), 0).unwrap();
            assert_same_points(&snapshot, &known.oracle.at(0));
        }
        let query = StreamQuery {
            is_prefix: true,
            ..StreamQuery::default()
        };
        let found = self.engine().lookup(&query).unwrap();
        let found: Vec<_> = found
            .into_iter()
            .map(|stream| (stream.collection, stream.tags["name"].clone(), stream.uuid))
            .collect();
        let streams = self.streams.iter();
        let mut expected: Vec<_> = streams
            .map(|(&at, known)| {
                (
                    collection(known.collection),
                    known.name.to_string(),
                    uuid(at),
                )
            })
            .collect();
        expected.sort();
        assert_eq!(found, expected);
    }

    fn reopen(&mut self) {
        self.check();
        self.held.clear();
        self.engine = None;
        self.engine = Some(open(self.directory.path(), &self.clock));
        for known in self.streams.values_mut() {
            known.oracle.flush();
        }
        self.check();
    }

    fn is_taken(&self, collection: usize, name: usize) -> bool {
        let mut streams = self.streams.values();
        streams.any(|known| (known.collection, known.name) == (collection, name))
    }

    fn create(&mut self, stream: usize, number: usize, name: usize) {
        let new = NewStream {
            uuid: uuid(stream),
            collection: collection(number),
            tags: BTreeMap::from([("name".to_owned(), Some(name.to_string()))]),
            ..NewStream::default()
        };
        let created = self.engine().create(new);
        if self.streams.contains_key(&stream) {
            assert_eq!(code(created), 417);
        } else if self.burnt.contains(&stream) {
            assert_eq!(code(created), 429);
        } else if self.is_taken(number, name) {
            assert_eq!(code(created), 418);
        } else {
            created.unwrap();
            let known = Known {
                collection: number,
                name,
                keep: None,
                oracle: Oracle::created(LIMIT, self.now),
            };
            self.streams.insert(stream, known);
        }
    }

    fn carry_out(&mut self, stream: usize, deed: StreamAction) {
        let engine = self.engine.as_ref().unwrap();
        let uuid = uuid(stream);
        let is_taken = match deed {
            StreamAction::Move { collection, name } => self.is_taken(collection, name),
            _ => false,
        };
        let Some(known) = self.streams.get_mut(&stream) else {
            return;
        };
        let oracle = &mut known.oracle;
        match deed {
            StreamAction::Insert(pairs, policy) => {
                let (times, values) = pairs.iter().copied().unzip();
                let points = Points { times, values };
                let found = engine.insert(uuid, points, policy).unwrap();
                oracle.insert(&pairs, policy);
                assert_eq!(found, oracle.version());
            }
            StreamAction::Flush => {
                let found = engine.flush(uuid).unwrap();
                oracle.flush();
                assert_eq!(found, oracle.version());
            }
            StreamAction::Delete { start, length } => {
                let Some(range) = range(start, length) else {
                    return;
                };
                let found = engine.delete(uuid, range).unwrap();
                oracle.delete(range.start(), range.end());
                assert_eq!(found, oracle.version());
            }
            StreamAction::VersionAt { back } => {
                let wall = self.now - back;
                let found = engine.version_at_time(uuid, wall).unwrap();
                assert_eq!(found, oracle.version_at(wall));
            }
            StreamAction::Hold { version } => {
                let held = open_version(engine, uuid, oracle, version);
                self.held.extend(held);
            }
            StreamAction::Keep(keep) => {
                engine.set_stream_retention(uuid, keep).unwrap();
                known.keep = keep;
            }
            StreamAction::Move {
                collection: number,
                name,
            } => {
                let change = PropertyChange {
                    collection: Some(collection(number)),
                    tags: BTreeMap::from([("name".to_owned(), Some(name.to_string()))]),
                    ..PropertyChange::default()
                };
                let moved = engine.set_properties(uuid, &change);
                if is_taken && (known.collection, known.name) != (number, name) {
                    assert_eq!(code(moved), 418);
                } else {
                    moved.unwrap();
                    (known.collection, known.name) = (number, name);
                }
            }
            StreamAction::Obliterate => {
                engine.obliterate(uuid).unwrap();
                self.streams.remove(&stream);
                self.burnt.insert(stream);
            }
            reading => compare(engine, uuid, oracle, &reading),
        }
    }
}
