//! Columns that grow while the rows of an answer arrive.
//!
//! The caller gets each column as one contiguous buffer, which numpy and polars use without a copy.
//! Every byte is copied once, from the network buffer to its column.

use std::{io, sync::Arc};

use arrow_array::{RecordBatch, make_array};
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType, SchemaRef};
use bytes::Bytes;

use crate::answer::{
    expectation::{ColumnType, TimeBounds},
    page_pool::{PageBuffer, PageBytes, PagePool},
};

/// Size of a time in bytes.
const TIME_BYTES: usize = 8;

/// Maximum size of a growing column that is on the heap. A larger one has its own memory pages, in
/// which it can grow without moving.
const MAX_HEAP_BYTES: usize = 128 << 10;

/// Minimum size of a finished column that stays in its pages. A smaller one is copied to a buffer
/// of its exact size.
const MIN_PAGED_BYTES: usize = 4 << 20;

/// Size of a value of this type in bytes.
pub(crate) const fn width(kind: &DataType) -> usize {
    match ColumnType::of(kind) {
        ColumnType::Float32 => 4,
        _ => 8,
    }
}

#[derive(Debug)]
enum ColumnBuffer {
    Heap(MutableBuffer),
    Pages(PageBuffer),
}

impl ColumnBuffer {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Heap(buffer) => buffer,
            Self::Pages(block) => block.bytes(),
        }
    }

    const fn memory(&self) -> usize {
        match self {
            Self::Heap(buffer) => buffer.capacity(),
            Self::Pages(block) => block.memory(),
        }
    }

    fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Reserves room for more bytes.
    fn reserve(&mut self, more: usize, page_pool: &PagePool) -> io::Result<()> {
        let needed = self.len() + more;
        match self {
            Self::Heap(buffer) if needed <= MAX_HEAP_BYTES => buffer.reserve(more),
            Self::Pages(block) if needed <= block.room() => {}
            _ => {
                // Each move makes room for four times as much, so that moves are rare.
                let mut block = page_pool.get(needed.max(self.len().saturating_mul(4)))?;
                block.extend(self.bytes());
                *self = Self::Pages(block);
            }
        }
        Ok(())
    }

    /// Appends bytes, for which there must be room.
    fn extend(&mut self, bytes: &[u8]) {
        match self {
            Self::Heap(buffer) => buffer.extend_from_slice(bytes),
            Self::Pages(block) => block.extend(bytes),
        }
    }

    fn truncate(&mut self, length: usize) {
        match self {
            Self::Heap(buffer) => buffer.truncate(length),
            Self::Pages(block) => block.truncate(length),
        }
    }

    /// Removes bytes from the middle.
    fn remove(&mut self, start: usize, end: usize) {
        let length = self.len();
        let bytes = match self {
            Self::Heap(buffer) => buffer.as_slice_mut(),
            Self::Pages(block) => block.bytes_mut(),
        };
        bytes.copy_within(end.., start);
        self.truncate(length - (end - start));
    }

    fn into_buffer(self, page_pool: &Arc<PagePool>) -> Buffer {
        let mut buffer = match self {
            // A small result must also not keep the pages of a large one that used them before.
            Self::Pages(block)
                if block.len() < MIN_PAGED_BYTES || block.memory() / 2 > block.len() =>
            {
                let mut buffer = MutableBuffer::new(block.len());
                buffer.extend_from_slice(block.bytes());
                page_pool.put(block);
                buffer
            }
            Self::Pages(block) => {
                return Bytes::from_owner(PageBytes::new(block, Arc::clone(page_pool))).into();
            }
            Self::Heap(buffer) => buffer,
        };
        if buffer.capacity() / 4 * 3 > buffer.len() {
            buffer.shrink_to_fit();
        }
        buffer.into()
    }
}

/// Checks the order of times while they are copied, when they are in the CPU cache anyway.
#[derive(Debug)]
struct OrderCheck {
    is_strict: bool,
    /// The time before the first one.
    start: i64,
    previous: i64,
    /// Negative if a time was not in order.
    fault: i64,
    /// Number of bytes of the column that were checked.
    seen: usize,
}

impl OrderCheck {
    /// Earlier than any time of a point. The difference of two times cannot overflow unless one of
    /// them is outside ±2^62.
    const START: i64 = i64::MIN / 2;

    fn new(is_strict: bool, after: Option<i64>) -> Self {
        let start = after.unwrap_or(Self::START);
        Self {
            is_strict,
            start,
            previous: start,
            fault: 0,
            seen: 0,
        }
    }

    /// Continues after the times of this column.
    fn reset(&mut self, column: &[u8]) {
        let last = column.last_chunk::<TIME_BYTES>();
        self.previous = last.map_or(self.start, |last| i64::from_le_bytes(*last));
        self.fault = 0;
        self.seen = column.len();
    }

    /// Checks the times of the column that were not checked yet.
    fn check(&mut self, column: &[u8]) {
        let (times, _) = column[self.seen..].as_chunks::<TIME_BYTES>();
        for time in times {
            self.add(i64::from_le_bytes(*time));
        }
        self.seen += times.len() * TIME_BYTES;
    }

    const fn add(&mut self, time: i64) {
        self.fault |= order_fault(self.previous, time, self.is_strict as i64);
        self.previous = time;
    }

    /// Copies times and checks them.
    fn copy(&mut self, to: &mut [u8], from: &[u8]) {
        if self.is_strict {
            self.copy_apart::<1>(to, from);
        } else {
            self.copy_apart::<0>(to, from);
        }
    }

    /// Copies times and checks that each is at least `APART` after the one before.
    fn copy_apart<const APART: i64>(&mut self, to: &mut [u8], from: &[u8]) {
        to.copy_from_slice(from);
        let (from, _) = from.as_chunks::<TIME_BYTES>();
        let Some((first, rest)) = from.split_first() else {
            return;
        };
        self.add(i64::from_le_bytes(*first));
        let mut fault = 0;
        // The loop has no branches and no stores, so that the compiler can vectorize it.
        for (time, before) in rest.iter().zip(from) {
            let (before, time) = (i64::from_le_bytes(*before), i64::from_le_bytes(*time));
            fault |= order_fault(before, time, APART);
        }
        self.fault |= fault;
        self.previous = from
            .last()
            .map_or(self.previous, |time| i64::from_le_bytes(*time));
        self.seen += from.len() * TIME_BYTES;
    }
}

/// Negative if a time is less than `apart` after the one before, or outside the range of times.
const fn order_fault(before: i64, time: i64, apart: i64) -> i64 {
    // A valid time is within ±2^62, so the difference of two times cannot overflow.
    time.wrapping_sub(before).wrapping_sub(apart) | time.wrapping_add(1 << 62)
}

/// The rows of one schema, in plain columns without nulls. The first column contains the times.
#[derive(Debug)]
pub(crate) struct Columns {
    schema: SchemaRef,
    values: Vec<ColumnBuffer>,
    widths: Vec<usize>,
    rows: usize,
    times: TimeBounds,
    after: Option<i64>,
    order_check: OrderCheck,
    page_pool: Arc<PagePool>,
}

impl Columns {
    /// Creates empty columns. The schema must be an expected one; `after` is the time of the row
    /// before.
    pub(crate) fn new(
        schema: SchemaRef,
        times: TimeBounds,
        after: Option<i64>,
        page_pool: Arc<PagePool>,
    ) -> Self {
        let fields = || schema.fields().iter();
        Self {
            values: fields()
                .map(|_| ColumnBuffer::Heap(MutableBuffer::new(0)))
                .collect(),
            widths: fields().map(|field| width(field.data_type())).collect(),
            rows: 0,
            order_check: OrderCheck::new(times.is_strict, after),
            after,
            times,
            schema,
            page_pool,
        }
    }

    pub(crate) const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) const fn rows(&self) -> usize {
        self.rows
    }

    /// The size of the values in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.rows * self.widths.iter().sum::<usize>()
    }

    /// The memory that the columns use, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.values.iter().map(ColumnBuffer::memory).sum()
    }

    /// Reserves room for more rows, whose values follow.
    pub(crate) fn reserve(&mut self, rows: usize) -> io::Result<()> {
        let mut columns = self.values.iter_mut().zip(&self.widths);
        columns.try_for_each(|(column, width)| {
            column.reserve(rows.saturating_mul(*width), &self.page_pool)
        })
    }

    /// Appends values, or parts of values, to a column that has room for them.
    pub(crate) fn extend(&mut self, column: usize, bytes: &[u8]) {
        if column == 0 {
            self.extend_times(bytes);
        } else {
            self.values[column].extend(bytes);
        }
    }

    fn extend_times(&mut self, bytes: &[u8]) {
        let (column, order_check) = (&mut self.values[0], &mut self.order_check);
        // A time may begin in one piece and end in the next.
        let begun = column.len().next_multiple_of(TIME_BYTES) - column.len();
        let (head, rest) = bytes.split_at(begun.min(bytes.len()));
        let (whole, tail) = rest.split_at(rest.len() / TIME_BYTES * TIME_BYTES);
        column.extend(head);
        order_check.check(column.bytes());
        match column {
            ColumnBuffer::Pages(block) => order_check.copy(block.grow(whole.len()), whole),
            ColumnBuffer::Heap(buffer) => {
                buffer.extend_from_slice(whole);
                order_check.check(buffer);
            }
        }
        column.extend(tail);
    }

    /// Marks more rows as complete. Fails if their times are not as expected; the rows are then not
    /// added.
    pub(crate) fn add_rows(&mut self, rows: usize) -> Result<(), ArrowError> {
        let (times, _) = self.values[0].bytes().as_chunks::<TIME_BYTES>();
        let fresh = &times[self.rows..self.rows + rows];
        if let (Some(first), Some(last)) = (fresh.first(), fresh.last()) {
            if self.order_check.fault < 0 {
                let before = times[..self.rows].last();
                let before = before.map(|time| i64::from_le_bytes(*time)).or(self.after);
                let fresh = fresh.iter().map(|time| i64::from_le_bytes(*time));
                return Err(self.times.disorder(before, fresh));
            }
            self.times
                .check(i64::from_le_bytes(*first), i64::from_le_bytes(*last))?;
        }
        self.rows += rows;
        Ok(())
    }

    /// Drops the values of incomplete rows.
    pub(crate) fn drop_incomplete(&mut self) {
        for (column, width) in self.values.iter_mut().zip(&self.widths) {
            column.truncate(self.rows * width);
        }
        self.order_check.reset(self.values[0].bytes());
    }

    /// Removes rows from the middle.
    pub(crate) fn remove(&mut self, start: usize, end: usize) {
        for (column, width) in self.values.iter_mut().zip(&self.widths) {
            column.remove(start * width, end * width);
        }
        self.rows -= end - start;
        self.order_check.reset(self.values[0].bytes());
    }

    /// Passes the bytes of each column to `take`.
    pub(crate) fn each(&self, mut take: impl FnMut(usize, &[u8])) {
        for (index, column) in self.values.iter().enumerate() {
            take(index, column.bytes());
        }
    }

    /// The time of the last row, and how many of the last `rows` rows have it; `None` without rows.
    pub(crate) fn last_time(&self, rows: usize) -> Option<(i64, usize)> {
        let (times, _) = self.values[0].bytes().as_chunks::<TIME_BYTES>();
        let times = &times[..self.rows];
        let last = times.last()?;
        let same = times
            .iter()
            .rev()
            .take(rows)
            .take_while(|time| *time == last);
        Some((i64::from_le_bytes(*last), same.count()))
    }

    pub(crate) fn into_batch(self) -> Result<RecordBatch, ArrowError> {
        let fields = self.schema.fields().iter();
        let arrays = fields.zip(self.values).map(|(field, column)| {
            let buffer = column.into_buffer(&self.page_pool);
            let kind = field.data_type().clone();
            let array = ArrayData::try_new(kind, self.rows, None, 0, vec![buffer], Vec::new())?;
            Ok(make_array(array))
        });
        let arrays = arrays.collect::<Result<_, ArrowError>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), arrays)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{cast::AsArray, types::Float64Type};

    use pingthings_types::TimeRange;

    use super::*;
    use crate::answer::table::RAW_SCHEMA;

    fn empty(page_pool: &Arc<PagePool>) -> Columns {
        let times = TimeBounds::of_points(TimeRange::ALL);
        Columns::new(Arc::clone(&RAW_SCHEMA), times, None, Arc::clone(page_pool))
    }

    fn add(columns: &mut Columns, from: u32, rows: u32) {
        columns.reserve(rows as usize).unwrap();
        let values = from..from + rows;
        let times: Vec<u8> = values
            .clone()
            .flat_map(|row| i64::from(row).to_le_bytes())
            .collect();
        let values: Vec<u8> = values
            .flat_map(|row| f64::from(row).to_le_bytes())
            .collect();
        // Pieces may end within a value.
        times
            .chunks(1_021)
            .for_each(|piece| columns.extend(0, piece));
        values
            .chunks(16_379)
            .for_each(|piece| columns.extend(1, piece));
        columns.add_rows(rows as usize).unwrap();
    }

    #[tokio::test]
    async fn small_and_large_columns_are_contiguous() {
        let page_pool = Arc::new(PagePool::new());
        for (parts, rows) in [(0, 0), (1, 10), (7, 10_000), (3, 300_000), (1, 600_000)] {
            let mut columns = empty(&page_pool);
            for turn in 0..parts {
                add(&mut columns, turn * rows, rows);
            }
            let count = (parts * rows) as usize;
            assert_eq!(columns.rows(), count);
            assert!(columns.memory() >= 2 * TIME_BYTES * count);
            if let Some(last) = i64::from(parts * rows)
                .checked_sub(1)
                .filter(|last| *last >= 0)
            {
                assert_eq!(columns.last_time(5), Some((last, 1)));
            }
            let batch = columns.into_batch().unwrap();
            assert_eq!(batch.num_rows(), count);
            let values = batch.column(1).as_primitive::<Float64Type>().values();
            assert!(
                values
                    .iter()
                    .zip(0_u32..)
                    .all(|(value, row)| value.to_bits() == f64::from(row).to_bits())
            );
        }
    }

    #[tokio::test]
    async fn equal_times_at_the_end_are_counted_within_the_last_rows() {
        let page_pool = Arc::new(PagePool::new());
        let mut columns = empty(&page_pool);
        assert_eq!(columns.last_time(1), None);
        add(&mut columns, 5, 1);
        add(&mut columns, 5, 1);
        assert_eq!(columns.last_time(2), Some((5, 2)));
        assert_eq!(columns.last_time(1), Some((5, 1)));
    }

    #[tokio::test]
    async fn small_results_do_not_hold_large_memory() {
        let page_pool = Arc::new(PagePool::new());
        let read = |rows| {
            let mut columns = empty(&page_pool);
            add(&mut columns, 0, rows);
            columns.into_batch().unwrap()
        };
        drop(read(4_000_000));
        let small = read(600_000);
        // Both buffers are back in the pool, although the small result still exists.
        let mut block = page_pool.get(1).unwrap();
        assert!(
            block.memory() > 4_000_000 * TIME_BYTES,
            "{}",
            block.memory()
        );
        block.extend(&[1; 100]);
        assert_eq!(
            small.column(0).to_data().buffers()[0].len(),
            600_000 * TIME_BYTES
        );
    }

    #[tokio::test]
    async fn rows_are_removed_and_incomplete_ones_dropped() {
        let page_pool = Arc::new(PagePool::new());
        for rows in [10, 700_000] {
            let mut columns = empty(&page_pool);
            add(&mut columns, 0, rows);
            columns.reserve(2).unwrap();
            columns.extend(0, &[1; 16]);
            columns.extend(1, &[1; 3]);
            columns.drop_incomplete();
            columns.remove(2, 5);
            let mut others = empty(&page_pool);
            add(&mut others, rows, 3);
            columns.reserve(3).unwrap();
            others.each(|column, bytes| columns.extend(column, bytes));
            columns.add_rows(3).unwrap();
            let batch = columns.into_batch().unwrap();
            let values = batch.column(1).as_primitive::<Float64Type>().values();
            let expected = (0..2).chain(5..rows).chain(rows..rows + 3).map(f64::from);
            assert!(values.iter().copied().eq(expected));
        }
    }

    /// Appends times in pieces of `piece` bytes, with a value for each.
    fn push(columns: &mut Columns, times: &[i64], piece: usize) -> Result<(), ArrowError> {
        columns.reserve(times.len()).unwrap();
        let bytes: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
        bytes
            .chunks(piece)
            .for_each(|piece| columns.extend(0, piece));
        columns.extend(1, &vec![0; bytes.len()]);
        columns.add_rows(times.len())
    }

    #[tokio::test]
    async fn times_out_of_order_are_refused_at_any_position() {
        let page_pool = Arc::new(PagePool::new());
        let far = i64::MAX - 1;
        for count in [2_usize, 3, 50, 40_000] {
            for strict in [false, true] {
                for place in [1, count / 2, count - 1]
                    .into_iter()
                    .filter(|place| *place > 0)
                {
                    for piece in [1_003, 8, 65_536] {
                        let range = TimeRange::new(0, 1 << 40).unwrap();
                        let mut times = TimeBounds::of_points(range);
                        times.is_strict = strict;
                        let schema = || Arc::clone(&RAW_SCHEMA);
                        let fresh =
                            || Columns::new(schema(), times, Some(5), Arc::clone(&page_pool));
                        let good: Vec<i64> = (10..).take(count).collect();
                        push(&mut fresh(), &good, piece).unwrap();
                        for wrong in [good[place - 1] - 1, i64::MIN, far, -1] {
                            let mut bad = good.clone();
                            bad[place] = wrong;
                            let mut columns = fresh();
                            push(&mut columns, &[6], piece).unwrap();
                            push(&mut columns, &bad, piece).unwrap_err();
                            // The rows were not added, and valid ones may follow.
                            columns.drop_incomplete();
                            assert_eq!(columns.last_time(1), Some((6, 1)));
                            push(&mut columns, &good, piece).unwrap();
                            assert_eq!(columns.rows(), count + 1);
                        }
                        let mut twice = good.clone();
                        twice[place] = twice[place - 1];
                        assert_eq!(push(&mut fresh(), &twice, piece).is_err(), strict);
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn times_must_be_in_the_range_and_follow_earlier_rows() {
        let page_pool = Arc::new(PagePool::new());
        let times = TimeBounds::of_points(TimeRange::new(10, 20).unwrap());
        let fresh = |after| {
            Columns::new(
                Arc::clone(&RAW_SCHEMA),
                times,
                after,
                Arc::clone(&page_pool),
            )
        };
        for good in [&[10, 19][..], &[12], &[]] {
            push(&mut fresh(None), good, 8).unwrap();
        }
        for bad in [
            &[9, 12][..],
            &[12, 20],
            &[9],
            &[20],
            &[i64::MIN, 12],
            &[11, i64::MAX],
        ] {
            push(&mut fresh(None), bad, 8).unwrap_err();
        }
        push(&mut fresh(Some(12)), &[12], 8).unwrap();
        let error = push(&mut fresh(Some(13)), &[12], 8).unwrap_err();
        assert!(error.to_string().contains("12 follows 13"), "{error}");
        let mut columns = fresh(None);
        push(&mut columns, &[11, 15], 8).unwrap();
        push(&mut columns, &[14], 8).unwrap_err();
    }
}
