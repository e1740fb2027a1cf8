//! The statements of `tests/sql` on this crate and on a real `PostgreSQL` 15 with hstore: the same
//! rows, the same column names, the same JSON; and what must be refused, refused by name.

mod catalog;
mod postgresql;
mod statements;

use std::ops::ControlFlow;
use std::time::Duration;

use pingthings_sql::{Database, Limits};

use catalog::Catalog;
use postgresql::PostgreSql;
use statements::Statement;

const LIMITS: Limits = Limits {
    time: Duration::from_secs(20),
    rows: 100_000,
    now_ns: 1_700_000_000_000_000_000,
};

fn ours(database: &Database, statement: &Statement) -> Result<Vec<String>, String> {
    let mut rows = Vec::new();
    database
        .query(&statement.sql, &statement.parameters, &LIMITS, |row| {
            rows.push(row);
            ControlFlow::Continue(())
        })
        .map_err(|error| error.to_string())?;
    Ok(rows)
}

#[test]
fn statements_give_what_postgresql_gives() {
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
fn statements_that_are_not_answered_say_why() {
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
fn what_is_refused_is_an_error_in_postgresql_or_said_to_be_missing() {
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
