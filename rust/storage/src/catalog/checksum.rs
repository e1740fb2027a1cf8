//! Checksums of rows: `SQLite` has none, so it would return a flipped bit as if it were correct.
//!
//! Writing a row stores `checksum(…)` over its other columns. Reading a row includes the condition
//! `whole(table, crc, …)`, which is true or fails the statement and names the table.

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;

use super::values::{DAMAGED, failed};
use crate::Error;

/// A catalog of up to this size is also checked for missing and misplaced rows.
const CHECKED_BYTES: i64 = 64 << 20;

fn checksum(context: &Context<'_>, first: usize) -> i64 {
    let mut crc = 0;
    for at in first..context.len() {
        let mut add = |kind: u8, bytes: &[u8]| {
            let length = bytes.len() as u64;
            crc = crc32c::crc32c_append(crc, &[kind]);
            crc = crc32c::crc32c_append(crc, &length.to_le_bytes());
            crc = crc32c::crc32c_append(crc, bytes);
        };
        match context.get_raw(at) {
            ValueRef::Null => add(0, &[]),
            ValueRef::Integer(number) => add(1, &number.to_le_bytes()),
            ValueRef::Real(number) => add(2, &number.to_le_bytes()),
            ValueRef::Text(text) => add(3, text),
            ValueRef::Blob(bytes) => add(4, bytes),
        }
    }
    i64::from(crc)
}

/// Registers both functions with a connection.
pub(super) fn install(connection: &Connection) -> Result<(), Error> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection
        .create_scalar_function("checksum", -1, flags, |context| Ok(checksum(context, 0)))
        .and_then(|()| {
            connection.create_scalar_function("whole", -1, flags, |context| {
                // An outer join has no row on this side.
                let crc = context.get::<Option<i64>>(1)?;
                if crc.is_none_or(|crc| crc == checksum(context, 2)) {
                    return Ok(true);
                }
                let table: String = context.get(0)?;
                let problem = format!("{DAMAGED}a row of `{table}` does not match its checksum");
                Err(rusqlite::Error::UserFunctionError(problem.into()))
            })
        })
        .map_err(failed("prepare"))
}

/// Refuses a database whose tables and indices are inconsistent. This takes about 5 ms per
/// megabyte, so larger databases rely on the checksums of their rows.
pub(super) fn check(connection: &Connection) -> Result<(), Error> {
    let bytes: i64 = connection
        .query_row(
            "select page_count * page_size from pragma_page_count, pragma_page_size",
            [],
            |row| row.get(0),
        )
        .map_err(failed("read"))?;
    if bytes > CHECKED_BYTES {
        return Ok(());
    }
    let found: String = connection
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .map_err(failed("read"))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(Error::CatalogDamaged { problem: found })
    }
}
