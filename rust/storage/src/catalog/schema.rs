//! The tables of the catalog, and their migration from earlier versions.

use std::path::Path;

use rusqlite::Connection;

use super::values::failed;
use crate::Error;

/// Step *n* migrates from version *n* to *n* + 1. A released step never changes.
const STEPS: [&str; SCHEMA_VERSION as usize] = [FIRST, RECLAIM, CHECKED, RECORDS, STATE, SEEN];

const FIRST: &str = "
create table streams (
    id integer primary key autoincrement,
    uuid blob not null unique,
    collection text not null,
    name text not null,
    unit text not null,
    ingress text not null,
    distiller text not null,
    property_version integer not null,
    unique (collection, name, unit, ingress, distiller)
) strict;
create table annotations (
    stream integer not null,
    key text not null,
    value text,
    primary key (stream, key)
) strict, without rowid;
create table burnt (uuid blob primary key) strict, without rowid;
create table versions (
    stream integer not null,
    major integer not null,
    segment integer,
    offset integer,
    length integer,
    wall_ns integer not null,
    primary key (stream, major)
) strict, without rowid;
create table segments (number integer primary key, length integer not null) strict;
create table stream_retention (
    stream integer primary key,
    keep_ns integer not null
) strict;
create table collection_retention (
    collection text primary key,
    keep_ns integer not null
) strict, without rowid;
";

/// `doomed` contains the roots of forgotten versions until their blocks have been found. `holes`
/// contains the ranges of those blocks; `is_gone` is set once a generation of the segment does not
/// contain them.
const RECLAIM: &str = "
create table if not exists stream_retention (
    stream integer primary key,
    keep_ns integer not null
) strict;
create table if not exists collection_retention (
    collection text primary key,
    keep_ns integer not null
) strict, without rowid;
alter table collection_retention add column overrides integer not null default 0;
alter table streams add column created_ns integer not null default 0;
alter table streams add column updated_ns integer not null default 0;
update streams set created_ns =
    coalesce((select min(wall_ns) from versions where stream = streams.id), 0);
update streams set updated_ns = created_ns;
create table devices (
    id integer primary key autoincrement,
    name text not null unique,
    fields text not null
) strict;
create table units (
    id integer primary key autoincrement,
    name text not null unique,
    fields text not null
) strict;
alter table segments add column generation integer not null default 0;
create table doomed (
    stream integer not null,
    major integer not null,
    segment integer not null,
    offset integer not null,
    length integer not null,
    primary key (stream, major)
) strict, without rowid;
create table holes (
    segment integer not null,
    offset integer not null,
    length integer not null,
    is_gone integer not null,
    primary key (segment, offset)
) strict, without rowid;
";

const CHECKED: &str = "
alter table streams add column crc integer not null default 0;
alter table annotations add column crc integer not null default 0;
alter table versions add column crc integer not null default 0;
alter table segments add column crc integer not null default 0;
alter table stream_retention add column crc integer not null default 0;
alter table collection_retention add column crc integer not null default 0;
alter table doomed add column crc integer not null default 0;
alter table holes add column crc integer not null default 0;
update streams set crc =
    checksum(id, uuid, collection, name, unit, ingress, distiller, property_version);
update annotations set crc = checksum(stream, key, value);
update versions set crc = checksum(stream, major, segment, offset, length, wall_ns);
update segments set crc = checksum(number, length, generation);
update stream_retention set crc = checksum(stream, keep_ns);
update collection_retention set crc = checksum(collection, keep_ns, overrides);
update doomed set crc = checksum(stream, major, segment, offset, length);
update holes set crc = checksum(segment, offset, length, is_gone);
";

const RECORDS: &str = "
alter table devices add column crc integer not null default 0;
alter table units add column crc integer not null default 0;
update devices set crc = checksum(id, name, fields);
update units set crc = checksum(id, name, fields);
";

/// One row: the id of the catalog, and the number of its last change.
const STATE: &str = "
create table state (
    one integer primary key check (one = 1),
    id blob not null,
    change integer not null,
    crc integer not null
) strict;
insert into state values (1, randomblob(16), 0, 0);
update state set crc = checksum(id, change);
";

/// At most one row: the retention clock.
const SEEN: &str = "
create table seen (
    one integer primary key check (one = 1),
    wall_ns integer not null,
    crc integer not null
) strict;
";

/// Version of the tables, stored in `user_version`.
pub(crate) const SCHEMA_VERSION: u32 = 6;

/// Creates the tables, or migrates those of an earlier build.
///
/// # Errors
/// [`Error::FormatVersion`] if a later build created them.
pub(super) fn prepare(connection: &Connection, path: &Path) -> Result<(), Error> {
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed("read"))?;
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    let Some(steps) = STEPS.get(done..) else {
        return Err(Error::FormatVersion {
            file: path.display().to_string(),
            found: u32::try_from(version).unwrap_or(u32::MAX),
            supported: SCHEMA_VERSION,
        });
    };
    if steps.is_empty() {
        return Ok(());
    }
    let steps = steps.concat();
    connection
        .execute_batch(&format!(
            "begin; {steps} pragma user_version = {SCHEMA_VERSION}; commit;"
        ))
        .map_err(failed("prepare"))
}
