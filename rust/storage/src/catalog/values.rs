//! Conversion between database values and those of the engine, and errors of statements.

use std::sync::Arc;

use rusqlite::Row;

use crate::Error;
use crate::tree::Address;

/// Prefix of the message for a row that does not match its checksum.
pub(super) const DAMAGED: &str = "damaged: ";

/// The error for a failed statement.
pub(super) fn failed(action: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |source| {
        if let rusqlite::Error::SqliteFailure(_, Some(message)) = &source
            && let Some(problem) = message.strip_prefix(DAMAGED)
        {
            return damaged(problem);
        }
        Error::Catalog {
            action,
            source: Arc::new(source),
        }
    }
}

/// Converts to the signed integers of the database; real numbers never come near the limit.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn damaged(problem: impl Into<String>) -> Error {
    Error::CatalogDamaged {
        problem: problem.into(),
    }
}

/// The three columns of an address, which are null together.
pub(super) type RootColumns = (Option<u32>, Option<u32>, Option<u32>);

pub(super) fn root_columns(row: &Row<'_>, at: usize) -> rusqlite::Result<RootColumns> {
    Ok((row.get(at)?, row.get(at + 1)?, row.get(at + 2)?))
}

pub(super) fn address(columns: RootColumns) -> Result<Option<Address>, Error> {
    match columns {
        (Some(segment), Some(offset), Some(length)) => Ok(Some(Address {
            segment,
            offset,
            length,
        })),
        (None, None, None) => Ok(None),
        _ => Err(damaged("a version has half an address")),
    }
}
