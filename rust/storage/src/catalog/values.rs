//! What the database holds, as the engine has it, and the errors of its statements.

use std::sync::Arc;

use rusqlite::Row;

use crate::Error;
use crate::tree::Address;

/// Begins the message of a row that does not fit its checksum.
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

/// Integers of the database are signed; versions never come near the difference.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn damaged(problem: impl Into<String>) -> Error {
    Error::CatalogDamaged {
        problem: problem.into(),
    }
}

/// The three columns of an address, which are null together.
pub(super) type Place = (Option<u32>, Option<u32>, Option<u32>);

pub(super) fn place(row: &Row<'_>, at: usize) -> rusqlite::Result<Place> {
    Ok((row.get(at)?, row.get(at + 1)?, row.get(at + 2)?))
}

pub(super) fn address(place: Place) -> Result<Option<Address>, Error> {
    match place {
        (Some(segment), Some(offset), Some(length)) => Ok(Some(Address {
            segment,
            offset,
            length,
        })),
        (None, None, None) => Ok(None),
        _ => Err(damaged("a version has half an address")),
    }
}
