//! Points of many streams as rows of one table: a full outer join on time.
//!
//! Points that share a time within a stream become one row, with the value stored last. On a grid,
//! each point first moves to the nearest instant of it.

use pingthings_storage::Error;
use pingthings_types::{MAX_TIME, MIN_TIME, Points, RangeError, RawPoint, TimeRange};

/// Rows of the table, as columns: the times, and one column of values for each stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rows {
    pub(crate) times: Vec<i64>,
    /// NaN where a stream has no point.
    pub(crate) columns: Vec<Vec<f64>>,
}

/// Instants at equal distances, of which the first is where the range asked for begins.
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
        // A point moves by half a period at most: some before the range come in, and some at its
        // end would leave it.
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

    /// The range in which points that move to an instant of the grid lie.
    pub(crate) const fn range(self) -> TimeRange {
        self.range
    }

    /// The instant to which a point of that range moves.
    const fn instant(self, time: i64) -> i64 {
        // The range begins half a period before the start, so this is never negative, and at most
        // the length of time and half a period.
        let from = time.abs_diff(self.start.saturating_sub(self.period / 2));
        let index = from / self.period.unsigned_abs();
        self.start
            .wrapping_add_unsigned(index.wrapping_mul(self.period.unsigned_abs()))
    }
}

/// Reads many streams side by side.
pub(crate) struct Join<F> {
    streams: Vec<Cursor<F>>,
    grid: Option<Grid>,
    /// The next row of each stream; by itself, so that the search for the first is quick.
    next: Vec<RawPoint>,
    begun: bool,
}

/// What stands in `next` for a stream that has ended: later than any point.
const ENDED: RawPoint = RawPoint {
    time: i64::MAX,
    value: f64::NAN,
};

impl<F: FnMut() -> Result<Option<Points>, Error>> Join<F> {
    /// Joins streams, each given as a source of batches ascending by time.
    pub(crate) fn new(streams: impl IntoIterator<Item = F>, grid: Option<Grid>) -> Self {
        let streams: Vec<_> = streams.into_iter().map(Cursor::new).collect();
        Self {
            next: Vec::with_capacity(streams.len()),
            streams,
            grid,
            begun: false,
        }
    }

    /// The next rows, at most `most`; `None` when there are no more.
    pub(crate) fn next_batch(&mut self, most: usize) -> Result<Option<Rows>, Error> {
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
        while rows.times.len() < most {
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

/// One stream, point by point.
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
        let place = |time| grid.map_or(time, |grid| grid.instant(time));
        let time = place(best.time);
        while let Some(point) = self.peek()?
            && place(point.time) == time
        {
            self.index += 1;
            // Of two as near the earlier one stays, of two at the same time the later one.
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

    /// The same by the definition: every point looks for its place on its own.
    fn expected(
        streams: &[Vec<RawPoint>],
        range: TimeRange,
        period: Option<i64>,
    ) -> Vec<(i64, Vec<u64>)> {
        let mut table: BTreeMap<i64, Vec<Option<RawPoint>>> = BTreeMap::new();
        for (index, stream) in streams.iter().enumerate() {
            for &point in stream {
                let place = match period {
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
                let Some(place) = place.filter(|_| !outside) else {
                    continue;
                };
                let cell = &mut table
                    .entry(place)
                    .or_insert_with(|| vec![None; streams.len()])[index];
                let is_better = cell.is_none_or(|old| {
                    old.time == point.time || (point.time - place).abs() < (old.time - place).abs()
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

    fn within(streams: &[Vec<RawPoint>], range: TimeRange) -> Vec<Vec<RawPoint>> {
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
            let found = rows(&within(&streams, range), None, size);
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
            let found = rows(&within(&streams, grid.range()), Some(grid), size);
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
