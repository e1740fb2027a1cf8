//! A catalog file with the fixture.

#![allow(clippy::unwrap_used, reason = "a failing setup panics in place")]

use pingthings_sql::Database;
use rusqlite::{Connection, params};
use serde_json::Value;
use tempfile::TempDir;

use crate::statements::path;

/// The tables behind the views, as the storage engine creates them.
const SCHEMA: &str = include_str!("../catalog.sql");

pub(crate) struct Catalog {
    directory: TempDir,
}

pub(crate) fn fixture() -> Value {
    serde_json::from_str(&std::fs::read_to_string(path("fixture.json")).unwrap()).unwrap()
}

pub(crate) fn list<'a>(fixture: &'a Value, key: &str) -> &'a Vec<Value> {
    fixture[key].as_array().unwrap()
}

/// Converts `2023-01-31T10:20:30.5Z` to nanoseconds since 1970, with `SQLite`.
fn nanoseconds(connection: &Connection, text: &str) -> i64 {
    let (whole, fraction) = text
        .trim_end_matches('Z')
        .split_once('.')
        .unwrap_or((text.trim_end_matches('Z'), "0"));
    let seconds: i64 = connection
        .query_row("select unixepoch(?1)", [whole], |row| row.get(0))
        .unwrap();
    seconds * 1_000_000_000 + format!("{fraction:0<9}").parse::<i64>().unwrap()
}

impl Catalog {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        // This has to precede the first connection.
        pingthings_sqlite::install();
        let connection = Connection::open(directory.path().join("catalog.sqlite")).unwrap();
        connection
            .pragma_update(None, "journal_mode", "wal")
            .unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let fixture = fixture();
        for stream in list(&fixture, "streams") {
            let text = |key: &str| stream[key].as_str().unwrap();
            let time = |key: &str| nanoseconds(&connection, text(key));
            let uuid = u128::from_str_radix(&text("uuid").replace('-', ""), 16).unwrap();
            connection
                .execute(
                    "insert into streams values (null, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                    params![
                        uuid.to_be_bytes(),
                        text("collection"),
                        text("name"),
                        text("unit"),
                        text("ingress"),
                        text("distiller"),
                        stream["property_version"].as_i64().unwrap(),
                        time("created"),
                        time("updated"),
                    ],
                )
                .unwrap();
            let id = connection.last_insert_rowid();
            for (key, value) in stream["annotations"].as_object().unwrap() {
                connection
                    .execute(
                        "insert into annotations values (?1, ?2, ?3)",
                        params![id, key, value.as_str()],
                    )
                    .unwrap();
            }
            for (major, wall_ns) in [(10, time("created")), (11, time("written"))] {
                connection
                    .execute(
                        "insert into versions values (?1, ?2, ?3)",
                        params![id, major, wall_ns],
                    )
                    .unwrap();
            }
        }
        for retention in list(&fixture, "retention") {
            connection
                .execute(
                    "insert into collection_retention values (?1, ?2, ?3)",
                    params![
                        retention["collection"].as_str(),
                        retention["keep_ns"].as_i64(),
                        retention["override"].as_bool()
                    ],
                )
                .unwrap();
        }
        for table in ["devices", "units"] {
            for row in list(&fixture, table) {
                connection
                    .execute(
                        &format!("insert into {table} values (?1, ?2, ?3)"),
                        params![
                            row["id"].as_i64(),
                            row["name"].as_str(),
                            row["fields"].to_string()
                        ],
                    )
                    .unwrap();
            }
        }
        Self { directory }
    }

    pub(crate) fn database(&self) -> Database {
        let path = self.directory.path().join("catalog.sqlite");
        Database::new(format!("file:{}", path.display()))
    }
}
