//! Statements that need much memory: each ends with rows or with an expected error, within its
//! budget, and does not disturb others.
//!
//! The statements run in a separate process with a limited address space, whose memory is measured
//! after each of them. The number of random statements is a fourth of `PROPTEST_CASES`.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured"
)]

use std::fs;
use std::ops::ControlFlow;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pingthings_sql::{Cancel, Database, Error, Limits};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use rusqlite::Connection;
use tempfile::TempDir;

const MIB: usize = 1 << 20;
const BUDGET: usize = 16 * MIB;
/// The memory a statement may use besides its budget: its tree, its translation, compiled regular
/// expressions, the longest value while a function builds it, and what the allocator retains.
const SLACK: usize = 96 * MIB;
const STREAMS: u32 = 2000;

/// Statements that are known to need much memory, or once did.
fn known() -> Vec<String> {
    let doubling = |count: usize| {
        let queries: Vec<String> = (1..=count)
            .map(|own| format!("q{own} as (select a.x from q{0} a, q{0} b)", own - 1))
            .collect();
        format!(
            "with q0 as (select 1 as x), {} select count(*) from q{count}",
            queries.join(", ")
        )
    };
    let many = |count: u32, value: &dyn Fn(u32) -> String| {
        let values: Vec<String> = (0..count).map(value).collect();
        format!("select {}", values.join(", "))
    };
    let nested = (0..12).fold("name".to_owned(), |inner, _| {
        format!("(case when {inner} > any(array['a', {inner}]) then 'b' else 'c' end)")
    });
    vec![
        doubling(30),
        doubling(12),
        doubling(11),
        many(100, &|_| "repeat('a', 16000000)".to_owned()),
        many(100, &|own| format!("repeat('a', {})", 4_000_000 - own)),
        many(400, &|own| {
            format!("length(lpad('a', {}))", 4_000_000 - own)
        }),
        many(100, &|own| format!("repeat(chr(1), {})", 600_000 - own)),
        many(15_000, &|own| own.to_string()),
        format!("select {nested} from streams"),
        "select count(distinct s.uuid::text || t.uuid::text) from streams s, streams t".to_owned(),
        "select * from streams s, streams t order by s.name, t.uuid".to_owned(),
        "select distinct s.uuid, t.uuid from streams s, streams t".to_owned(),
        "select s.uuid from streams s, streams t union select t.uuid from streams s, streams t \
         order by 1"
            .to_owned(),
        "select string_agg(s.name, repeat('x', 1000)) over (order by s.uuid) from streams s"
            .to_owned(),
        "select array_agg(repeat(s.name, 100)), json_agg(repeat(s.name, 100)), \
         string_agg(repeat(s.name, 100), ',') from streams s group by s.collection"
            .to_owned(),
        "select cardinality(string_to_array(repeat(',', 4000000), ','))".to_owned(),
        "select jsonb_array_length(('[' || repeat('1,', 2000000) || '1]')::jsonb)".to_owned(),
        "select ('[' || repeat('[', 90) || repeat(']', 90) || ']')::jsonb @> '[1]'".to_owned(),
        "select repeat('a=>1,', 800000)::hstore".to_owned(),
        "select count(*) from unnest(string_to_array(repeat('a,', 30000), ',')) a, \
         unnest(string_to_array(repeat('a,', 30000), ',')) b"
            .to_owned(),
        "select regexp_replace(repeat('a', 1000000), '(a*)', repeat('\\1', 1000), 'g')".to_owned(),
        "select repeat('a', 4000000) like '%' || repeat('a', 1000000) || 'b'".to_owned(),
        "select length(translate(repeat('a', 4000000), repeat('b', 4000000), ''))".to_owned(),
        "select repeat('a', 60000) ~ '([ab]?){300}c'".to_owned(),
        "select count(*) from streams a, streams b, streams c, streams d".to_owned(),
    ]
}

/// Text expressions that produce long results from short text.
fn text() -> impl Strategy<Value = String> {
    let count = || select(vec![0, 3, 1000, 50_000, 1_000_000, 4_000_000, 16_000_000]);
    let leaf = prop_oneof![
        Just("'a'".to_owned()),
        Just("','".to_owned()),
        Just("chr(1)".to_owned()),
        Just("s.name".to_owned()),
        Just("s.uuid::text".to_owned()),
        Just("s.annotations::text".to_owned()),
    ];
    leaf.prop_recursive(5, 24, 3, move |inner| {
        let one = (
            inner.clone(),
            count(),
            select(vec!["repeat", "lpad", "rpad", "left", "right"]),
        );
        let alone = (
            inner.clone(),
            select(vec![
                "upper({})",
                "reverse({})",
                "initcap({})",
                "quote_literal({})",
                "array[{}]::text",
                "length({})::text",
                "string_to_array({}, 'a')::text",
                "cardinality(string_to_array({}, null))::text",
                "(select string_agg({}, ',') from streams t)",
                "(select array_agg({})::text from streams t)",
                "(select json_agg({})::text from streams t)",
                "(select max({}) from streams t)",
                "(select string_agg(value, ',') from each(hstore('k', {})))",
                "(select count(*)::text from unnest(string_to_array({}, 'a')) u)",
                "jsonb_array_length(('[' || replace({}, 'a', '1,') || '1]')::jsonb)::text",
            ]),
        );
        let two = (
            inner.clone(),
            inner,
            select(vec![
                "({} || {})",
                "concat({0}, {0}, {1})",
                "replace({}, 'a', {})",
                "translate({}, {}, 'xyz')",
                "btrim({}, {})",
                "regexp_replace({}, 'a+', {}, 'g')",
                "array_to_string(string_to_array({}, 'a'), {})",
                "split_part({}, {}, -2)",
                "({} like {})::text",
                "({} ~ '([ab]?){{200}}c' or {} = '')::text",
                "(string_to_array({}, 'a') && string_to_array({}, 'b'))::text",
                "greatest({}, {})",
                "coalesce({}, {})",
            ]),
        );
        prop_oneof![
            one.prop_map(|(inner, count, name)| format!("{name}({inner}, {count})")),
            alone.prop_map(|(inner, form)| form.replace("{}", &inner)),
            two.prop_map(|(left, right, form)| {
                form.replace("{0}", &left)
                    .replace("{1}", &right)
                    .replacen("{}", &left, 1)
                    .replace("{}", &right)
                    .replace("{{", "{")
                    .replace("}}", "}")
            }),
        ]
    })
}

fn statement() -> impl Strategy<Value = String> {
    let form = select(vec![
        "select {0} from streams s",
        "select {0}, {1}, {0}, {1} from streams s",
        "select distinct {0}, s.uuid from streams s",
        "select count(distinct {0} || t.name) from streams s, streams t",
        "select s.uuid, {0} from streams s, streams t order by {0}, t.uuid",
        "select s.collection, string_agg({0}, {1}), array_agg({1}) from streams s group by 1",
        "select json_agg({0} order by {1}), count(distinct {0}) from streams s",
        "select string_agg({0}, ',') over (order by s.uuid rows 100 preceding) from streams s",
        "select lag({0}, 50) over (partition by s.collection order by {1}) from streams s",
        "select {0} from streams s union select {1} from streams s",
        "with q as (select {0} as x from streams s), r as (select a.x from q a, q b), \
         u as (select a.x from r a, r b) select count(*), max(x) from u",
        "select count(*) from streams s join (select {1} as x from streams s) t on t.x = {0}",
        "select {0} from streams s where {1} in (select {0} from streams s)",
        "select * from streams s, streams t, streams u where {0} < {1} order by t.name",
    ]);
    (form, text(), text())
        .prop_map(|(form, first, second)| form.replace("{0}", &first).replace("{1}", &second))
}

fn status(key: &str) -> usize {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// The peak memory of this process while `work` ran, minus the memory before.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    // Resets the peak to the current value.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    let result = work();
    (result, status("VmHWM").saturating_sub(before))
}

fn catalog() -> (TempDir, Database) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("catalog.sqlite");
    let database = Database::new(format!("file:{}", path.display()));
    let connection = Connection::open(&path).unwrap();
    connection
        .pragma_update(None, "journal_mode", "wal")
        .unwrap();
    connection
        .execute_batch(include_str!("catalog.sql"))
        .unwrap();
    connection
        .execute_batch(&format!(
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < {STREAMS})
             insert into streams select i, randomblob(16), 'c/' || (i / 100), 'n' || i, 'volts',
                '', '', 1, 0, 0 from n;
             insert into annotations select id, 'k', name from streams;"
        ))
        .unwrap();
    (directory, database)
}

/// The work of the child process.
fn run_statements(statements: &[String]) {
    let (directory, database) = catalog();
    let limits = Limits {
        time: Duration::from_millis(500),
        rows: 10_000,
        memory: BUDGET,
        now_ns: 0,
    };
    // Another statement and a writer of the catalog, neither of which may be affected.
    let is_finished = AtomicBool::new(false);
    let path = directory.path().join("catalog.sqlite");
    let patient = Limits {
        time: Duration::from_mins(1),
        ..limits
    };
    thread::scope(|scope| {
        let others = scope.spawn(|| {
            let writer = Connection::open(&path).unwrap();
            writer.busy_timeout(Duration::from_mins(1)).unwrap();
            let cancel = Cancel::default();
            while !is_finished.load(Ordering::Relaxed) {
                writer
                    .execute(
                        "update streams set property_version = property_version + 1
                         where id % 100 = 0",
                        [],
                    )
                    .unwrap();
                database
                    .query(
                        "select count(*) from streams",
                        &[],
                        &patient,
                        &cancel,
                        |row| {
                            assert_eq!(row, format!("{{\"count\":{STREAMS}}}"));
                            ControlFlow::Continue(())
                        },
                    )
                    .unwrap();
            }
        });
        let mut most = 0;
        let mut counts = std::collections::BTreeMap::new();
        for text in statements {
            let shown: String = text.chars().take(300).collect();
            let cancel = Cancel::default();
            let (result, bytes) =
                peak(|| database.query(text, &[], &limits, &cancel, |_| ControlFlow::Continue(())));
            let end = match &result {
                Ok(()) => "rows",
                Err(Error::Memory(_)) => "memory",
                Err(Error::Time(_)) => "time",
                Err(Error::Rows(_) | Error::Row(_)) => "too many rows",
                Err(Error::Value(_)) => "value",
                Err(Error::Statement { .. }) => "statement",
                Err(error) => panic!("{error}: {shown}"),
            };
            *counts.entry(end).or_insert(0) += 1;
            most = most.max(bytes);
            assert!(bytes <= BUDGET + SLACK, "{} MiB: {shown}", bytes / MIB);
        }
        println!("most {} MiB beside; ended by {counts:?}", most / MIB);
        is_finished.store(true, Ordering::Relaxed);
        others.join().unwrap();
    });
}

#[test]
fn no_statement_takes_more_than_its_budget() {
    const CHILD: &str = "PINGTHINGS_SQL_MEMORY_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let cases = Config::default().cases / 4;
        let mut runner = TestRunner::deterministic();
        if std::env::var_os("STORAGE_LONG").is_some() {
            runner = TestRunner::new(Config::default());
        }
        let mut statements = known();
        for _ in 0..cases {
            statements.push(statement().new_tree(&mut runner).unwrap().current());
        }
        run_statements(&statements);
        return;
    }
    // 32 MiB for the stack of the translator, and 64 MiB that the allocator reserves for each
    // thread.
    let kib = (BUDGET + SLACK + 640 * MIB) / 1024;
    let done = Command::new("sh")
        .args(["-c", &format!("ulimit -v {kib}; exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "no_statement_takes_more_than_its_budget",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    assert!(done.status.success(), "{out}\n{err}");
    println!("{out}");
}
