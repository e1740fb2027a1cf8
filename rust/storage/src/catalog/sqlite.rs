//! The catalog in one `SQLite` file.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use pingthings_types::FIRST_MAJOR;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use uuid::Uuid;

use super::checksum;
use super::values::{address, damaged, failed, root_columns, signed};
use super::{
    Catalog, CatalogState, Commit, FieldMerge, ForgottenVersions, Head, Hole, PropertyChange,
    SegmentState,
};
use super::{descriptors, properties, reclaim, records, schema};
use crate::blocks::sync_folder;
use crate::error::io_error;
use crate::tree::Address;
use crate::{
    CollectionRetention, Error, NewStream, Record, RecordKind, StreamDescriptor, StreamQuery,
    StreamRetention,
};

/// The catalog in one `SQLite` database, in write-ahead mode, synced at every commit.
///
/// Writing and reading have separate connections, so a lookup never waits for a commit.
#[derive(Debug)]
pub struct SqliteCatalog {
    writer: Mutex<Connection>,
    /// `None` for a catalog in memory, which reads with the writer.
    reader: Option<Mutex<Connection>>,
    uri: String,
    /// The number of the next changes.
    change: AtomicU64,
}

/// How long a connection waits if another one has locked the database.
const BUSY_TIMEOUT: Duration = Duration::from_mins(1);

/// The URI with which `SQLite` opens the file at `path`.
fn uri_of(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for character in path.to_string_lossy().chars() {
        match character {
            '%' => uri.push_str("%25"),
            '?' => uri.push_str("%3f"),
            '#' => uri.push_str("%23"),
            other => uri.push(other),
        }
    }
    uri
}

impl SqliteCatalog {
    /// Opens the database at `path`, and creates it if it does not exist; nobody else may have it
    /// open.
    ///
    /// Until [`Catalog::settle`] has succeeded, closing the database leaves its files unchanged, so
    /// that a refused directory can still be examined.
    pub fn open(path: &Path) -> Result<Self, Error> {
        pingthings_sqlite::install();
        rewrite_log(path)?;
        let connect = || {
            let connection = Connection::open(path).map_err(failed("open"))?;
            set_merge_on_close(&connection, false)?;
            Ok::<_, Error>(connection)
        };
        let writer = connect()?;
        prepare(&writer, path)?;
        checksum::check(&writer)?;
        let reader = connect()?;
        checksum::install(&reader)?;
        reader
            .pragma_update(None, "query_only", true)
            .map_err(failed("open"))?;
        Ok(Self {
            writer: Mutex::new(writer),
            reader: Some(Mutex::new(reader)),
            uri: uri_of(path),
            change: AtomicU64::new(0),
        })
    }

    /// An empty catalog in memory.
    pub fn in_memory() -> Result<Self, Error> {
        // A unique name lets other connections of this process read it.
        let uri = format!("file:/{}?vfs=memdb", Uuid::new_v4());
        pingthings_sqlite::install();
        let writer = Connection::open(&uri).map_err(failed("open"))?;
        prepare(&writer, Path::new("catalog"))?;
        Ok(Self {
            writer: Mutex::new(writer),
            reader: None,
            uri,
            change: AtomicU64::new(0),
        })
    }

    /// Runs a change in its own transaction.
    fn in_transaction<R>(
        &self,
        action: &'static str,
        change: impl FnOnce(&Connection) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut connection = self.writer.lock();
        let transaction = connection.transaction().map_err(failed(action))?;
        let result = change(&transaction)?;
        self.write_change_number(&transaction)?;
        transaction.commit().map_err(failed(action))?;
        Ok(result)
    }

    /// Writes the number of the change within its transaction.
    fn write_change_number(&self, transaction: &Connection) -> Result<(), Error> {
        let number = signed(self.change.load(Ordering::Acquire));
        let updated = transaction
            .prepare_cached(
                "update state set change = ?1, crc = checksum(id, ?1)
                 where change <= ?1 and whole('state', crc, id, change)",
            )
            .and_then(|mut statement| statement.execute([number]))
            .map_err(failed("change"))?;
        if updated == 1 {
            Ok(())
        } else {
            Err(damaged(format!("it already has a change after {number}")))
        }
    }

    fn read(&self) -> MutexGuard<'_, Connection> {
        self.reader.as_ref().unwrap_or(&self.writer).lock()
    }
}

/// Sets whether closing the last connection merges the write-ahead log into the database.
fn set_merge_on_close(connection: &Connection, is_merged: bool) -> Result<(), Error> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !is_merged)
        .map(|_| ())
        .map_err(failed("open"))
}

/// Rewrites the write-ahead log that an earlier process left, byte for byte, and syncs it.
///
/// That process may have died after a failed sync. Then the system may show bytes that are not on
/// the disk and consider them written, and `SQLite` would build on them.
fn rewrite_log(path: &Path) -> Result<(), Error> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = Path::new(&log);
    let failed = |action| move |e| io_error(action, log.display(), e);
    let mut file = match OpenOptions::new().read(true).write(true).open(log) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("open"))?,
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed("read"))?;
    file.rewind()
        .and_then(|()| file.write_all(&bytes))
        .and_then(|()| file.sync_all())
        .map_err(failed("write"))?;
    let folder = match log.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    sync_folder(folder).map_err(failed("sync"))
}

fn prepare(connection: &Connection, path: &Path) -> Result<(), Error> {
    let set = |pragma: &str, value: &str| {
        connection
            .pragma_update(None, pragma, value)
            .map_err(failed("prepare"))
    };
    set("journal_mode", "wal")?;
    set("synchronous", "full")?;
    connection
        .busy_timeout(BUSY_TIMEOUT)
        .map_err(failed("prepare"))?;
    connection.set_prepared_statement_cache_capacity(64);
    checksum::install(connection)?;
    schema::prepare(connection, path)
}

impl Catalog for SqliteCatalog {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn is_unused(&self) -> Result<bool, Error> {
        self.read()
            .query_row(
                "select not exists (select 1 from streams) and not exists (select 1 from burnt)",
                [],
                |row| row.get(0),
            )
            .map_err(failed("read"))
    }

    fn state(&self) -> Result<CatalogState, Error> {
        let row = self
            .read()
            .query_row(
                "select id, change from state where whole('state', crc, id, change)",
                [],
                |row| Ok((Uuid::from_bytes(row.get(0)?), row.get::<_, i64>(1)?)),
            )
            .optional()
            .map_err(failed("read"))?;
        let (id, change) = row.ok_or_else(|| damaged("it has no change number"))?;
        Ok(CatalogState {
            id,
            change: change.unsigned_abs(),
        })
    }

    fn set_change_number(&self, change: u64) {
        self.change.store(change, Ordering::Release);
    }

    fn settle(&self) -> Result<(), Error> {
        self.in_transaction("change", |_| Ok(()))?;
        set_merge_on_close(&self.writer.lock(), true)?;
        match &self.reader {
            Some(reader) => set_merge_on_close(&reader.lock(), true),
            None => Ok(()),
        }
    }

    fn retention_clock(&self) -> Result<Option<i64>, Error> {
        self.read()
            .query_row(
                "select wall_ns from seen where whole('seen', crc, wall_ns)",
                [],
                |row| row.get(0),
            )
            .optional()
            .map_err(failed("read"))
    }

    fn set_retention_clock(&self, wall_ns: i64) -> Result<(), Error> {
        self.in_transaction("set a retention in", |connection| {
            connection
                .execute(
                    "insert or replace into seen values (1, ?1, checksum(?1))",
                    [wall_ns],
                )
                .map(|_| ())
                .map_err(failed("change"))
        })
    }

    fn segments(&self) -> Result<BTreeMap<u32, SegmentState>, Error> {
        reclaim::segments(&self.read())
    }

    fn commit(&self, commits: &[Commit], segments: &BTreeMap<u32, u64>) -> Result<(), Error> {
        let failed = failed("commit to");
        let mut connection = self.writer.lock();
        let transaction = connection.transaction().map_err(&failed)?;
        {
            let mut insert = transaction
                .prepare_cached(
                    "insert into versions
                     values (?1, ?2, ?3, ?4, ?5, ?6, checksum(?1, ?2, ?3, ?4, ?5, ?6))",
                )
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
                .prepare_cached(
                    "insert into segments (number, length, crc)
                     values (?1, ?2, checksum(?1, ?2, 0))
                     on conflict do update set length = excluded.length,
                         crc = checksum(number, excluded.length, generation)
                     where length < excluded.length
                         and whole('segments', segments.crc, number, segments.length, generation)",
                )
                .map_err(&failed)?;
            for (number, length) in segments {
                grow.execute(params![number, signed(*length)])
                    .map_err(&failed)?;
            }
        }
        self.write_change_number(&transaction)?;
        transaction.commit().map_err(&failed)
    }

    fn create(&self, stream: &NewStream, wall_ns: i64) -> Result<(), Error> {
        let failed = failed("create a stream in");
        let mut connection = self.writer.lock();
        let transaction = connection.transaction().map_err(&failed)?;
        descriptors::check_new(&transaction, stream)?;
        let id = descriptors::insert(&transaction, stream, wall_ns)?;
        transaction
            .execute(
                "insert into versions
                 values (?1, ?2, null, null, null, ?3, checksum(?1, ?2, null, null, null, ?3))",
                params![id, signed(FIRST_MAJOR), wall_ns],
            )
            .map_err(&failed)?;
        self.write_change_number(&transaction)?;
        transaction
            .commit()
            .map_err(|source| match source.sqlite_error_code() {
                Some(ErrorCode::ConstraintViolation) => damaged("a uuid occurs twice"),
                _ => failed(source),
            })
    }

    fn head(&self, uuid: Uuid) -> Result<Head, Error> {
        let connection = self.read();
        let mut statement = connection
            .prepare_cached(
                "select v.stream, v.major, v.segment, v.offset, v.length from versions v
                 join streams s on s.id = v.stream
                 where s.uuid = ?1 and whole('versions', v.crc, v.stream, v.major, v.segment,
                     v.offset, v.length, v.wall_ns)
                 order by v.major desc limit 1",
            )
            .map_err(failed("read"))?;
        let row = statement
            .query_row([uuid.as_bytes()], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?, root_columns(row, 2)?))
            })
            .optional()
            .map_err(failed("read"))?;
        let (stream, major, columns) = row.ok_or(Error::NoSuchStream { uuid })?;
        let major = u64::try_from(major).map_err(|_| damaged("a version has no number"))?;
        Ok(Head {
            stream,
            major,
            root: address(columns)?,
        })
    }

    fn is_uuid_retired(&self, uuid: Uuid) -> Result<bool, Error> {
        descriptors::is_uuid_retired(&self.read(), uuid)
    }

    fn root(&self, stream: i64, major: u64) -> Result<Option<Option<Address>>, Error> {
        let connection = self.read();
        let mut statement = connection
            .prepare_cached(
                "select segment, offset, length from versions where stream = ?1 and major = ?2
                 and whole('versions', crc, stream, major, segment, offset, length, wall_ns)",
            )
            .map_err(failed("read"))?;
        let row = statement
            .query_row(params![stream, signed(major)], |row| root_columns(row, 0))
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
        self.in_transaction("obliterate a stream in", |connection| {
            properties::obliterate(connection, uuid)
        })
    }

    fn change_properties(
        &self,
        uuid: Uuid,
        change: &PropertyChange,
        wall_ns: i64,
    ) -> Result<u64, Error> {
        self.in_transaction("change a stream in", |connection| {
            properties::change_properties(connection, uuid, change, wall_ns)
        })
    }

    fn annotation_usage(&self, prefix: &str) -> Result<Vec<(String, u64)>, Error> {
        properties::annotation_usage(&self.read(), prefix)
    }

    fn version_at(&self, stream: i64, wall_ns: i64) -> Result<Option<u64>, Error> {
        let found = self
            .read()
            .prepare_cached(
                "select max(major) from versions where stream = ?1 and wall_ns <= ?2
                 and whole('versions', crc, stream, major, segment, offset, length, wall_ns)",
            )
            .and_then(|mut statement| {
                statement.query_row(params![stream, wall_ns], |row| row.get::<_, Option<i64>>(0))
            })
            .map_err(failed("read"))?;
        Ok(found.map(i64::unsigned_abs))
    }

    fn set_stream_retention(&self, uuid: Uuid, keep_ns: Option<i64>) -> Result<(), Error> {
        self.in_transaction("set a retention in", |connection| {
            properties::set_stream_retention(connection, uuid, keep_ns)
        })
    }

    fn stream_retention(&self, uuid: Uuid) -> Result<StreamRetention, Error> {
        properties::stream_retention(&self.read(), uuid)
    }

    fn set_collection_retention(
        &self,
        collection: &str,
        retention: CollectionRetention,
    ) -> Result<(), Error> {
        self.in_transaction("set a retention in", |connection| {
            properties::set_collection_retention(connection, collection, retention)
        })
    }

    fn collection_retention(&self, collection: &str) -> Result<CollectionRetention, Error> {
        properties::collection_retention(&self.read(), collection)
    }

    fn records(&self, kind: RecordKind) -> Result<Vec<Record>, Error> {
        records::all(&self.read(), kind)
    }

    fn record(&self, kind: RecordKind, id: i64) -> Result<Record, Error> {
        records::one(&self.read(), kind, id)
    }

    fn add_record(&self, kind: RecordKind, name: &str, fields: &str) -> Result<Record, Error> {
        self.in_transaction("change", |connection| {
            records::add(connection, kind, name, fields)
        })
    }

    fn change_record(
        &self,
        kind: RecordKind,
        id: i64,
        name: Option<&str>,
        merge: FieldMerge<'_>,
    ) -> Result<Record, Error> {
        self.in_transaction("change", |connection| {
            records::change(connection, kind, id, name, merge)
        })
    }

    fn delete_record(&self, kind: RecordKind, id: i64) -> Result<(), Error> {
        self.in_transaction("change", |connection| records::delete(connection, kind, id))
    }

    fn streams_with_retention(&self) -> Result<Vec<(Uuid, i64)>, Error> {
        properties::streams_with_retention(&self.read())
    }

    fn forget_versions(&self, stream: i64, wall_ns: i64) -> Result<usize, Error> {
        self.in_transaction("reclaim space in", |connection| {
            reclaim::forget_versions(connection, stream, wall_ns)
        })
    }

    fn streams_with_superseded_versions(&self, wall_ns: i64) -> Result<Vec<Uuid>, Error> {
        reclaim::streams_with_superseded_versions(&self.read(), wall_ns)
    }

    fn streams_with_forgotten_versions(&self) -> Result<Vec<i64>, Error> {
        reclaim::streams_with_forgotten_versions(&self.read())
    }

    fn forgotten_versions(&self, stream: i64) -> Result<ForgottenVersions, Error> {
        reclaim::forgotten_versions(&self.read(), stream)
    }

    fn drop_forgotten_versions(&self, stream: i64, last: u64, holes: &[Hole]) -> Result<(), Error> {
        self.in_transaction("reclaim space in", |connection| {
            reclaim::drop_forgotten_versions(connection, stream, last, holes)
        })
    }

    fn holes(&self) -> Result<Vec<Hole>, Error> {
        reclaim::holes(&self.read())
    }

    fn set_generation(&self, segment: u32, generation: u32, holes: &[Hole]) -> Result<(), Error> {
        self.in_transaction("reclaim space in", |connection| {
            reclaim::set_generation(connection, segment, generation, holes)
        })
    }

    fn remove_segment(&self, segment: u32) -> Result<(), Error> {
        self.in_transaction("reclaim space in", |connection| {
            reclaim::remove_segment(connection, segment)
        })
    }

    fn shrink(&self) -> Result<(), Error> {
        let run = |statement| {
            let connection = self.writer.lock();
            connection
                .execute_batch(statement)
                .map_err(failed("shrink"))
        };
        run("vacuum;")?;
        self.in_transaction("shrink", |_| Ok(()))?;
        run("pragma wal_checkpoint(truncate);")
    }

    fn collections(&self, prefix: &str) -> Result<Vec<String>, Error> {
        descriptors::collections(&self.read(), prefix)
    }
}
