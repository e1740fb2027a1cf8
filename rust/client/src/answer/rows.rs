//! The rows of an answer that have arrived.

use std::{io, sync::Arc};

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};

use crate::answer::{
    columns::Columns,
    expectation::{AnswerColumn, Expectation},
    page_pool::PagePool,
};

/// Rows in the order of their arrival. They are in one set of columns, or in several if the
/// server's schema changes in between.
#[derive(Debug)]
pub(crate) struct Rows {
    expectation: Expectation,
    batches: Vec<RecordBatch>,
    columns: Option<Columns>,
    page_pool: Arc<PagePool>,
    /// The time of the last row, also after it was taken.
    last: Option<i64>,
    /// Number of rows to skip, because they have arrived before.
    skip: usize,
}

impl Rows {
    pub(crate) const fn new(expectation: Expectation, page_pool: Arc<PagePool>) -> Self {
        Self {
            expectation,
            batches: Vec::new(),
            columns: None,
            page_pool,
            last: None,
            skip: 0,
        }
    }

    /// The schema for the columns that a server has sent; an error if they were not expected.
    pub(crate) fn accept(&self, columns: &[AnswerColumn<'_>]) -> Result<SchemaRef, ArrowError> {
        self.expectation.accept(columns)
    }

    pub(crate) fn len(&self) -> usize {
        let batches = self.batches.iter().map(RecordBatch::num_rows);
        batches.sum::<usize>() + self.columns.as_ref().map_or(0, Columns::rows)
    }

    /// The size of the values in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.size_of_batches() + self.columns.as_ref().map_or(0, Columns::bytes) as u64
    }

    /// The memory that the rows use, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.size_of_batches() + self.columns.as_ref().map_or(0, Columns::memory) as u64
    }

    fn size_of_batches(&self) -> u64 {
        let columns = self.batches.iter().flat_map(RecordBatch::columns);
        let sizes = columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0));
        sizes.sum::<usize>() as u64
    }

    /// Skips this number of the following rows.
    pub(crate) const fn skip(&mut self, rows: usize) {
        self.skip = rows;
    }

    /// Takes all rows received so far.
    pub(crate) fn take(&mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        self.close_columns()?;
        Ok(std::mem::take(&mut self.batches))
    }

    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.columns = None;
        self.last = None;
    }

    fn close_columns(&mut self) -> Result<(), ArrowError> {
        if let Some(columns) = self.columns.take().filter(|columns| columns.rows() > 0) {
            self.batches.push(columns.into_batch()?);
        }
        Ok(())
    }

    // --- adding rows -----------------------------------------------------------------------------

    /// Reserves room for more rows of this schema, which was accepted before.
    pub(crate) fn reserve(&mut self, schema: &SchemaRef, rows: usize) -> Result<(), ArrowError> {
        let others = |columns: &Columns| columns.schema() != schema;
        if self.columns.as_ref().is_some_and(others) {
            self.close_columns()?;
        }
        let (times, last) = (*self.expectation.time_bounds(), self.last);
        let fresh = || Columns::new(Arc::clone(schema), times, last, Arc::clone(&self.page_pool));
        let columns = self.columns.get_or_insert_with(fresh);
        columns.reserve(rows).map_err(no_memory)
    }

    /// Appends values, or parts of values, to a column.
    pub(crate) fn extend(&mut self, column: usize, bytes: &[u8]) {
        if let Some(columns) = &mut self.columns {
            columns.extend(column, bytes);
        }
    }

    /// Marks more rows as complete. Fails if their times are not as expected; the rows are then not
    /// added.
    pub(crate) fn complete(&mut self, rows: usize) -> Result<(), ArrowError> {
        if let Some(columns) = &mut self.columns {
            let start = columns.rows();
            columns.add_rows(rows)?;
            let gone = rows.min(self.skip);
            if gone > 0 {
                columns.remove(start, start + gone);
                self.skip -= gone;
            }
            self.last = columns.last_time(1).map(|(time, _)| time).or(self.last);
        }
        Ok(())
    }

    /// Drops the values of incomplete rows.
    pub(crate) fn drop_incomplete(&mut self) {
        if let Some(columns) = &mut self.columns {
            columns.drop_incomplete();
        }
    }

    /// Adds rows of a schema from complete columns.
    pub(crate) fn add<const N: usize>(
        &mut self,
        schema: &SchemaRef,
        rows: usize,
        columns: [&[u8]; N],
    ) -> Result<(), ArrowError> {
        self.reserve(schema, rows)?;
        for (index, values) in columns.into_iter().enumerate() {
            self.extend(index, values);
        }
        self.complete(rows)
    }

    /// Adds the rows of `others`, which contains those of one message.
    pub(crate) fn append(&mut self, others: Self) -> Result<(), ArrowError> {
        if self.skip == 0 && self.len() == 0 && self.last.is_none() {
            (self.batches, self.columns) = (others.batches, others.columns);
            self.last = others.last;
            return Ok(());
        }
        let Some(columns) = others.columns else {
            return Ok(());
        };
        self.reserve(columns.schema(), columns.rows())?;
        columns.each(|column, bytes| self.extend(column, bytes));
        self.complete(columns.rows())
    }

    /// The time of the last row, and how many of the last `rows` rows have it; `None` without rows.
    pub(crate) fn last_time(&self, rows: usize) -> Option<(i64, usize)> {
        self.columns.as_ref()?.last_time(rows)
    }
}

fn no_memory(error: io::Error) -> ArrowError {
    ArrowError::IoError("there is no memory for the rows".to_owned(), error)
}
