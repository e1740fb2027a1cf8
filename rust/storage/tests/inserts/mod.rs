//! Inserts that can fail, what a client knows about them, and a check of the engine against that.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use pingthings_storage::{
    Blocks, Catalog, Durability, Engine, Error, ManualClock, NewStream, Options,
};
use pingthings_types::{MergePolicy, Points, TimeRange, Version};
use uuid::Uuid;

pub(crate) const STREAMS: [Uuid; 2] = [Uuid::from_u128(1), Uuid::from_u128(2)];
/// Number of points of an insert, at times that only it has.
pub(crate) const BATCH: i64 = 9;

/// How an engine is opened and written to, varied by a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) durability: Durability,
    pub(crate) seed: u8,
}

impl Scenario {
    /// One scenario, or many if `STORAGE_LONG` is set.
    pub(crate) fn all(durability: Durability) -> impl Iterator<Item = Self> {
        let is_long = std::env::var_os("STORAGE_LONG").is_some();
        let seeds = if is_long { 0..8 } else { 0..1 };
        seeds.map(move |seed| Self { durability, seed })
    }

    pub(crate) fn open(
        self,
        blocks: Arc<dyn Blocks>,
        catalog: Arc<dyn Catalog>,
    ) -> Result<Engine, Error> {
        let options = Options {
            durability: self.durability,
            buffer_points: 40 + usize::from(self.seed) * 37 % 90,
            segment_bytes: 700 + u64::from(self.seed) * 911 % 3_000,
            journal_file_bytes: 700 + u64::from(self.seed) * 577 % 2_000,
            journal_files: u32::MAX,
            ..Options::default()
        };
        Engine::open(blocks, catalog, Arc::new(ManualClock::new(0)), options)
    }

    /// Inserts and flushes one batch for each of `numbers`.
    pub(crate) fn work(self, engine: &Engine, known: &mut [Known; 2], numbers: Range<i64>) {
        let (turn, rest) = (i64::from(self.seed), 7 - i64::from(self.seed) % 5);
        for number in numbers {
            let at = usize::from((number + turn) % 3 == 0);
            let is_flushed = number % rest == rest - 1;
            insert(engine, STREAMS[at], &mut known[at], number, is_flushed);
        }
    }
}

pub(crate) fn batch(number: i64) -> Points {
    // Half of the times are those of the insert before.
    let times = number * BATCH - BATCH / 2..(number + 1) * BATCH - BATCH / 2;
    times
        .map(|time| pingthings_types::RawPoint {
            time,
            value: f64::from(i32::try_from(number * 1_000 + time).unwrap()),
        })
        .collect()
}

pub(crate) type Contents = Vec<(i64, u64)>;

pub(crate) fn pairs(points: &Points) -> Contents {
    points.iter().map(|p| (p.time, p.value.to_bits())).collect()
}

pub(crate) fn read(engine: &Engine, uuid: Uuid, version: u64) -> Contents {
    let snapshot = engine.snapshot(uuid, version).unwrap();
    let mut reader = snapshot.raw(TimeRange::new(-1_000, 1 << 40).unwrap());
    let mut found = Vec::new();
    while let Some(points) = reader.next_batch(1_000).unwrap() {
        found.extend(pairs(&points));
    }
    found
}

/// What a client knows about one stream.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Batches that were acknowledged.
    pub(crate) acknowledged: Vec<i64>,
    /// Batches whose insert failed: each may be stored or not.
    pub(crate) failed: Vec<i64>,
    pub(crate) last: Option<Version>,
    /// The errors of failed inserts and flushes.
    pub(crate) errors: Vec<Error>,
    /// The content of each version.
    pub(crate) versions: BTreeMap<u64, Contents>,
}

fn insert(engine: &Engine, uuid: Uuid, known: &mut Known, number: i64, is_flushed: bool) {
    match engine.insert(uuid, batch(number), MergePolicy::Never) {
        Ok(version) => {
            known.acknowledged.push(number);
            known.last = Some(version);
        }
        Err(error) => {
            known.failed.push(number);
            known.errors.push(error);
        }
    }
    if is_flushed {
        match engine.flush(uuid) {
            Ok(version) => known.last = Some(version),
            Err(error) => known.errors.push(error),
        }
    }
    if let Some(version) = known.last {
        known
            .versions
            .entry(version.major)
            .or_insert_with(|| read(engine, uuid, version.major));
    }
}

pub(crate) fn create(engine: &Engine) -> bool {
    STREAMS.into_iter().enumerate().all(|(at, uuid)| {
        let stream = NewStream {
            uuid,
            collection: format!("crash/{at}"),
            ..NewStream::default()
        };
        engine.create(stream).is_ok()
    })
}

pub(crate) fn check(engine: &Engine, known: &[Known; 2], is_machine_dead: bool) {
    for (uuid, known) in STREAMS.into_iter().zip(known) {
        let version = engine.version(uuid).unwrap();
        assert!(known.last.is_none_or(|last| last.major <= version.major));
        let mut found = read(engine, uuid, 0);
        for number in &known.acknowledged {
            for pair in pairs(&batch(*number)) {
                let at = found.iter().position(|found| *found == pair);
                let at = at.unwrap_or_else(|| panic!("batch {number} lost {pair:?}"));
                found.remove(at);
            }
        }
        for number in &known.failed {
            let batch = pairs(&batch(*number));
            let before = found.len();
            found.retain(|found| !batch.contains(found));
            let gone = before - found.len();
            assert!(gone == 0 || gone == batch.len(), "batch {number} is torn");
        }
        assert_eq!(found, [], "points nobody inserted");
        for (major, contents) in &known.versions {
            assert_eq!(&read(engine, uuid, *major), contents, "version {major}");
        }
        for major in 10..=version.major {
            read(engine, uuid, major);
        }
        if is_machine_dead {
            // The operation in progress may have succeeded without an answer.
            let committed = known.last.map_or(10, |last| last.major);
            assert!(version.major <= committed + 1);
        }
    }
}
