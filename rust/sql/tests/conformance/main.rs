//! Runs the statements of `tests/sql` with this crate and with a real `PostgreSQL` 15 with hstore,
//! and expects the same rows, column names and JSON. Unsupported statements must be refused by
//! name.

mod catalog;
mod postgresql;
mod statements;

use std::ops::ControlFlow;
use std::time::Duration;

use pingthings_sql::{Cancel, Database, Error, Limits};
use pingthings_types::Code;

use catalog::Catalog;
use postgresql::PostgreSql;
use statements::Statement;

const LIMITS: Limits = Limits {
    time: Duration::from_secs(20),
    rows: 100_000,
    memory: 256 << 20,
    now_ns: 1_700_000_000_000_000_000,
};

fn ours(database: &Database, statement: &Statement) -> Result<Vec<String>, String> {
    let mut rows = Vec::new();
    database
        .query(
            &statement.sql,
            &statement.parameters,
            &LIMITS,
            &Cancel::default(),
            |row| {
                rows.push(row);
                ControlFlow::Continue(())
            },
        )
        .map_err(|error| error.to_string())?;
    Ok(rows)
}

#[test]
fn statements_return_what_postgresql_returns() {
    let Some(postgresql) = PostgreSql::start() else {
        return;
    };
    let catalog = Catalog::new();
    let database = catalog.database();
    let statements = statements::read("queries.sql");
    assert!(statements.len() >= 60);
    let mut differences = Vec::new();
    for statement in &statements {
        let theirs = postgresql.rows(statement);
        let own = ours(&database, statement);
        if own != theirs {
            differences.push(format!(
                "{}\n  ours   {own:?}\n  theirs {theirs:?}",
                statement.name
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} differ:\n{}",
        differences.len(),
        statements.len(),
        differences.join("\n")
    );
}

#[test]
fn refused_statements_say_why() {
    let catalog = Catalog::new();
    let database = catalog.database();
    let statements = statements::read("refused.sql");
    assert!(statements.len() >= 20);
    let mut differences = Vec::new();
    for statement in &statements {
        let wanted = statement.refused.as_deref().expect("a message");
        match ours(&database, statement) {
            Err(message) if message.contains(wanted) => {}
            other => differences.push(format!("{}: {other:?}", statement.name)),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn refused_statements_are_errors_in_postgresql_or_documented() {
    let Some(postgresql) = PostgreSql::start() else {
        return;
    };
    let different: Vec<String> = statements::read("refused.sql")
        .into_iter()
        .filter(|statement| postgresql.rows(statement).is_ok() != statement.is_allowed_there)
        .map(|statement| statement.name)
        .collect();
    assert!(different.is_empty(), "{different:?}");
}

#[test]
fn a_statement_that_takes_too_long_is_stopped_and_the_next_one_runs() {
    let catalog = Catalog::new();
    let database = catalog.database();
    let limits = Limits {
        time: Duration::from_millis(50),
        ..LIMITS
    };
    let tables: Vec<String> = (0..12).map(|own| format!("streams s{own}")).collect();
    let endless = format!("select count(*) from {}", tables.join(", "));
    let result = database.query(&endless, &[], &limits, &Cancel::default(), |_| {
        ControlFlow::Continue(())
    });
    assert!(matches!(result, Err(Error::Time(_))), "{result:?}");
    let rows = ours(
        &database,
        &statements::plain("select count(*) from streams"),
    );
    assert_eq!(rows.unwrap(), [r#"{"count":8}"#]);
}

#[test]
fn too_many_rows_are_an_error_after_those_that_were_allowed() {
    let catalog = Catalog::new();
    let limits = Limits { rows: 3, ..LIMITS };
    let mut count = 0;
    let result = catalog.database().query(
        "select name from streams",
        &[],
        &limits,
        &Cancel::default(),
        |_| {
            count += 1;
            ControlFlow::Continue(())
        },
    );
    assert!(matches!(result, Err(Error::Rows(3))), "{result:?}");
    assert_eq!(count, 3);
}

#[test]
fn a_caller_can_stop_the_rows() {
    let catalog = Catalog::new();
    let mut count = 0;
    let result = catalog.database().query(
        "select name from streams",
        &[],
        &LIMITS,
        &Cancel::default(),
        |_| {
            count += 1;
            ControlFlow::Break(())
        },
    );
    assert!(result.is_ok());
    assert_eq!(count, 1);
}

#[test]
fn values_that_grow_without_end_are_refused() {
    let catalog = Catalog::new();
    for text in [
        "select repeat('x', 2000000000)",
        "select repeat(repeat('x', 10000), 10000)",
        "select lpad('x', 2000000000)",
        "select replace(repeat('x', 1000000), 'x', repeat('y', 1000))",
        "select string_agg(repeat(s.name, 100000), ',') from streams s, streams t, streams u",
    ] {
        let result = ours(&catalog.database(), &statements::plain(text));
        assert!(
            result.is_err_and(|message| message.contains("longer than")),
            "{text}"
        );
    }
}

#[test]
fn an_unreadable_catalog_is_a_server_error() {
    let database = Database::new("file:/nowhere/catalog.sqlite".to_owned());
    let result = database.query("select 1", &[], &LIMITS, &Cancel::default(), |_| {
        ControlFlow::Continue(())
    });
    let code = result.map_err(|error| error.code());
    assert_eq!(code, Err(Code::MetadataConnectionError));
    let result = database.query("select", &[], &LIMITS, &Cancel::default(), |_| {
        ControlFlow::Continue(())
    });
    let code = result.map_err(|error| error.code());
    assert_eq!(code, Err(Code::BadSqlValue));
}

#[test]
fn statements_run_at_the_same_time() {
    let catalog = Catalog::new();
    let database = catalog.database();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let rows = ours(
                        &database,
                        &statements::plain("select count(*) from streams"),
                    );
                    assert_eq!(rows.unwrap(), [r#"{"count":8}"#]);
                }
            });
        }
    });
}
