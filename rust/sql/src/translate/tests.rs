//! Tests of the translated text, and of the position of refusals.

use super::{Translation, translate};
use crate::database::on_deep_stack;
use crate::error::{Error, Position};
use crate::parse::parse;
use crate::types::Type;

fn translated(text: &str, parameters: &[&str]) -> Result<Translation, Error> {
    let parameters: Vec<String> = parameters.iter().map(|&own| own.to_owned()).collect();
    on_deep_stack(|| translate(&parse(text)?, &parameters, 0))
}

fn sql(text: &str) -> String {
    translated(text, &[]).unwrap().sql
}

fn position(text: &str) -> (String, Option<Position>) {
    match translated(text, &[]) {
        Err(Error::Statement { problem, position }) => (problem, position),
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_in_the_translated_text_are_generated() {
    assert_eq!(
        sql("select \"n\" as \"x; drop\" from (select name as \"n\" from streams) as \"t'\""),
        "select t2.c1 as c1 from (select t1.name as c1 from public_streams as t1) as t2"
    );
}

#[test]
fn constants_are_quoted_and_typed() {
    assert_eq!(
        sql("select 'it''s' from streams where uuid = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"),
        "select 'it''s' as c1 from public_streams as t1 \
         where (t1.uuid = x'a0eebc999c0b4ef8bb6d6bb9bd380a11')"
    );
}

#[test]
fn an_index_can_serve_an_equality() {
    let own = translated("select name from streams where collection = $1", &["a"]).unwrap();
    assert_eq!(
        own.sql,
        "select t1.name as c1 from public_streams as t1 where (t1.collection = ?1)"
    );
    assert_eq!(own.values, ["a".to_owned().into()]);
}

#[test]
fn nulls_come_last_unless_the_order_is_reversed() {
    assert!(sql("select name from streams order by name").ends_with("c1 asc nulls last"));
    assert!(sql("select name from streams order by 1 desc").ends_with("c1 desc nulls first"));
}

#[test]
fn numerics_compare_by_value() {
    assert!(sql("select 1.0 = 2").contains("('1.0' collate pg_numeric) = pg_cast_int4_numeric(2)"));
}

#[test]
fn types_follow_the_rules_of_postgresql() {
    for (expression, kind) in [
        ("1", Type::Int4),
        ("1 + 3000000000", Type::Int8),
        ("1 / 2.0", Type::Numeric),
        ("1.5::float8 + 1", Type::Float8),
        ("round(2)", Type::Float8),
        ("'a' || 1", Type::Text),
        ("count(*)", Type::Int8),
        ("sum(1)", Type::Int8),
        ("sum(property_version)", Type::Numeric),
        ("max(name)", Type::Text),
        ("now() - interval '1 day'", Type::Timestamptz),
        ("now() - now()", Type::Interval),
        ("date '2024-01-01' + 1", Type::Date),
        ("date '2024-01-01' + interval '1 day'", Type::Timestamp),
        ("coalesce(null, 1, 2.5)", Type::Numeric),
        ("array[1, 2]", Type::Array(&Type::Int4)),
        ("akeys('a=>1'::hstore)", Type::TEXT_ARRAY),
        ("'a=>1'::hstore -> 'a'", Type::Text),
        ("'{}'::jsonb -> 'a'", Type::Jsonb),
        ("now() at time zone 'UTC'", Type::Timestamp),
        ("extract(year from now())", Type::Numeric),
    ] {
        let own = translated(
            &format!("select {expression} from streams group by ()"),
            &[],
        );
        let own = own.or_else(|_| translated(&format!("select {expression}"), &[]));
        let own = own.or_else(|_| translated(&format!("select {expression} from streams"), &[]));
        let kinds: Vec<Type> = own.unwrap().columns.iter().map(|own| own.kind).collect();
        assert_eq!(kinds, [kind], "{expression}");
    }
}

#[test]
fn refusals_say_where() {
    assert_eq!(
        position("select name,\n  nope(1)\nfrom streams"),
        (
            "function `nope` is not supported".to_owned(),
            Some(Position { line: 2, column: 3 })
        )
    );
    assert_eq!(
        position("select name from streams where unit = uuid").1,
        Some(Position {
            line: 1,
            column: 39
        })
    );
}

#[test]
fn long_chains_do_not_become_deep_trees() {
    let terms: Vec<String> = (0..900).map(|own| format!("name = 'n{own}'")).collect();
    let text = format!("select uuid from streams where {}", terms.join(" or "));
    assert!(translated(&text, &[]).is_ok());
    let list: Vec<String> = (0..20_000).map(|own| format!("'{own}'")).collect();
    let text = format!(
        "select uuid from streams where name in ({})",
        list.join(",")
    );
    assert!(translated(&text, &[]).is_ok());
}

#[test]
fn too_deep_nesting_is_refused() {
    let deep = [
        format!("select {}1{}", "(".repeat(5000), ")".repeat(5000)),
        format!("select {}1", "- ".repeat(1500)),
        format!("select {}true", "not ".repeat(1500)),
        format!("select 1 {}", "+ 1 ".repeat(1500)),
        format!("select 'a' {}", "|| 'a' ".repeat(1500)),
        format!("select 1 {}", "union all select 1 ".repeat(1500)),
        format!("select '1'{}", "::text".repeat(1500)),
        format!("select x{}", "[1]".repeat(600)),
        format!("select {}1{}", "(select ".repeat(200), ")".repeat(200)),
        format!(
            "select {}1{}",
            "case when true then ".repeat(300),
            " end".repeat(300)
        ),
        format!("select {}1{}", "coalesce(".repeat(1000), ")".repeat(1000)),
        format!("select null::int{}", "[]".repeat(900)),
        format!(
            "select 1 from {}streams{}",
            "(".repeat(300),
            ")".repeat(300)
        ),
        format!("with {} select 1", "a as (with ".repeat(300)),
        format!("select {}", "interval ".repeat(1000)),
        format!("select {}", "array[".repeat(1000)),
        format!("select 1 {}", "where exists (select 1 ".repeat(300)),
    ];
    for text in deep {
        assert!(translated(&text, &[]).is_err(), "{}", &text[..60]);
    }
}

/// The opening and closing text of one level of nesting.
const LEVELS: [(&str, &str); 30] = [
    ("(", ")"),
    ("array[", "]"),
    ("coalesce(", ")"),
    ("row(1, ", ")"),
    ("(1, ", ")"),
    ("(select ", ")"),
    ("(select 1 from ", ") t"),
    ("case when true then ", " end"),
    ("cast(", " as int)"),
    ("1 in (", ")"),
    ("exists (select ", ")"),
    ("1 = any (", ")"),
    ("not ", ""),
    ("- ", ""),
    ("interval ", ""),
    ("date ", ""),
    ("int(", ")"),
    ("timestamp(", ")"),
    ("extract(year from ", ")"),
    ("substring(", ")"),
    ("position('a' in ", ")"),
    ("trim(both from ", ")"),
    ("count(*) filter (where 1 = ", ")"),
    ("sum(1) over (order by ", ")"),
    ("a[", "]"),
    ("f(x -> ", ")"),
    ("f(x => ", ")"),
    ("struct(", ")"),
    ("unnest(", ")"),
    ("{'a': ", "}"),
];

/// The parser backtracks in places. If it did so at every level, this would not end.
#[test]
fn nesting_takes_no_exponential_time() {
    for (open, close) in LEVELS {
        for depth in [5, 30, 60] {
            for core in ["1", "1 1", ""] {
                let (open, close) = (open.repeat(depth), close.repeat(depth));
                for text in [
                    format!("select {open}{core}{close}"),
                    format!("select {open}{core}"),
                    format!("select 1 from {open}{core}{close}"),
                    format!("select 1 from {open}{core}"),
                    format!("{open}select {core}{close}"),
                ] {
                    let _any = on_deep_stack(|| parse(&text).map(|_| ()));
                }
            }
        }
    }
}
