//! Columns that grow as the rows of an answer arrive.
//!
//! A caller gets each column in one piece, which numpy and polars take as it is, and every byte is
//! copied once: from where the network put it to where it stays.

use std::{io, sync::Arc};

use arrow_array::{RecordBatch, make_array};
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType, SchemaRef, TimeUnit};
use bytes::Bytes;

use crate::spare::{Block, Lent, Spares};

/// What every value takes.
pub(crate) const VALUE: usize = 8;

/// Up to how many bytes a column that grows lies where small things do; then it has pages of its
/// own, in which it can grow without moving.
const SMALL: usize = 128 << 10;

/// From how many bytes on it stays there. Smaller ones move to where they just fit.
const LARGE: usize = 4 << 20;

/// Whether columns of this type are eight bytes a value.
pub(crate) const fn is_plain(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Timestamp(..) | DataType::Float64 | DataType::Int64 | DataType::UInt64
    )
}

#[derive(Debug)]
enum Column {
    Small(MutableBuffer),
    Large(Block),
}

impl Column {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Small(buffer) => buffer,
            Self::Large(block) => block.bytes(),
        }
    }

    const fn memory(&self) -> usize {
        match self {
            Self::Small(buffer) => buffer.capacity(),
            Self::Large(block) => block.memory(),
        }
    }

    fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Makes room for so many bytes more.
    fn reserve(&mut self, more: usize, spares: &Spares) -> io::Result<()> {
        let needed = self.len() + more;
        match self {
            Self::Small(buffer) if needed <= SMALL => buffer.reserve(more),
            Self::Large(block) if needed <= block.room() => {}
            _ => {
                // Every time it moves, it has room for four times as much.
                let mut block = spares.block(needed.max(self.len().saturating_mul(4)))?;
                block.extend(self.bytes());
                *self = Self::Large(block);
            }
        }
        Ok(())
    }

    /// Adds bytes for which there is room.
    fn extend(&mut self, bytes: &[u8]) {
        match self {
            Self::Small(buffer) => buffer.extend_from_slice(bytes),
            Self::Large(block) => block.extend(bytes),
        }
    }

    fn truncate(&mut self, length: usize) {
        match self {
            Self::Small(buffer) => buffer.truncate(length),
            Self::Large(block) => block.truncate(length),
        }
    }

    /// Takes bytes out from within.
    fn remove(&mut self, start: usize, end: usize) {
        let length = self.len();
        let bytes = match self {
            Self::Small(buffer) => buffer.as_slice_mut(),
            Self::Large(block) => block.bytes_mut(),
        };
        bytes.copy_within(end.., start);
        self.truncate(length - (end - start));
    }

    fn into_buffer(self, spares: &Arc<Spares>) -> Buffer {
        let mut buffer = match self {
            // Nor must a small result hold the memory of a large one that was there before.
            Self::Large(block) if block.len() < LARGE || block.memory() / 2 > block.len() => {
                let mut buffer = MutableBuffer::new(block.len());
                buffer.extend_from_slice(block.bytes());
                spares.keep(block);
                buffer
            }
            Self::Large(block) => {
                return Bytes::from_owner(Lent::new(block, Arc::clone(spares))).into();
            }
            Self::Small(buffer) => buffer,
        };
        if buffer.capacity() / 4 * 3 > buffer.len() {
            buffer.shrink_to_fit();
        }
        buffer.into()
    }
}

/// Rows of one schema, all in plain columns without nulls.
#[derive(Debug)]
pub(crate) struct Columns {
    schema: SchemaRef,
    values: Vec<Column>,
    rows: usize,
    spares: Arc<Spares>,
}

impl Columns {
    /// None yet. The schema must be plain.
    pub(crate) fn new(schema: SchemaRef, spares: Arc<Spares>) -> Self {
        let fields = schema.fields().iter();
        let values = fields
            .map(|_| Column::Small(MutableBuffer::new(0)))
            .collect();
        Self {
            schema,
            values,
            rows: 0,
            spares,
        }
    }

    pub(crate) const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) const fn rows(&self) -> usize {
        self.rows
    }

    /// How large their values are.
    pub(crate) fn bytes(&self) -> usize {
        self.rows * self.values.len() * VALUE
    }

    /// What they take of the machine's memory.
    pub(crate) fn memory(&self) -> usize {
        self.values.iter().map(Column::memory).sum()
    }

    /// Makes room for more rows, whose values come next.
    pub(crate) fn reserve(&mut self, rows: usize) -> io::Result<()> {
        let bytes = rows.saturating_mul(VALUE);
        let mut columns = self.values.iter_mut();
        columns.try_for_each(|column| column.reserve(bytes, &self.spares))
    }

    /// Adds values, or parts of them, to a column that has room for them.
    pub(crate) fn extend(&mut self, column: usize, bytes: &[u8]) {
        self.values[column].extend(bytes);
    }

    /// Says that so many rows more are complete.
    pub(crate) fn add_rows(&mut self, rows: usize) {
        self.rows += rows;
    }

    /// Forgets what belongs to no complete row.
    pub(crate) fn drop_incomplete(&mut self) {
        let length = self.rows * VALUE;
        for column in &mut self.values {
            column.truncate(length);
        }
    }

    /// Takes rows out from within.
    pub(crate) fn remove(&mut self, start: usize, end: usize) {
        for column in &mut self.values {
            column.remove(start * VALUE, end * VALUE);
        }
        self.rows -= end - start;
    }

    /// Hands out the bytes of each column.
    pub(crate) fn each(&self, mut take: impl FnMut(usize, &[u8])) {
        for (index, column) in self.values.iter().enumerate() {
            take(index, column.bytes());
        }
    }

    /// The time of the last row, and how many of the last `rows` have it; `None` if the first
    /// column holds no times in nanoseconds.
    pub(crate) fn last_time(&self, rows: usize) -> Option<(i64, usize)> {
        let (DataType::Timestamp(TimeUnit::Nanosecond, _) | DataType::Int64) =
            self.schema.fields().first()?.data_type()
        else {
            return None;
        };
        let (times, _) = self.values.first()?.bytes().as_chunks::<VALUE>();
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
            let buffer = column.into_buffer(&self.spares);
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

    use super::*;
    use crate::arrow::RAW_SCHEMA;

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
        // Pieces end anywhere, also within a value.
        times
            .chunks(1_021)
            .for_each(|piece| columns.extend(0, piece));
        values
            .chunks(16_379)
            .for_each(|piece| columns.extend(1, piece));
        columns.add_rows(rows as usize);
    }

    #[tokio::test]
    async fn columns_hold_what_came_in_one_piece_small_or_large() {
        let spares = Arc::new(Spares::new());
        for (parts, rows) in [(0, 0), (1, 10), (7, 10_000), (3, 300_000), (1, 600_000)] {
            let mut columns = Columns::new(Arc::clone(&RAW_SCHEMA), Arc::clone(&spares));
            for turn in 0..parts {
                add(&mut columns, turn * rows, rows);
            }
            let count = (parts * rows) as usize;
            assert_eq!(columns.rows(), count);
            assert!(columns.memory() >= 2 * VALUE * count);
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
        let spares = Arc::new(Spares::new());
        let mut columns = Columns::new(Arc::clone(&RAW_SCHEMA), spares);
        assert_eq!(columns.last_time(1), None);
        add(&mut columns, 5, 1);
        add(&mut columns, 5, 1);
        assert_eq!(columns.last_time(2), Some((5, 2)));
        assert_eq!(columns.last_time(1), Some((5, 1)));
    }

    #[tokio::test]
    async fn small_results_do_not_hold_large_memory() {
        let spares = Arc::new(Spares::new());
        let read = |rows| {
            let mut columns = Columns::new(Arc::clone(&RAW_SCHEMA), Arc::clone(&spares));
            add(&mut columns, 0, rows);
            columns.into_batch().unwrap()
        };
        drop(read(4_000_000));
        let small = read(600_000);
        // Both blocks are spare again, although the small result is still here.
        let mut block = spares.block(1).unwrap();
        assert!(block.memory() > 4_000_000 * VALUE, "{}", block.memory());
        block.extend(&[1; 100]);
        assert_eq!(
            small.column(0).to_data().buffers()[0].len(),
            600_000 * VALUE
        );
    }

    #[tokio::test]
    async fn rows_are_taken_out_and_incomplete_ones_forgotten() {
        let spares = Arc::new(Spares::new());
        for rows in [10, 700_000] {
            let mut columns = Columns::new(Arc::clone(&RAW_SCHEMA), Arc::clone(&spares));
            add(&mut columns, 0, rows);
            columns.reserve(2).unwrap();
            columns.extend(0, &[1; 16]);
            columns.extend(1, &[1; 3]);
            columns.drop_incomplete();
            columns.remove(2, 5);
            let mut others = Columns::new(Arc::clone(&RAW_SCHEMA), Arc::clone(&spares));
            add(&mut others, 2, 3);
            columns.reserve(3).unwrap();
            others.each(|column, bytes| columns.extend(column, bytes));
            columns.add_rows(3);
            let batch = columns.into_batch().unwrap();
            let values = batch.column(1).as_primitive::<Float64Type>().values();
            let expected = (0..2).chain(5..rows).chain(2..5).map(f64::from);
            assert!(values.iter().copied().eq(expected));
        }
    }
}
