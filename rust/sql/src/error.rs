//! Errors of statements.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pingthings_types::Code;

/// A line and column of a statement, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at line {}, column {}", self.line, self.column)
    }
}

/// Why a statement was refused, or failed while it ran.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The statement is invalid or not supported.
    #[error("{problem}{}", position.map(|position| format!(", {position}")).unwrap_or_default())]
    Statement {
        /// What is wrong.
        problem: String,
        /// Where, if known.
        position: Option<Position>,
    },
    /// A parameter is not valid for its use in the statement.
    #[error("parameter `${number}`: {problem}")]
    Parameter {
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        problem: String,
    },
    /// A value cannot be computed.
    #[error("{0}")]
    Value(String),
    /// The statement took too long.
    #[error("the statement took longer than {} s: narrow it down", .0.as_secs_f64())]
    Time(Duration),
    /// The statement needs more memory than it may use.
    #[error(
        "the statement needs more than {} MiB of memory: narrow it down, sort and group less",
        .0 >> 20
    )]
    Memory(usize),
    /// The statement was cancelled.
    #[error("the statement was cancelled")]
    Cancelled,
    /// A row is longer than a message may be.
    #[error("a row is longer than {0} bytes: select fewer columns, or parts of them")]
    Row(usize),
    /// The statement returned too many rows.
    #[error("the statement returns more than {0} rows: use `limit`")]
    Rows(u64),
    /// The metadata database failed.
    #[error("the metadata database failed: {0}")]
    Database(Arc<rusqlite::Error>),
}

impl Error {
    /// The status code a server answers with.
    pub const fn code(&self) -> Code {
        match self {
            Self::Database(_) => Code::MetadataConnectionError,
            _ => Code::BadSqlValue,
        }
    }

    pub(crate) fn at(problem: impl Into<String>, position: Option<Position>) -> Self {
        Self::Statement {
            problem: problem.into(),
            position,
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}
