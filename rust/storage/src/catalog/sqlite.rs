//! The catalog in one `SQLite` file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use pingthings_types::FIRST_MAJOR;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{Catalog, Commit, Head, PropertyChange};
use super::{descriptors, properties};
use crate::format::FORMAT_VERSION;
use crate::tree::Address;
use crate::{Error, NewStream, StreamDescriptor, StreamQuery};

const SCHEMA: &str = "
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
";

/// Came later than the rest: a database without them keeps everything.
const RETENTION: &str = "
create table if not exists stream_retention (
    stream integer primary key,
    keep_ns integer not null
) strict;
create table if not exists collection_retention (
    collection text primary key,
    keep_ns integer not null
) strict, without rowid;
";

/// The catalog in one `SQLite` database, in write-ahead mode, synced at every commit.
///
/// Writing and reading have a connection each, so that a lookup never waits for a commit.
#[derive(Debug)]
pub struct SqliteCatalog {
    writer: Mutex<Connection>,
    /// None in memory, where the writer reads.
    reader: Option<Mutex<Connection>>,
}

/// The error for a failed statement.
pub(super) fn failed(action: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |source| Error::Catalog {
        action,
        source: Arc::new(source),
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

impl SqliteCatalog {
    /// Opens the database at `path`, making it where needed.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let connect = || Connection::open(path).map_err(failed("open"));
        let writer = connect()?;
        prepare(&writer, path)?;
        let reader = connect()?;
        reader
            .pragma_update(None, "query_only", true)
            .map_err(failed("open"))?;
        Ok(Self {
            writer: Mutex::new(writer),
            reader: Some(Mutex::new(reader)),
        })
    }

    /// An empty catalog in memory.
    pub fn in_memory() -> Result<Self, Error> {
        let writer = Connection::open_in_memory().map_err(failed("open"))?;
        prepare(&writer, Path::new("catalog"))?;
        Ok(Self {
            writer: Mutex::new(writer),
            reader: None,
        })
    }

    /// Runs a change in a transaction of its own.
    fn change_all<R>(
        &self,
        action: &'static str,
        change: impl FnOnce(&Connection) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut connection = self.writer.lock();
        let transaction = connection.transaction().map_err(failed(action))?;
        let result = change(&transaction)?;
        transaction.commit().map_err(failed(action))?;
        Ok(result)
    }

    fn read(&self) -> MutexGuard<'_, Connection> {
        self.reader.as_ref().unwrap_or(&self.writer).lock()
    }
}

fn prepare(connection: &Connection, path: &Path) -> Result<(), Error> {
    let run = |sql: &str| connection.execute_batch(sql).map_err(failed("prepare"));
    connection
        .pragma_update(None, "journal_mode", "wal")
        .map_err(failed("prepare"))?;
    connection
        .pragma_update(None, "synchronous", "full")
        .map_err(failed("prepare"))?;
    connection.set_prepared_statement_cache_capacity(64);
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed("read"))?;
    if version == 0 {
        run(&format!(
            "begin; {SCHEMA} {RETENTION} pragma user_version = {FORMAT_VERSION}; commit;"
        ))
    } else if version == i64::from(FORMAT_VERSION) {
        run(RETENTION)
    } else {
        Err(Error::FormatVersion {
            file: path.display().to_string(),
            found: u32::try_from(version).unwrap_or(u32::MAX),
            supported: FORMAT_VERSION,
        })
    }
}

type Place = (Option<u32>, Option<u32>, Option<u32>);

fn place(row: &Row<'_>, at: usize) -> rusqlite::Result<Place> {
    Ok((row.get(at)?, row.get(at + 1)?, row.get(at + 2)?))
}

fn address(place: Place) -> Result<Option<Address>, Error> {
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

impl Catalog for SqliteCatalog {
    fn is_unused(&self) -> Result<bool, Error> {
        self.read()
            .query_row(
                "select not exists (select 1 from streams) and not exists (select 1 from burnt)",
                [],
                |row| row.get(0),
            )
            .map_err(failed("read"))
    }

    fn segments(&self) -> Result<BTreeMap<u32, u64>, Error> {
        let connection = self.read();
        let mut statement = connection
            .prepare_cached("select number, length from segments")
            .map_err(failed("read"))?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))
            .map_err(failed("read"))?;
        rows.map(|row| {
            let (number, length) = row.map_err(failed("read"))?;
            let length = u64::try_from(length).map_err(|_| damaged("a segment has no length"))?;
            Ok((number, length))
        })
        .collect()
    }

    fn commit(&self, commits: &[Commit], segments: &BTreeMap<u32, u64>) -> Result<(), Error> {
        let failed = failed("commit to");
        let mut connection = self.writer.lock();
        let transaction = connection.transaction().map_err(&failed)?;
        {
            let mut insert = transaction
                .prepare_cached("insert into versions values (?1, ?2, ?3, ?4, ?5, ?6)")
                .map_err(&failed)?;
            for commit in commits {
                let root = commit.root;
                insert
                    .execute(params![
                        commit.stream,
                        signed(commit.major),
                        root.map(|address| address.segment),
                        root.map(|address| address.offset),
                        root.map(|address| address.length),
                        commit.wall_ns,
                    ])
                    .map_err(&failed)?;
            }
            let mut grow = transaction
                .prepare_cached("insert or replace into segments values (?1, ?2)")
                .map_err(&failed)?;
            for (number, length) in segments {
                grow.execute(params![number, signed(*length)])
                    .map_err(&failed)?;
            }
        }
        transaction.commit().map_err(&failed)
    }

    fn create(&self, stream: &NewStream, wall_ns: i64) -> Result<(), Error> {
        let failed = failed("create a stream in");
        let mut connection = self.writer.lock();
        let transaction = connection.transaction().map_err(&failed)?;
        descriptors::check_new(&transaction, stream)?;
        let id = descriptors::insert(&transaction, stream)?;
        transaction
            .execute(
                "insert into versions values (?1, ?2, null, null, null, ?3)",
                params![id, signed(FIRST_MAJOR), wall_ns],
            )
            .map_err(&failed)?;
        transaction
            .commit()
            .map_err(|source| match source.sqlite_error_code() {
                Some(ErrorCode::ConstraintViolation) => damaged("a uuid is there twice"),
                _ => failed(source),
            })
    }

    fn head(&self, uuid: Uuid) -> Result<Head, Error> {
        let connection = self.read();
        let mut statement = connection
            .prepare_cached(
                "select v.stream, v.major, v.segment, v.offset, v.length from versions v
                 join streams s on s.id = v.stream
                 where s.uuid = ?1 order by v.major desc limit 1",
            )
            .map_err(failed("read"))?;
        let row = statement
            .query_row([uuid.as_bytes()], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?, place(row, 2)?))
            })
            .optional()
            .map_err(failed("read"))?;
        let (stream, major, place) = row.ok_or(Error::NoSuchStream { uuid })?;
        let major = u64::try_from(major).map_err(|_| damaged("a version has no number"))?;
        Ok(Head {
            stream,
            major,
            root: address(place)?,
        })
    }

    fn root(&self, stream: i64, major: u64) -> Result<Option<Option<Address>>, Error> {
        let connection = self.read();
        let mut statement = connection
            .prepare_cached(
                "select segment, offset, length from versions where stream = ?1 and major = ?2",
            )
            .map_err(failed("read"))?;
        let row = statement
            .query_row(params![stream, signed(major)], |row| place(row, 0))
            .optional()
            .map_err(failed("read"))?;
        row.map(address).transpose()
    }

    fn descriptor(&self, uuid: Uuid) -> Result<StreamDescriptor, Error> {
        descriptors::one(&self.read(), uuid)?.ok_or(Error::NoSuchStream { uuid })
    }

    fn lookup(&self, query: &StreamQuery) -> Result<Vec<StreamDescriptor>, Error> {
        descriptors::lookup(&self.read(), query)
    }

    fn obliterate(&self, uuid: Uuid) -> Result<(), Error> {
        self.change_all("obliterate a stream in", |connection| {
            properties::obliterate(connection, uuid)
        })
    }

    fn change(&self, uuid: Uuid, change: &PropertyChange) -> Result<u64, Error> {
        self.change_all("change a stream in", |connection| {
            properties::change(connection, uuid, change)
        })
    }

    fn usage(&self, prefix: &str) -> Result<Vec<(String, u64)>, Error> {
        properties::usage(&self.read(), prefix)
    }

    fn version_at(&self, stream: i64, wall_ns: i64) -> Result<Option<u64>, Error> {
        let found = self
            .read()
            .prepare_cached("select max(major) from versions where stream = ?1 and wall_ns <= ?2")
            .and_then(|mut statement| {
                statement.query_row(params![stream, wall_ns], |row| row.get::<_, Option<i64>>(0))
            })
            .map_err(failed("read"))?;
        Ok(found.map(i64::unsigned_abs))
    }

    fn keep_stream(&self, uuid: Uuid, keep_ns: Option<i64>) -> Result<(), Error> {
        self.change_all("set a retention in", |connection| {
            properties::keep_stream(connection, uuid, keep_ns)
        })
    }

    fn keep_collection(&self, collection: &str, keep_ns: Option<i64>) -> Result<(), Error> {
        self.change_all("set a retention in", |connection| {
            properties::keep_collection(connection, collection, keep_ns)
        })
    }

    fn kept(&self) -> Result<Vec<(Uuid, i64)>, Error> {
        properties::kept(&self.read())
    }

    fn collections(&self, prefix: &str) -> Result<Vec<String>, Error> {
        descriptors::collections(&self.read(), prefix)
    }
}
