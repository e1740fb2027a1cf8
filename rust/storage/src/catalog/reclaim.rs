//! Forgotten versions, and the holes that their blocks leave.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::values::{address, damaged, failed, root_columns, signed};
use super::{ForgottenVersions, Hole, SegmentState};
use crate::Error;
use crate::tree::Address;

const ACTION: &str = "reclaim space in";

/// Forgets every version of a stream.
pub(super) fn forget_all_versions(connection: &Connection, stream: i64) -> Result<(), Error> {
    forget_before(connection, stream, i64::MAX).map(|_| ())
}

/// Forgets the versions of a stream that were superseded at or before `wall_ns`, and returns how
/// many there were.
pub(super) fn forget_versions(
    connection: &Connection,
    stream: i64,
    wall_ns: i64,
) -> Result<usize, Error> {
    let first_kept: Option<i64> = connection
        .prepare_cached(
            "select max(major) from versions where stream = ?1 and wall_ns <= ?2
             and whole('versions', crc, stream, major, segment, offset, length, wall_ns)",
        )
        .and_then(|mut statement| statement.query_row(params![stream, wall_ns], |row| row.get(0)))
        .map_err(failed("read"))?;
    match first_kept {
        Some(major) => forget_before(connection, stream, major),
        None => Ok(0),
    }
}

fn forget_before(connection: &Connection, stream: i64, before: i64) -> Result<usize, Error> {
    connection
        .prepare_cached(
            "insert into doomed
             select stream, major, segment, offset, length,
                 checksum(stream, major, segment, offset, length)
             from versions where stream = ?1 and major < ?2 and segment is not null
             and whole('versions', crc, stream, major, segment, offset, length, wall_ns)",
        )
        .and_then(|mut statement| statement.execute(params![stream, before]))
        .map_err(failed(ACTION))?;
    connection
        .prepare_cached("delete from versions where stream = ?1 and major < ?2")
        .and_then(|mut statement| statement.execute(params![stream, before]))
        .map_err(failed(ACTION))
}

/// The streams with versions that were superseded at or before `wall_ns`.
pub(super) fn streams_with_superseded_versions(
    connection: &Connection,
    wall_ns: i64,
) -> Result<Vec<Uuid>, Error> {
    let mut statement = connection
        .prepare_cached(
            "select s.uuid from versions v join streams s on s.id = v.stream
             where v.wall_ns <= ?1 group by s.id having count(*) > 1",
        )
        .map_err(failed("read"))?;
    let rows = statement
        .query_map([wall_ns], |row| Ok(Uuid::from_bytes(row.get(0)?)))
        .map_err(failed("read"))?;
    rows.collect::<Result<_, _>>().map_err(failed("read"))
}

/// The streams with forgotten versions.
pub(super) fn streams_with_forgotten_versions(connection: &Connection) -> Result<Vec<i64>, Error> {
    let mut statement = connection
        .prepare_cached("select distinct stream from doomed")
        .map_err(failed("read"))?;
    let rows = statement
        .query_map([], |row| row.get(0))
        .map_err(failed("read"))?;
    rows.collect::<Result<_, _>>().map_err(failed("read"))
}

/// The forgotten versions of a stream, and its oldest kept one.
pub(super) fn forgotten_versions(
    connection: &Connection,
    stream: i64,
) -> Result<ForgottenVersions, Error> {
    let mut statement = connection
        .prepare_cached(
            "select segment, offset, length, major from doomed where stream = ?1
             and whole('doomed', crc, stream, major, segment, offset, length) order by major",
        )
        .map_err(failed("read"))?;
    let rows = statement
        .query_map([stream], |row| {
            let root = Address {
                segment: row.get(0)?,
                offset: row.get(1)?,
                length: row.get(2)?,
            };
            Ok((root, row.get::<_, i64>(3)?.unsigned_abs()))
        })
        .map_err(failed("read"))?;
    let rows: Vec<(Address, u64)> = rows.collect::<Result<_, _>>().map_err(failed("read"))?;
    let oldest = connection
        .prepare_cached(
            "select segment, offset, length from versions where stream = ?1
             and whole('versions', crc, stream, major, segment, offset, length, wall_ns)
             order by major limit 1",
        )
        .and_then(|mut statement| {
            statement
                .query_row([stream], |row| root_columns(row, 0))
                .optional()
        })
        .map_err(failed("read"))?;
    Ok(ForgottenVersions {
        last: rows.last().map_or(0, |(_, major)| *major),
        roots: rows.into_iter().map(|(root, _)| root).collect(),
        oldest_kept: oldest.map(address).transpose()?.flatten(),
    })
}

/// Drops the forgotten versions of a stream up to `last`, whose blocks were in `holes`.
pub(super) fn drop_forgotten_versions(
    connection: &Connection,
    stream: i64,
    last: u64,
    holes: &[Hole],
) -> Result<(), Error> {
    add_holes(connection, holes)?;
    connection
        .execute(
            "delete from doomed where stream = ?1 and major <= ?2",
            params![stream, signed(last)],
        )
        .map(|_| ())
        .map_err(failed(ACTION))
}

/// Adds holes.
pub(super) fn add_holes(connection: &Connection, holes: &[Hole]) -> Result<(), Error> {
    let mut insert = connection
        .prepare_cached(
            "insert or replace into holes
             values (?1, ?2, ?3, ?4, checksum(?1, ?2, ?3, ?4))",
        )
        .map_err(failed(ACTION))?;
    for hole in holes {
        let length = signed(hole.length);
        insert
            .execute(params![hole.segment, hole.offset, length, hole.is_gone])
            .map_err(failed(ACTION))?;
    }
    Ok(())
}

/// All holes, by segment and offset.
pub(super) fn holes(connection: &Connection) -> Result<Vec<Hole>, Error> {
    let mut statement = connection
        .prepare_cached(
            "select segment, offset, length, is_gone from holes
             where whole('holes', crc, segment, offset, length, is_gone) order by 1, 2",
        )
        .map_err(failed("read"))?;
    let rows = statement
        .query_map([], |row| {
            Ok(Hole {
                segment: row.get(0)?,
                offset: row.get(1)?,
                length: row.get::<_, i64>(2)?.unsigned_abs(),
                is_gone: row.get(3)?,
            })
        })
        .map_err(failed("read"))?;
    rows.collect::<Result<_, _>>().map_err(failed("read"))
}

/// Records that a segment is in a file of another generation now, without `holes`.
pub(super) fn set_generation(
    connection: &Connection,
    segment: u32,
    generation: u32,
    holes: &[Hole],
) -> Result<(), Error> {
    connection
        .execute("delete from holes where segment = ?1", [segment])
        .map_err(failed(ACTION))?;
    add_holes(connection, holes)?;
    let updated = connection
        .execute(
            "update segments set generation = ?2, crc = checksum(number, length, ?2)
             where number = ?1 and whole('segments', crc, number, length, generation)",
            params![segment, generation],
        )
        .map_err(failed(ACTION))?;
    if updated == 1 {
        Ok(())
    } else {
        Err(damaged(format!("segment {segment} is missing")))
    }
}

/// Removes a segment and its holes.
pub(super) fn remove_segment(connection: &Connection, segment: u32) -> Result<(), Error> {
    for sql in [
        "delete from holes where segment = ?1",
        "delete from segments where number = ?1",
    ] {
        connection.execute(sql, [segment]).map_err(failed(ACTION))?;
    }
    Ok(())
}

/// The committed segments.
pub(super) fn segments(connection: &Connection) -> Result<BTreeMap<u32, SegmentState>, Error> {
    let mut statement = connection
        .prepare_cached(
            "select number, length, generation from segments
             where whole('segments', crc, number, length, generation)",
        )
        .map_err(failed("read"))?;
    let rows = statement
        .query_map([], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?))
        })
        .map_err(failed("read"))?;
    rows.map(|row| {
        let (number, length, generation) = row.map_err(failed("read"))?;
        let length = u64::try_from(length).map_err(|_| damaged("a segment has no length"))?;
        Ok((number, SegmentState { length, generation }))
    })
    .collect()
}
