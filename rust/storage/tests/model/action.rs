//! Actions on a store: strategies for proptest.

use pingthings_types::{MAX_TIME, MIN_TIME, MergePolicy};
use proptest::prelude::*;

/// The initial wall-clock time, among the times of points.
pub(crate) const BEGINNING: i64 = 1_500_000_000_000_000_000;

/// An action on one stream.
#[derive(Clone, Debug)]
pub(crate) enum StreamAction {
    Insert(Vec<(i64, f64)>, MergePolicy),
    Flush,
    Delete {
        start: i64,
        length: i64,
    },
    Changes {
        from: usize,
        to: usize,
        resolution: u32,
        batch: usize,
    },
    Raw {
        start: i64,
        length: i64,
        version: usize,
        batch: usize,
    },
    Aligned {
        start: i64,
        length: i64,
        version: usize,
        exponent: u32,
        batch: usize,
    },
    Windows {
        start: i64,
        length: i64,
        version: usize,
        width: u64,
        batch: usize,
    },
    Nearest {
        time: i64,
        backward: bool,
        version: usize,
    },
    /// The last version before a wall-clock time.
    VersionAt {
        back: i64,
    },
    /// Opens a snapshot that is read again later.
    Hold {
        version: usize,
    },
    Keep(Option<i64>),
    Create {
        collection: usize,
        name: usize,
    },
    /// Moves to a collection, under a name.
    Move {
        collection: usize,
        name: usize,
    },
    Obliterate,
}

/// An action on a store.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    To(usize, StreamAction),
    KeepCollection {
        collection: usize,
        keep: Option<i64>,
        overrides: bool,
    },
    Tick(i64),
    Forget {
        back: i64,
    },
    Compact,
    Reopen,
}

/// Number of streams at a time; uuids of obliterated ones are never reused.
pub(crate) const STREAMS: usize = 4;

/// Times that often collide, that spread over all of time, and that hit its ends.
fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        5 => 0..200i64,
        5 => (0..40_000i64).prop_map(|i| 1_500_000_000_000_000_000 + i * 16_666_667),
        1 => MIN_TIME..MAX_TIME - 1,
        1 => prop_oneof![Just(MIN_TIME), Just(MAX_TIME - 2), Just(-1), Just(0)],
    ]
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0..5i32).prop_map(f64::from),
        1 => prop_oneof![Just(-0.0), Just(f64::MIN_POSITIVE), Just(5e-324), Just(-1e9)],
        2 => -1e3..1e3f64,
    ]
}

fn policy() -> impl Strategy<Value = MergePolicy> {
    prop::sample::select(&MergePolicy::ALL[..])
}

/// A batch of any points, or a long regular stretch that makes the tree deep.
fn batch() -> impl Strategy<Value = Vec<(i64, f64)>> {
    prop_oneof![
        6 => prop::collection::vec((time(), value()), 0..60),
        2 => (time(), 1..20_000_000i64, 200..3_000usize, value()).prop_map(|(from, step, n, v)| {
            (0..n as i64)
                .map(|i| (from.saturating_add(i * step).min(MAX_TIME - 2), v + (i % 7) as f64))
                .collect()
        }),
        1 => (time(), 5_000..9_000usize).prop_map(|(t, n)| {
            (0..n).map(|i| (t, i as f64)).collect()
        }),
    ]
}

fn reading() -> impl Strategy<Value = StreamAction> {
    let version = 0..12usize;
    let length = prop_oneof![1..300i64, 1..1_000_000_000_000i64, Just(1i64 << 61)];
    let batch_size = prop_oneof![1..20usize, Just(5_000)];
    prop_oneof![
        2 => (version.clone(), version.clone(), 0..64u32, batch_size.clone()).prop_map(
            |(from, to, resolution, batch)| StreamAction::Changes { from, to, resolution, batch }),
        3 => (time(), length.clone(), version.clone(), batch_size.clone()).prop_map(
            |(start, length, version, batch)| StreamAction::Raw { start, length, version, batch }),
        3 => (time(), length.clone(), version.clone(), 0..64u32, batch_size.clone()).prop_map(
            |(start, length, version, exponent, batch)| {
                StreamAction::Aligned { start, length, version, exponent, batch }
            }),
        3 => (time(), length, version.clone(), 1..200u64, batch_size).prop_map(
            |(start, length, version, parts, batch)| {
                let width = (length.unsigned_abs() / parts).max(1);
                StreamAction::Windows { start, length, version, width, batch }
            }),
        3 => (time(), any::<bool>(), version.clone()).prop_map(
            |(time, backward, version)| StreamAction::Nearest { time, backward, version }),
        1 => (0..2_000_000_000_000i64).prop_map(|back| StreamAction::VersionAt { back }),
        1 => version.prop_map(|version| StreamAction::Hold { version }),
    ]
}

fn keep() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![Just(None), (1..2_000_000_000_000i64).prop_map(Some)]
}

fn writing() -> impl Strategy<Value = StreamAction> {
    let length = prop_oneof![1..300i64, 1..1_000_000_000_000i64, Just(1i64 << 61)];
    let place = (0..2usize, 0..2usize);
    prop_oneof![
        12 => (batch(), policy()).prop_map(|(points, policy)| StreamAction::Insert(points, policy)),
        4 => Just(StreamAction::Flush),
        4 => (time(), length).prop_map(|(start, length)| StreamAction::Delete { start, length }),
        1 => keep().prop_map(StreamAction::Keep),
        3 => place.clone().prop_map(|(collection, name)| StreamAction::Create { collection, name }),
        1 => place.prop_map(|(collection, name)| StreamAction::Move { collection, name }),
        1 => Just(StreamAction::Obliterate),
    ]
}

pub(crate) fn action() -> impl Strategy<Value = Action> {
    // Most actions concern one stream, so that it has many versions.
    let stream = prop_oneof![4 => Just(0), 1 => 1..STREAMS];
    let deed = prop_oneof![writing(), reading()];
    let span = prop_oneof![1..1_000i64, 1..1_000_000_000_000i64];
    prop_oneof![
        24 => (stream, deed).prop_map(|(stream, deed)| Action::To(stream, deed)),
        1 => (0..2usize, keep(), any::<bool>()).prop_map(
            |(collection, keep, overrides)| Action::KeepCollection { collection, keep, overrides }),
        2 => span.clone().prop_map(Action::Tick),
        1 => span.prop_map(|back| Action::Forget { back }),
        1 => Just(Action::Compact),
        1 => Just(Action::Reopen),
    ]
}
