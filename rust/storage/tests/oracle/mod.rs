//! The expected answers of the engine, computed from plain lists of points.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::collections::{BTreeMap, BTreeSet};

use pingthings_types::{
    AlignedWindows, FIRST_MAJOR, MAX_TIME, MergePolicy, PreciseWindows, Stat, StatPoint, Version,
    Windows,
};

/// Points sorted by time, in order of arrival at equal times.
#[derive(Clone, Debug, Default)]
pub(crate) struct List(Vec<(i64, f64)>);

impl List {
    /// A list of points that are already in order.
    pub(crate) const fn of(points: Vec<(i64, f64)>) -> Self {
        Self(points)
    }

    /// The bytes of all points.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let bytes = |&(time, value): &(i64, f64)| [time.to_le_bytes(), value.to_le_bytes()];
        self.0.iter().flat_map(bytes).flatten().collect()
    }

    pub(crate) fn between(&self, start: i64, end: i64) -> Vec<(i64, f64)> {
        self.0
            .iter()
            .copied()
            .filter(|p| start <= p.0 && p.0 < end)
            .collect()
    }

    pub(crate) fn nearest(&self, time: i64, backward: bool) -> Option<(i64, f64)> {
        if backward {
            self.0.iter().copied().rev().find(|p| p.0 < time)
        } else {
            self.0.iter().copied().find(|p| p.0 >= time)
        }
    }

    /// The times at which two lists have different values, or the same values in another order.
    pub(crate) fn differing_times(&self, other: &Self) -> BTreeSet<i64> {
        let by_time = |list: &Self| {
            let mut values: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
            for &(time, value) in &list.0 {
                values.entry(time).or_default().push(value.to_bits());
            }
            values
        };
        let (own, others) = (by_time(self), by_time(other));
        own.keys()
            .chain(others.keys())
            .copied()
            .filter(|time| own.get(time) != others.get(time))
            .collect()
    }

    fn stat(&self, start: i64, end: i64) -> Stat {
        let values: Vec<f64> = self.between(start, end).into_iter().map(|p| p.1).collect();
        Stat::of_slice(&values)
    }
}

/// The aligned windows with points.
pub(crate) fn aligned(list: &List, windows: AlignedWindows) -> Windows {
    let mut found = Windows::default();
    let mut rest = list.between(windows.start, windows.end);
    while let Some(&(first, _)) = rest.first() {
        let time = windows.window_of(first);
        let count = rest
            .iter()
            .take_while(|p| windows.window_of(p.0) == time)
            .count();
        let values: Vec<f64> = rest.drain(..count).map(|p| p.1).collect();
        found.push(StatPoint {
            time,
            stat: Stat::of_slice(&values),
        });
    }
    found
}

/// All windows; zeros where they are empty.
pub(crate) fn precise(list: &List, windows: PreciseWindows) -> Windows {
    let mut found = Windows::default();
    for index in 0..windows.count {
        let (start, end) = (windows.start_of(index), windows.start_of(index + 1));
        found.push(StatPoint {
            time: start,
            stat: list.stat(start, end),
        });
    }
    found
}

/// Extremes must be exact, means and deviations accurate up to rounding.
pub(crate) fn assert_same_windows(found: &Windows, expected: &Windows) {
    assert_eq!(found.times, expected.times);
    assert_eq!(found.counts, expected.counts);
    for at in 0..found.len() {
        assert!(found.mins[at] == expected.mins[at] && found.maxs[at] == expected.maxs[at]);
        let scale = found.maxs[at].abs().max(found.mins[at].abs()).max(1e-300);
        assert!((found.means[at] - expected.means[at]).abs() <= 1e-9 * scale);
        assert!((found.stddevs[at] - expected.stddevs[at]).abs() <= 1e-6 * scale);
    }
}

#[derive(Clone, Copy, Debug)]
struct StoredPoint {
    point: (i64, f64),
    is_buffered: bool,
}

/// One stream: every committed version, and its buffer.
#[derive(Debug)]
pub(crate) struct Oracle {
    versions: Vec<List>,
    /// The wall-clock time of each commit.
    walls: Vec<i64>,
    /// How many of them were forgotten.
    forgotten: usize,
    latest: Vec<StoredPoint>,
    limit: usize,
    now: i64,
    /// When the oldest buffered point arrived.
    since: Option<i64>,
}

impl Oracle {
    /// A new stream whose buffer is committed at `limit` points.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            versions: vec![List::default()],
            walls: vec![0],
            forgotten: 0,
            latest: Vec::new(),
            limit,
            now: 0,
            since: None,
        }
    }

    /// The same, created at the wall-clock time `now`.
    pub(crate) fn created(limit: usize, now: i64) -> Self {
        Self {
            walls: vec![now],
            now,
            ..Self::new(limit)
        }
    }

    /// Sets the wall clock.
    pub(crate) const fn turn(&mut self, now: i64) {
        self.now = now;
    }

    fn commit(&mut self) {
        self.versions.push(self.list());
        self.walls.push(self.now);
    }

    /// Commits the buffer if it has waited for `age` nanoseconds.
    pub(crate) fn flush_old(&mut self, age: i64) {
        if self.since.is_some_and(|since| since <= self.now - age) {
            self.flush();
        }
    }

    /// Removes points older than `keep` nanoseconds, and versions superseded as long ago.
    pub(crate) fn trim(&mut self, keep: i64) {
        let end = self.now.saturating_sub(keep);
        if self
            .latest
            .first()
            .is_some_and(|stored| stored.point.0 < end)
        {
            self.delete(i64::MIN, end.min(MAX_TIME - 1));
        }
        self.forget(end);
    }

    /// Forgets versions that were superseded by `wall`, and returns how many.
    pub(crate) fn forget(&mut self, wall: i64) -> usize {
        let known = self.walls.iter().rposition(|&at| at <= wall);
        let kept = known.unwrap_or(0).max(self.forgotten);
        kept - std::mem::replace(&mut self.forgotten, kept)
    }

    /// The last version committed by `wall` that was not forgotten.
    pub(crate) fn version_at(&self, wall: i64) -> Option<u64> {
        let kept = &self.walls[self.forgotten..];
        let last = kept.iter().rposition(|&at| at <= wall)?;
        Some(FIRST_MAJOR + (self.forgotten + last) as u64)
    }

    /// Whether a version can be opened.
    pub(crate) fn is_there(&self, version: u64) -> bool {
        let first = FIRST_MAJOR + self.forgotten as u64;
        version <= FIRST_MAJOR || (first..=self.version().major).contains(&version)
    }

    fn buffered(&self) -> usize {
        self.latest
            .iter()
            .filter(|stored| stored.is_buffered)
            .count()
    }

    pub(crate) fn version(&self) -> Version {
        let major = FIRST_MAJOR - 1 + self.versions.len() as u64;
        Version {
            major,
            minor: self.buffered() as u64,
        }
    }

    fn list(&self) -> List {
        List(self.latest.iter().map(|stored| stored.point).collect())
    }

    pub(crate) fn at(&self, version: u64) -> List {
        match version {
            0 => self.list(),
            v if v <= FIRST_MAJOR => List::default(),
            v => self.versions[usize::try_from(v - FIRST_MAJOR).unwrap()].clone(),
        }
    }

    pub(crate) fn delete(&mut self, start: i64, end: i64) {
        self.flush();
        self.latest
            .retain(|stored| stored.point.0 < start || stored.point.0 >= end);
        self.commit();
    }

    pub(crate) fn flush(&mut self) {
        if self.buffered() > 0 {
            self.commit();
            self.since = None;
            for stored in &mut self.latest {
                stored.is_buffered = false;
            }
        }
    }

    fn has(&self, test: impl Fn((i64, f64)) -> bool) -> bool {
        self.latest.iter().any(|stored| test(stored.point))
    }

    pub(crate) fn insert(&mut self, points: &[(i64, f64)], policy: MergePolicy) {
        let asked = points.len() + self.buffered();
        let mut kept: Vec<(i64, f64)> = Vec::new();
        for &(time, value) in points {
            let bits = value.to_bits();
            let same = |p: (i64, f64)| p.0 == time && p.1.to_bits() == bits;
            let is_refused = match policy {
                MergePolicy::Never | MergePolicy::Replace => false,
                MergePolicy::Equal => self.has(same) || kept.iter().any(|p| same(*p)),
                MergePolicy::Retain => {
                    self.has(|p| p.0 == time) || kept.iter().any(|p| p.0 == time)
                }
            };
            if policy == MergePolicy::Replace {
                kept.retain(|p| p.0 != time);
                self.latest.retain(|stored| stored.point.0 != time);
            }
            if !is_refused {
                kept.push((time, value));
            }
        }
        let is_full = !kept.is_empty() && asked >= self.limit;
        if !kept.is_empty() {
            self.since.get_or_insert(self.now);
        }
        kept.sort_by_key(|p| p.0);
        self.latest
            .extend(kept.into_iter().map(|point| StoredPoint {
                point,
                is_buffered: true,
            }));
        self.latest.sort_by_key(|stored| stored.point.0);
        if is_full {
            self.flush();
        }
    }
}
