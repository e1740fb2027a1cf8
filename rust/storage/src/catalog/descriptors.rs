//! Streams as rows: inserting, finding and describing them.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::values::{damaged, failed};
use crate::stream::TAG_KEYS;
use crate::{Error, NewStream, StreamDescriptor, StreamQuery};

/// Refuses a stream if its uuid, or its collection and tags, are taken.
pub(super) fn check_new(connection: &Connection, stream: &NewStream) -> Result<(), Error> {
    let uuid = stream.uuid;
    if one(connection, uuid)?.is_some() {
        return Err(Error::SameStream { uuid });
    }
    if is_uuid_retired(connection, uuid)? {
        return Err(Error::ReusedUuid { uuid });
    }
    let [name, unit, ingress, distiller] = stream.tag_values();
    match stream_with_tags(
        connection,
        &stream.collection,
        [name, unit, ingress, distiller],
    )? {
        Some(existing) => Err(Error::AmbiguousStream {
            collection: stream.collection.clone(),
            existing,
        }),
        None => Ok(()),
    }
}

/// Whether the uuid belonged to a stream that was obliterated.
pub(super) fn is_uuid_retired(connection: &Connection, uuid: Uuid) -> Result<bool, Error> {
    connection
        .query_row(
            "select exists (select 1 from burnt where uuid = ?1)",
            [uuid.as_bytes()],
            |row| row.get(0),
        )
        .map_err(failed("read"))
}

/// The stream with this collection and these tags.
pub(super) fn stream_with_tags(
    connection: &Connection,
    collection: &str,
    [name, unit, ingress, distiller]: [&str; 4],
) -> Result<Option<Uuid>, Error> {
    connection
        .query_row(
            "select uuid from streams where collection = ?1
             and name = ?2 and unit = ?3 and ingress = ?4 and distiller = ?5",
            params![collection, name, unit, ingress, distiller],
            |row| row.get::<_, [u8; 16]>(0),
        )
        .optional()
        .map(|found| found.map(Uuid::from_bytes))
        .map_err(failed("read"))
}

/// Inserts the row of a stream and its annotations, and returns its number.
pub(super) fn insert(
    connection: &Connection,
    stream: &NewStream,
    wall_ns: i64,
) -> Result<i64, Error> {
    let failed = failed("create a stream in");
    let [name, unit, ingress, distiller] = stream.tag_values();
    connection
        .prepare_cached(
            "insert into streams
             (uuid, collection, name, unit, ingress, distiller, property_version,
              created_ns, updated_ns)
             values (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?7)",
        )
        .and_then(|mut statement| {
            let uuid = stream.uuid.as_bytes();
            statement.execute(params![
                uuid,
                stream.collection,
                name,
                unit,
                ingress,
                distiller,
                wall_ns
            ])
        })
        .map_err(&failed)?;
    let id = connection.last_insert_rowid();
    connection
        .prepare_cached(
            "update streams set crc =
                 checksum(id, uuid, collection, name, unit, ingress, distiller, property_version)
             where id = ?1",
        )
        .and_then(|mut statement| statement.execute([id]))
        .map_err(&failed)?;
    let mut annotate = connection
        .prepare_cached("insert into annotations values (?1, ?2, ?3, checksum(?1, ?2, ?3))")
        .map_err(&failed)?;
    for (key, value) in &stream.annotations {
        annotate.execute(params![id, key, value]).map_err(&failed)?;
    }
    Ok(id)
}

const COLUMNS: &str =
    "s.id, s.uuid, s.collection, s.property_version, s.name, s.unit, s.ingress, s.distiller";

const WHOLE: &str = "whole('streams', s.crc, s.id, s.uuid, s.collection, s.name, s.unit,
     s.ingress, s.distiller, s.property_version)";

/// The row of a stream, without its annotations.
fn row_of(row: &Row<'_>) -> rusqlite::Result<(i64, StreamDescriptor)> {
    let mut tags = BTreeMap::new();
    for (at, key) in TAG_KEYS.iter().enumerate() {
        tags.insert((*key).to_owned(), row.get(4 + at)?);
    }
    let descriptor = StreamDescriptor {
        uuid: Uuid::from_bytes(row.get(1)?),
        collection: row.get(2)?,
        tags,
        annotations: BTreeMap::new(),
        property_version: row.get::<_, i64>(3)?.unsigned_abs(),
    };
    Ok((row.get(0)?, descriptor))
}

fn annotate(
    connection: &Connection,
    (id, mut descriptor): (i64, StreamDescriptor),
) -> Result<StreamDescriptor, Error> {
    let mut statement = connection
        .prepare_cached(
            "select key, value from annotations where stream = ?1
             and whole('annotations', crc, stream, key, value)",
        )
        .map_err(failed("read"))?;
    let rows = statement
        .query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(failed("read"))?;
    for row in rows {
        let (key, value) = row.map_err(failed("read"))?;
        descriptor.annotations.insert(key, value);
    }
    Ok(descriptor)
}

/// The description of a stream.
pub(super) fn one(connection: &Connection, uuid: Uuid) -> Result<Option<StreamDescriptor>, Error> {
    let found = connection
        .prepare_cached(&format!(
            "select {COLUMNS} from streams s where s.uuid = ?1 and {WHOLE}"
        ))
        .and_then(|mut statement| statement.query_row([uuid.as_bytes()], row_of).optional())
        .map_err(failed("read"))?;
    found.map(|found| annotate(connection, found)).transpose()
}

/// The smallest string greater than every string that begins with `prefix`, in byte order.
///
/// Bounds instead of LIKE: `_` and `%` are ordinary characters, and the index can be used.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        let next = (last as u32 + 1..=char::MAX as u32).find_map(char::from_u32);
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

/// A condition on `collection` with its parameters.
pub(super) fn in_collection(name: &str, is_prefix: bool) -> (&'static str, Vec<String>) {
    if !is_prefix {
        return ("collection = ?", vec![name.to_owned()]);
    }
    match after_prefix(name) {
        Some(after) => (
            "collection >= ? and collection < ?",
            vec![name.to_owned(), after],
        ),
        None => ("collection >= ?", vec![name.to_owned()]),
    }
}

/// The streams that match `query`, ordered by collection and name.
pub(super) fn lookup(
    connection: &Connection,
    query: &StreamQuery,
) -> Result<Vec<StreamDescriptor>, Error> {
    let (condition, mut parameters) = in_collection(&query.collection, query.is_prefix);
    let mut sql = format!("select {COLUMNS} from streams s where {condition} and {WHOLE}");
    for (key, value) in &query.tags {
        // Every stream has all four tags, so a tag without a value matches all.
        match (TAG_KEYS.iter().find(|known| *known == key), value) {
            (None, _) => return Ok(Vec::new()),
            (Some(_), None) => {}
            (Some(column), Some(value)) => {
                sql.extend([" and s.", column, " = ?"]);
                parameters.push(value.clone());
            }
        }
    }
    for (key, value) in &query.annotations {
        sql.push_str(
            " and exists (select 1 from annotations a where a.stream = s.id and a.key = ?",
        );
        parameters.push(key.clone());
        if let Some(value) = value {
            sql.push_str(" and a.value = ?");
            parameters.push(value.clone());
        }
        sql.push(')');
    }
    sql.push_str(" order by s.collection, s.name, s.unit, s.ingress, s.distiller");
    let mut statement = connection.prepare_cached(&sql).map_err(failed("read"))?;
    let rows = statement
        .query_map(rusqlite::params_from_iter(parameters), row_of)
        .map_err(failed("read"))?;
    let found = rows
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed("read"))?;
    found
        .into_iter()
        .map(|row| annotate(connection, row))
        .collect()
}

/// The collections whose names begin with `prefix` and that hold a stream, sorted.
pub(super) fn collections(connection: &Connection, prefix: &str) -> Result<Vec<String>, Error> {
    let (condition, parameters) = in_collection(prefix, true);
    let sql = format!("select distinct collection from streams where {condition} order by 1");
    let mut statement = connection.prepare_cached(&sql).map_err(failed("read"))?;
    let rows = statement
        .query_map(rusqlite::params_from_iter(parameters), |row| row.get(0))
        .map_err(failed("read"))?;
    rows.collect::<Result<_, _>>()
        .map_err(|source| match source {
            rusqlite::Error::InvalidColumnType(..) => damaged("a collection is not text"),
            source => failed("read")(source),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_after_a_prefix_is_the_least() {
        assert_eq!(after_prefix("ab").as_deref(), Some("ac"));
        assert_eq!(after_prefix("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(after_prefix("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(after_prefix("\u{10ffff}"), None);
        assert_eq!(after_prefix(""), None);
    }
}
