//! Versions nobody can ask for any more, and the room their blocks take.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::values::{address, damaged, failed, place, signed};
use super::{Doomed, Hole, SegmentState};
use crate::Error;
use crate::tree::Address;

const ACTION: &str = "reclaim room in";

/// Makes every version of a stream unreachable.
pub(super) fn doom_all(connection: &Connection, stream: i64) -> Result<(), Error> {
    doom(connection, stream, i64::MAX).map(|_| ())
}

/// Makes the versions of a stream unreachable that had a successor at `wall_ns`; gives how many
/// there were.
pub(super) fn forget(connection: &Connection, stream: i64, wall_ns: i64) -> Result<usize, Error> {
    let first_kept: Option<i64> = connection
        .prepare_cached(
            "select max(major) from versions where stream = ?1 and wall_ns <= ?2
             and whole('versions', crc, stream, major, segment, offset, length, wall_ns)",
        )
        .and_then(|mut statement| statement.query_row(params![stream, wall_ns], |row| row.get(0)))
        .map_err(failed("read"))?;
    match first_kept {
        Some(major) => doom(connection, stream, major),
        None => Ok(0),
    }
}

fn doom(connection: &Connection, stream: i64, before: i64) -> Result<usize, Error> {
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

/// The streams that have versions which had a successor at `wall_ns`.
pub(super) fn forgettable(connection: &Connection, wall_ns: i64) -> Result<Vec<Uuid>, Error> {
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

/// The streams whose unreachable versions still have blocks.
pub(super) fn doomed_streams(connection: &Connection) -> Result<Vec<i64>, Error> {
    let mut statement = connection
        .prepare_cached("select distinct stream from doomed")
        .map_err(failed("read"))?;
    let rows = statement
        .query_map([], |row| row.get(0))
        .map_err(failed("read"))?;
    rows.collect::<Result<_, _>>().map_err(failed("read"))
}

/// The unreachable versions of a stream, and its oldest reachable one.
pub(super) fn doomed(connection: &Connection, stream: i64) -> Result<Doomed, Error> {
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
                .query_row([stream], |row| place(row, 0))
                .optional()
        })
        .map_err(failed("read"))?;
    Ok(Doomed {
        last: rows.last().map_or(0, |(_, major)| *major),
        roots: rows.into_iter().map(|(root, _)| root).collect(),
        oldest_kept: oldest.map(address).transpose()?.flatten(),
    })
}

/// The blocks of a stream's unreachable versions up to `last` were found, in `holes`.
pub(super) fn bury(
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

/// Adds ranges nothing leads to.
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

/// The ranges nothing leads to, by segment and offset.
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

/// A segment is in a file of another generation now, without `holes`.
pub(super) fn rewritten(
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
        Err(damaged(format!("segment {segment} is not there")))
    }
}

/// A segment held nothing any more and goes.
pub(super) fn removed(connection: &Connection, segment: u32) -> Result<(), Error> {
    for sql in [
        "delete from holes where segment = ?1",
        "delete from segments where number = ?1",
    ] {
        connection.execute(sql, [segment]).map_err(failed(ACTION))?;
    }
    Ok(())
}

/// The segments that count.
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
