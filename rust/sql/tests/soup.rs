//! Random statements: whatever the input, nothing panics, nothing is written, and nothing outside
//! of the public tables is read.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use pingthings_sql::{Cancel, Database, Limits};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rusqlite::Connection;
use tempfile::TempDir;

/// Words that make valid statements likely, and some that must never be accepted.
const WORDS: &[&str] = &[
    "select",
    "from",
    "where",
    "group by",
    "order by",
    "having",
    "limit",
    "offset",
    "distinct",
    "on",
    "as",
    "and",
    "or",
    "not",
    "in",
    "any",
    "all",
    "exists",
    "case",
    "when",
    "then",
    "else",
    "end",
    "between",
    "like",
    "ilike",
    "similar to",
    "is",
    "null",
    "true",
    "union",
    "union all",
    "intersect",
    "except",
    "with",
    "values",
    "join",
    "left join",
    "full join",
    "using",
    "over",
    "partition by",
    "filter",
    "array",
    "interval",
    "cast",
    "extract",
    "at time zone",
    "collate",
    "streams",
    "collections",
    "devices",
    "units",
    "secrets",
    "sqlite_master",
    "sqlite_schema",
    "public_streams",
    "main",
    "temp",
    "uuid",
    "name",
    "collection",
    "unit",
    "annotations",
    "created_at",
    "property_version",
    "fields",
    "rowid",
    "t",
    "s",
    "x",
    "(",
    ")",
    "(",
    ")",
    ",",
    ",",
    ".",
    "*",
    "+",
    "-",
    "/",
    "%",
    "^",
    "=",
    "<>",
    "<",
    ">",
    "->",
    "->>",
    "?",
    "?|",
    "?&",
    "@>",
    "||",
    "~",
    "~*",
    "::",
    "::text",
    "::int",
    "::hstore",
    "::jsonb",
    "::numeric",
    "[",
    "]",
    ";",
    "'a'",
    "'1'",
    "'a=>1'",
    "'%'",
    "'{a,b}'",
    "'1 day'",
    "'2024-01-01'",
    "1",
    "2.5",
    "1e300",
    "$1",
    "$2",
    "\"",
    "'",
    "--",
    "/*",
    "*/",
    "$$",
    "count(*)",
    "count",
    "sum",
    "max",
    "avg",
    "array_agg",
    "string_agg",
    "json_agg",
    "skeys",
    "each",
    "unnest",
    "coalesce",
    "upper",
    "split_part",
    "regexp_replace",
    "date_trunc",
    "to_char",
    "now()",
    "lag",
    "row_number()",
    "load_extension",
    "readfile",
    "writefile",
    "attach",
    "pragma",
    "insert",
    "delete",
    "update",
    "drop table",
    "create",
    "vacuum",
    "into",
    "set",
    "returning",
    "é",
    "\u{0}",
    "\u{1}",
];

/// Statements with a valid beginning.
fn statement() -> impl Strategy<Value = String> {
    let word = || select(WORDS);
    let loose = vec(word(), 0..30).prop_map(|words| words.join(" "));
    let shaped = (vec(word(), 1..6), vec(word(), 0..8), vec(word(), 0..4)).prop_map(
        |(list, condition, order)| {
            format!(
                "select {} from streams s where {} order by {}",
                list.join(" "),
                condition.join(" "),
                order.join(" ")
            )
        },
    );
    let column = || {
        select(vec![
            "name",
            "s.uuid",
            "annotations",
            "unit",
            "property_version",
            "created_at",
            "1",
            "'a'",
            "null",
            "$1",
            "2.5",
            "annotations->'k'",
            "count(*)",
            "true",
        ])
    };
    let operator = || {
        select(vec![
            "=",
            "<",
            "||",
            "+",
            "-",
            "->",
            "?",
            "@>",
            "like",
            "~",
            "is distinct from",
            "in",
            "similar to",
            "and",
            "* ",
            "/",
        ])
    };
    let typed =
        (vec((column(), operator(), column()), 1..4), column()).prop_map(|(terms, order)| {
            let list: Vec<String> = terms
                .iter()
                .map(|(left, operator, right)| match *operator {
                    "in" => format!("{left} in ({right}, {left})"),
                    _ => format!("({left} {operator} {right})"),
                })
                .collect();
            format!("select {} from streams s order by {order}", list.join(", "))
        });
    prop_oneof![loose, shaped, typed]
}

struct Catalog {
    _directory: TempDir,
    path: PathBuf,
    database: Database,
    bytes: Vec<u8>,
}

#[allow(clippy::expect_used, reason = "a failing setup panics in place")]
static CATALOG: LazyLock<Catalog> = LazyLock::new(|| make().expect("a catalog"));

fn make() -> Result<Catalog, Box<dyn std::error::Error>> {
    let directory = TempDir::new()?;
    let path = directory.path().join("catalog.sqlite");
    // This has to precede the first connection.
    pingthings_sqlite::install();
    let connection = Connection::open(&path)?;
    connection.execute_batch(
        "create table streams (id integer primary key, uuid blob, collection text, name text,
            unit text, ingress text, distiller text, property_version integer,
            created_ns integer, updated_ns integer);
         create table annotations (stream integer, key text, value text);
         create table versions (stream integer, major integer, wall_ns integer);
         create table collection_retention (collection text, keep_ns integer, overrides integer);
         create table devices (id integer, name text, fields text);
         create table units (id integer, name text, fields text);
         create table secrets (word text);
         insert into secrets values ('xyzzy');
         insert into streams values (1, x'00112233445566778899aabbccddeeff', 'c', 'n', 'volts', '',
            '', 1, 0, 0);
         insert into annotations values (1, 'k', 'v');",
    )?;
    drop(connection);
    Ok(Catalog {
        database: Database::new(format!("file:{}", path.display())),
        bytes: std::fs::read(&path)?,
        _directory: directory,
        path,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_statement_panics_or_reads_what_it_may_not(
        statements in vec(statement(), 1..8),
        parameter in ".{0,8}",
    ) {
        let limits = Limits { time: Duration::from_secs(5), rows: 1000, memory: 64 << 20, now_ns: 0 };
        for text in &statements {
            for parameters in [vec![], vec![parameter.clone()]] {
                let mut rows = Vec::new();
                let result = CATALOG.database.query(text, &parameters, &limits, &Cancel::default(), |row| {
                    rows.push(row);
                    ControlFlow::Continue(())
                });
                prop_assert!(rows.iter().all(|row| !row.contains("xyzzy")), "{text}");
                if let Err(error) = result {
                    let message = error.to_string();
                    // SQLite accepts everything that the translator writes.
                    prop_assert!(!message.contains("does not accept"), "{text}: {message}");
                    prop_assert!(!message.contains("may not read"), "{text}: {message}");
                    prop_assert!(!message.contains("database failed"), "{text}: {message}");
                }
            }
        }
        let bytes = std::fs::read(&CATALOG.path)
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&bytes, &CATALOG.bytes);
    }
}
