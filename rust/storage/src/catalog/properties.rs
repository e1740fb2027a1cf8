//! Changing the descriptions of streams, and their retention.

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::descriptors::{in_collection, one, stream_with_tags};
use super::values::{failed, signed};
use super::{PropertyChange, reclaim};
use crate::stream::{TAG_KEYS, check_annotations};
use crate::{CollectionRetention, Error, StreamRetention};

fn id_of(connection: &Connection, uuid: Uuid) -> Result<i64, Error> {
    connection
        .query_row(
            "select id from streams where uuid = ?1",
            [uuid.as_bytes()],
            |row| row.get(0),
        )
        .optional()
        .map_err(failed("read"))?
        .ok_or(Error::NoSuchStream { uuid })
}

/// Removes a stream, forgets its versions, and excludes its uuid from reuse.
pub(super) fn obliterate(connection: &Connection, uuid: Uuid) -> Result<(), Error> {
    let failed = failed("obliterate a stream in");
    let id = id_of(connection, uuid)?;
    reclaim::forget_all_versions(connection, id)?;
    for table in ["annotations", "stream_retention"] {
        connection
            .execute(&format!("delete from {table} where stream = ?1"), [id])
            .map_err(&failed)?;
    }
    connection
        .execute("delete from streams where id = ?1", [id])
        .map_err(&failed)?;
    connection
        .execute("insert into burnt values (?1)", [uuid.as_bytes()])
        .map_err(&failed)?;
    Ok(())
}

/// Changes a stream's collection, tags or annotations, and returns the new property version.
pub(super) fn change_properties(
    connection: &Connection,
    uuid: Uuid,
    change: &PropertyChange,
    wall_ns: i64,
) -> Result<u64, Error> {
    let failed = failed("change a stream in");
    let present = one(connection, uuid)?.ok_or(Error::NoSuchStream { uuid })?;
    let actual = present.property_version;
    if change.expected != 0 && change.expected != actual {
        let expected = change.expected;
        return Err(Error::PropertyVersion {
            uuid,
            expected,
            actual,
        });
    }
    let collection = change.collection.as_ref().unwrap_or(&present.collection);
    let tags = TAG_KEYS.map(|key| match change.tags.get(key) {
        Some(value) => value.as_deref().unwrap_or_default(),
        None => present.tags.get(key).map_or("", String::as_str),
    });
    if let Some(existing) = stream_with_tags(connection, collection, tags)?
        && existing != uuid
    {
        let collection = collection.clone();
        return Err(Error::AmbiguousStream {
            collection,
            existing,
        });
    }
    if !change.annotations.is_empty() {
        let mut annotations = present.annotations;
        for key in &change.removed {
            annotations.remove(key);
        }
        annotations.extend(change.annotations.clone());
        check_annotations(uuid, &annotations)?;
    }
    let id = id_of(connection, uuid)?;
    let [name, unit, ingress, distiller] = tags;
    connection
        .execute(
            "update streams set collection = ?2, name = ?3, unit = ?4, ingress = ?5,
             distiller = ?6, property_version = ?7, updated_ns = ?8,
             crc = checksum(id, uuid, ?2, ?3, ?4, ?5, ?6, ?7) where id = ?1",
            params![
                id,
                collection,
                name,
                unit,
                ingress,
                distiller,
                signed(actual + 1),
                wall_ns
            ],
        )
        .map_err(&failed)?;
    for key in &change.removed {
        connection
            .execute(
                "delete from annotations where stream = ?1 and key = ?2",
                params![id, key],
            )
            .map_err(&failed)?;
    }
    for (key, value) in &change.annotations {
        connection
            .execute(
                "insert or replace into annotations
                 values (?1, ?2, ?3, checksum(?1, ?2, ?3))",
                params![id, key, value],
            )
            .map_err(&failed)?;
    }
    Ok(actual + 1)
}

/// For each annotation key, the number of streams that have it, in collections that begin with
/// `prefix`.
pub(super) fn annotation_usage(
    connection: &Connection,
    prefix: &str,
) -> Result<Vec<(String, u64)>, Error> {
    let (condition, parameters) = in_collection(prefix, true);
    let sql = format!(
        "select a.key, count(*) from annotations a join streams s on s.id = a.stream
         where {condition} group by a.key order by a.key"
    );
    let mut statement = connection.prepare_cached(&sql).map_err(failed("read"))?;
    let rows = statement
        .query_map(rusqlite::params_from_iter(parameters), |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
        })
        .map_err(failed("read"))?;
    rows.collect::<Result<_, _>>().map_err(failed("read"))
}

/// Sets how long a stream keeps its points.
pub(super) fn set_stream_retention(
    connection: &Connection,
    uuid: Uuid,
    keep_ns: Option<i64>,
) -> Result<(), Error> {
    let id = id_of(connection, uuid)?;
    match keep_ns {
        Some(keep_ns) => connection.execute(
            "insert or replace into stream_retention values (?1, ?2, checksum(?1, ?2))",
            params![id, keep_ns],
        ),
        None => connection.execute("delete from stream_retention where stream = ?1", [id]),
    }
    .map(|_| ())
    .map_err(failed("set a retention in"))
}

/// The stored value for keeping points for ever, where a collection overrides its streams.
const FOR_EVER: i64 = i64::MAX;

/// The effective retention of a stream, with `o` for its own row and `c` for that of its
/// collection.
const EFFECTIVE: &str =
    "nullif(case when c.overrides then c.keep_ns else coalesce(o.keep_ns, c.keep_ns) end,
         9223372036854775807)";

const WITH_RETENTION: &str = "streams s
     left join stream_retention o on o.stream = s.id
     left join collection_retention c on c.collection = s.collection
     where whole('stream_retention', o.crc, o.stream, o.keep_ns)
     and whole('collection_retention', c.crc, c.collection, c.keep_ns, c.overrides)";

/// The own and the effective retention of a stream.
pub(super) fn stream_retention(
    connection: &Connection,
    uuid: Uuid,
) -> Result<StreamRetention, Error> {
    connection
        .prepare_cached(&format!(
            "select o.keep_ns, {EFFECTIVE} from {WITH_RETENTION} and s.uuid = ?1"
        ))
        .and_then(|mut statement| {
            let row_of = |row: &rusqlite::Row<'_>| {
                Ok(StreamRetention {
                    own_ns: row.get(0)?,
                    effective_ns: row.get(1)?,
                })
            };
            statement.query_row([uuid.as_bytes()], row_of).optional()
        })
        .map_err(failed("read"))?
        .ok_or(Error::NoSuchStream { uuid })
}

/// Sets how long the streams of a collection keep their points.
pub(super) fn set_collection_retention(
    connection: &Connection,
    collection: &str,
    retention: CollectionRetention,
) -> Result<(), Error> {
    let CollectionRetention { keep_ns, overrides } = retention;
    match keep_ns.or(overrides.then_some(FOR_EVER)) {
        Some(keep_ns) => connection.execute(
            "insert or replace into collection_retention
             values (?1, ?2, ?3, checksum(?1, ?2, ?3))",
            params![collection, keep_ns, overrides],
        ),
        None => connection.execute(
            "delete from collection_retention where collection = ?1",
            [collection],
        ),
    }
    .map(|_| ())
    .map_err(failed("set a retention in"))
}

/// The retention set for a collection.
pub(super) fn collection_retention(
    connection: &Connection,
    collection: &str,
) -> Result<CollectionRetention, Error> {
    let found: Option<(i64, bool)> = connection
        .prepare_cached(
            "select keep_ns, overrides from collection_retention where collection = ?1
             and whole('collection_retention', crc, collection, keep_ns, overrides)",
        )
        .and_then(|mut statement| {
            let row_of = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            statement.query_row([collection], row_of).optional()
        })
        .map_err(failed("read"))?;
    Ok(
        found.map_or_else(CollectionRetention::default, |(keep_ns, overrides)| {
            CollectionRetention {
                keep_ns: Some(keep_ns).filter(|keep_ns| *keep_ns != FOR_EVER),
                overrides,
            }
        }),
    )
}

/// The streams with a retention.
pub(super) fn streams_with_retention(connection: &Connection) -> Result<Vec<(Uuid, i64)>, Error> {
    let mut statement = connection
        .prepare_cached(&format!(
            "select s.uuid, {EFFECTIVE} from {WITH_RETENTION} and {EFFECTIVE} is not null"
        ))
        .map_err(failed("read"))?;
    let rows = statement
        .query_map([], |row| Ok((Uuid::from_bytes(row.get(0)?), row.get(1)?)))
        .map_err(failed("read"))?;
    rows.collect::<Result<_, _>>().map_err(failed("read"))
}
