//! Reads the files of statements. Comments before each statement give its name and parameters.

#![allow(clippy::unwrap_used, reason = "a failing setup panics in place")]

use std::path::PathBuf;

pub(crate) struct Statement {
    pub(crate) name: String,
    pub(crate) sql: String,
    pub(crate) parameters: Vec<String>,
    /// A part of the error message, if it must be refused.
    pub(crate) refused: Option<String>,
    /// Whether `PostgreSQL` accepts the refused statement.
    pub(crate) is_allowed_there: bool,
}

/// A statement without parameters.
pub(crate) fn plain(sql: &str) -> Statement {
    Statement {
        name: sql.to_owned(),
        sql: sql.to_owned(),
        parameters: Vec::new(),
        refused: None,
        is_allowed_there: false,
    }
}

pub(crate) fn path(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "tests", "sql", file]
        .iter()
        .collect()
}

pub(crate) fn read(file: &str) -> Vec<Statement> {
    let text = std::fs::read_to_string(path(file)).unwrap();
    text.split("-- name: ").skip(1).map(parse).collect()
}

fn parse(block: &str) -> Statement {
    let mut lines = block.lines();
    let mut statement = Statement {
        name: lines.next().unwrap().to_owned(),
        sql: String::new(),
        parameters: Vec::new(),
        refused: None,
        is_allowed_there: false,
    };
    for line in lines {
        if let Some(message) = line.strip_prefix("-- refused: ") {
            statement.refused = Some(message.to_owned());
        } else if line == "-- postgresql: allows" {
            statement.is_allowed_there = true;
        } else if let Some((_, text)) = line
            .strip_prefix("-- $")
            .and_then(|rest| rest.split_once(": "))
        {
            statement.parameters.push(text.to_owned());
        } else {
            statement.sql.push_str(line);
            statement.sql.push('\n');
        }
    }
    statement.sql = statement.sql.trim().to_owned();
    statement
}
