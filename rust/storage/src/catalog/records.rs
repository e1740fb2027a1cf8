//! Devices and units as rows.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use super::values::failed;
use crate::{Error, Record, RecordKind};

/// A function that computes the new fields from the present ones.
pub type FieldMerge<'a> = Box<dyn FnOnce(&str) -> Result<String, Error> + 'a>;

const fn table(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Device => "devices",
        RecordKind::Unit => "units",
    }
}

fn select(kind: RecordKind) -> String {
    let table = table(kind);
    format!("select id, name, fields from {table} where whole('{table}', crc, id, name, fields)")
}

fn row_of(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        id: row.get(0)?,
        name: row.get(1)?,
        fields: row.get(2)?,
    })
}

/// All records of a kind, by number.
pub(super) fn all(connection: &Connection, kind: RecordKind) -> Result<Vec<Record>, Error> {
    let mut statement = connection
        .prepare_cached(&format!("{} order by id", select(kind)))
        .map_err(failed("read"))?;
    let rows = statement.query_map([], row_of).map_err(failed("read"))?;
    rows.collect::<Result<_, _>>().map_err(failed("read"))
}

/// The record with this number.
pub(super) fn one(connection: &Connection, kind: RecordKind, id: i64) -> Result<Record, Error> {
    connection
        .prepare_cached(&format!("{} and id = ?1", select(kind)))
        .and_then(|mut statement| statement.query_row([id], row_of).optional())
        .map_err(failed("read"))?
        .ok_or(Error::NoSuchRecord { kind, id })
}

/// Adds a record, and assigns its number.
pub(super) fn add(
    connection: &Connection,
    kind: RecordKind,
    name: &str,
    fields: &str,
) -> Result<Record, Error> {
    let table = table(kind);
    connection
        .prepare_cached(&format!(
            "insert into {table} (name, fields) values (?1, ?2)"
        ))
        .and_then(|mut statement| statement.execute([name, fields]))
        .map_err(|error| taken(connection, kind, name, error))?;
    let id = connection.last_insert_rowid();
    seal(connection, kind, id)?;
    one(connection, kind, id)
}

/// Changes a record; `merge` computes its fields.
pub(super) fn change(
    connection: &Connection,
    kind: RecordKind,
    id: i64,
    name: Option<&str>,
    merge: FieldMerge<'_>,
) -> Result<Record, Error> {
    let present = one(connection, kind, id)?;
    let name = name.unwrap_or(&present.name);
    let fields = merge(&present.fields)?;
    let table = table(kind);
    connection
        .prepare_cached(&format!(
            "update {table} set name = ?2, fields = ?3 where id = ?1"
        ))
        .and_then(|mut statement| statement.execute(params![id, name, fields]))
        .map_err(|error| taken(connection, kind, name, error))?;
    seal(connection, kind, id)?;
    one(connection, kind, id)
}

/// Removes a record.
pub(super) fn delete(connection: &Connection, kind: RecordKind, id: i64) -> Result<(), Error> {
    let sql = format!("delete from {} where id = ?1", table(kind));
    match connection.execute(&sql, [id]).map_err(failed("change"))? {
        0 => Err(Error::NoSuchRecord { kind, id }),
        _ => Ok(()),
    }
}

/// Writes the checksum of a row.
fn seal(connection: &Connection, kind: RecordKind, id: i64) -> Result<(), Error> {
    let table = table(kind);
    connection
        .prepare_cached(&format!(
            "update {table} set crc = checksum(id, name, fields) where id = ?1"
        ))
        .and_then(|mut statement| statement.execute([id]))
        .map(|_| ())
        .map_err(failed("change"))
}

/// The error for a row that could not be written, most likely because its name is taken.
fn taken(connection: &Connection, kind: RecordKind, name: &str, error: rusqlite::Error) -> Error {
    if error.sqlite_error_code() != Some(ErrorCode::ConstraintViolation) {
        return failed("change")(error);
    }
    let sql = format!("select id from {} where name = ?1", table(kind));
    match connection.query_row(&sql, [name], |row| row.get(0)) {
        Ok(existing) => Error::RecordExists {
            kind,
            name: name.to_owned(),
            existing,
        },
        Err(_) => failed("change")(error),
    }
}
