//! A full outer join on time: the points of many streams as rows of one table.
//!
//! Points of one stream that share a time become one row with the value stored last. With a grid,
//! each point first moves to the nearest instant of the grid.

use pingthings_storage::Error;
use pingthings_types::{MAX_TIME, MIN_TIME, Points, RangeError, RawPoint, TimeRange};

/// Rows of the table: a column of times, and one column of values for each stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rows {
    pub(crate) times: Vec<i64>,
    /// NaN where a stream has no point.
    pub(crate) columns: Vec<Vec<f64>>,
}

/// Instants at equal distances. The first one is the start of the requested range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    start: i64,
    period: i64,
    range: TimeRange,
}

impl Grid {
    /// The instants `start`, `start + period` and so on in `range`; `period` is at least 1.
    pub(crate) fn new(range: TimeRange, period: i64) -> Result<Self, RangeError> {
        let (start, end) = (range.start(), range.end());
        // A point moves by at most half a period. Some points before the range therefore move into
        // it, and some at its end would move out of it.
        let last = start + (end - 1 - start) / period * period;
        let range = TimeRange::new(
            start.saturating_sub(period / 2).max(MIN_TIME),
            last.saturating_add(period - period / 2)
                .min(end)
                .min(MAX_TIME - 1),
        )?;
        Ok(Self {
            start,
            period,
            range,
        })
    }

    /// The range of the points that move to an instant of the grid.
    pub(crate) const fn range(self) -> TimeRange {
        self.range
    }

    /// The instant to which a point of [`Grid::range`] moves.
    const fn instant(self, time: i64) -> i64 {
        // The range begins half a period before the start, so the difference is never negative. It
        // is at most the length of time plus half a period.
        let from = time.abs_diff(self.start.saturating_sub(self.period / 2));
        let index = from / self.period.unsigned_abs();
        self.start
            .wrapping_add_unsigned(index.wrapping_mul(self.period.unsigned_abs()))
    }
}

/// A join of many streams.
pub(crate) struct Join<F> {
    streams: Vec<Cursor<F>>,
    grid: Option<Grid>,
    /// The next row of each stream. It is a vector of its own to make the search for the earliest
    /// row fast.
    next: Vec<RawPoint>,
    begun: bool,
}

/// The entry in `next` of a stream that has ended. It is later than any point.
const ENDED: RawPoint = RawPoint {
    time: i64::MAX,
    value: f64::NAN,
};

impl<F: FnMut() -> Result<Option<Points>, Error>> Join<F> {
    /// Joins streams. Each is a source of batches in ascending order of time.
    pub(crate) fn new(streams: impl IntoIterator<Item = F>, grid: Option<Grid>) -> Self {
        let streams: Vec<_> = streams.into_iter().map(Cursor::new).collect();
        Self {
            next: Vec::with_capacity(streams.len()),
            streams,
            grid,
            begun: false,
        }
    }

    /// The next rows, at most `max`, or `None` at the end.
    pub(crate) fn next_batch(&mut self, max: usize) -> Result<Option<Rows>, Error> {
        if !self.begun {
            for stream in &mut self.streams {
                self.next.push(stream.row(self.grid)?.unwrap_or(ENDED));
            }
            self.begun = true;
        }
        let mut rows = Rows {
            times: Vec::new(),
            columns: vec![Vec::new(); self.streams.len()],
        };
        while rows.times.len() < max {
            let first = self.next.iter().map(|next| next.time).min();
            let Some(time) = first.filter(|&time| time != ENDED.time) else {
                break;
            };
            rows.times.push(time);
            let streams = self.streams.iter_mut().zip(&mut self.next);
            for ((stream, next), column) in streams.zip(&mut rows.columns) {
                if next.time == time {
                    column.push(next.value);
                    *next = stream.row(self.grid)?.unwrap_or(ENDED);
                } else {
                    column.push(f64::NAN);
                }
            }
        }
        Ok((!rows.times.is_empty()).then_some(rows))
    }
}

/// The position in one stream.
struct Cursor<F> {
    source: F,
    batch: Points,
    index: usize,
}

impl<F: FnMut() -> Result<Option<Points>, Error>> Cursor<F> {
    fn new(source: F) -> Self {
        Self {
            source,
            batch: Points::default(),
            index: 0,
        }
    }

    /// The next row of this stream.
    fn row(&mut self, grid: Option<Grid>) -> Result<Option<RawPoint>, Error> {
        let Some(mut best) = self.peek()? else {
            return Ok(None);
        };
        self.index += 1;
        let instant = |time| grid.map_or(time, |grid| grid.instant(time));
        let time = instant(best.time);
        while let Some(point) = self.peek()?
            && instant(point.time) == time
        {
            self.index += 1;
            // Of two equally near points the earlier one is kept; of two points with the same time
            // the one stored later.
            let is_nearer = point.time.abs_diff(time) < best.time.abs_diff(time);
            if is_nearer || point.time == best.time {
                best = point;
            }
        }
        Ok(Some(RawPoint { time, ..best }))
    }

    fn peek(&mut self) -> Result<Option<RawPoint>, Error> {
        while self.index >= self.batch.len() {
            let Some(batch) = (self.source)()? else {
                return Ok(None);
            };
            self.batch = batch;
            self.index = 0;
        }
        let columns = self
            .batch
            .times
            .get(self.index)
            .zip(self.batch.values.get(self.index));
        Ok(columns.map(|(&time, &value)| RawPoint { time, value }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Batches of at most `size` points of `stream`.
    fn source(stream: &[RawPoint], size: usize) -> impl FnMut() -> Result<Option<Points>, Error> {
        let batches: Vec<Points> = stream
            .chunks(size)
            .map(|chunk| chunk.iter().copied().collect())
            .collect();
        let mut batches = batches.into_iter();
        move || Ok(batches.next())
    }

    fn rows(streams: &[Vec<RawPoint>], grid: Option<Grid>, size: usize) -> Vec<(i64, Vec<u64>)> {
        let mut join = Join::new(streams.iter().map(|stream| source(stream, size)), grid);
        let mut all = Vec::new();
        while let Some(rows) = join.next_batch(size).unwrap() {
            assert!((1..=size).contains(&rows.times.len()));
            for (index, &time) in rows.times.iter().enumerate() {
                let row = rows.columns.iter().map(|column| column[index].to_bits());
                all.push((time, row.collect()));
            }
        }
        all
    }

    /// The expected rows: each point is assigned to its instant separately, by the definition.
    fn expected(
        streams: &[Vec<RawPoint>],
        range: TimeRange,
        period: Option<i64>,
    ) -> Vec<(i64, Vec<u64>)> {
        let mut table: BTreeMap<i64, Vec<Option<RawPoint>>> = BTreeMap::new();
        for (index, stream) in streams.iter().enumerate() {
            for &point in stream {
                let instant = match period {
                    None => Some(point.time),
                    Some(period) => (0..120)
                        .map(|k| range.start() + k * period)
                        .take_while(|&g| g < range.end())
                        .find(|g| (g - period / 2..g + period - period / 2).contains(&point.time)),
                };
                let outside = match period {
                    None => !range.contains(point.time),
                    Some(_) => point.time >= range.end(),
                };
                let Some(instant) = instant.filter(|_| !outside) else {
                    continue;
                };
                let cell = &mut table
                    .entry(instant)
                    .or_insert_with(|| vec![None; streams.len()])[index];
                let is_better = cell.is_none_or(|old| {
                    old.time == point.time
                        || (point.time - instant).abs() < (old.time - instant).abs()
                });
                if is_better {
                    *cell = Some(point);
                }
            }
        }
        let bits = |cell: Option<RawPoint>| cell.map_or(f64::NAN, |point| point.value).to_bits();
        table
            .into_iter()
            .map(|(time, cells)| (time, cells.into_iter().map(bits).collect()))
            .collect()
    }

    fn streams() -> impl Strategy<Value = Vec<Vec<RawPoint>>> {
        let stream = prop::collection::vec(-60..160i64, 0..40).prop_map(|mut times| {
            times.sort_unstable();
            (0..)
                .zip(times)
                .map(|(n, time)| RawPoint {
                    time,
                    value: f64::from(n),
                })
                .collect()
        });
        prop::collection::vec(stream, 0..5)
    }

    fn points_in(streams: &[Vec<RawPoint>], range: TimeRange) -> Vec<Vec<RawPoint>> {
        let keep = |stream: &Vec<RawPoint>| {
            stream
                .iter()
                .copied()
                .filter(|point| range.contains(point.time))
                .collect()
        };
        streams.iter().map(keep).collect()
    }

    proptest! {
        #[test]
        fn a_join_has_a_row_for_each_time(streams in streams(), size in 1..7usize) {
            let range = TimeRange::new(-20, 100).unwrap();
            let found = rows(&points_in(&streams, range), None, size);
            prop_assert_eq!(found, expected(&streams, range, None));
        }

        #[test]
        fn points_move_to_the_nearest_instant(
            streams in streams(),
            size in 1..7usize,
            period in 1..50i64,
            length in 1..120i64,
        ) {
            let range = TimeRange::new(-20, -20 + length).unwrap();
            let grid = Grid::new(range, period).unwrap();
            let found = rows(&points_in(&streams, grid.range()), Some(grid), size);
            prop_assert_eq!(found, expected(&streams, range, Some(period)));
        }
    }

    #[test]
    fn a_grid_may_fill_all_of_time() {
        let grid = Grid::new(TimeRange::ALL, i64::MAX).unwrap();
        assert_eq!(grid.range(), TimeRange::ALL);
        assert_eq!(grid.instant(MIN_TIME), MIN_TIME);
        assert_eq!(grid.instant(MAX_TIME - 2), MIN_TIME);

        let late = TimeRange::new(MAX_TIME - 3, MAX_TIME - 1).unwrap();
        let grid = Grid::new(late, 2).unwrap();
        assert_eq!(
            (grid.range().start(), grid.range().end()),
            (MAX_TIME - 4, MAX_TIME - 2)
        );
        assert_eq!(grid.instant(MAX_TIME - 4), MAX_TIME - 3);
    }
}
