//! Why a statement gave no rows.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pingthings_types::Code;

/// A line and a column of a statement, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at line {}, column {}", self.line, self.column)
    }
}

/// A statement that was refused, or failed while it ran.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The statement is not one this server answers.
    #[error("{problem}{}", place.map(|place| format!(", {place}")).unwrap_or_default())]
    Statement {
        /// What is wrong.
        problem: String,
        /// Where, if known.
        place: Option<Place>,
    },
    /// A parameter does not suit its place in the statement.
    #[error("parameter `${number}`: {problem}")]
    Parameter {
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        problem: String,
    },
    /// A row holds a value that the statement cannot be computed from.
    #[error("{0}")]
    Value(String),
    /// The statement took too long.
    #[error("the statement took longer than {} s: narrow it down", .0.as_secs_f64())]
    Time(Duration),
    /// The statement wants more memory than one may have.
    #[error(
        "the statement wants more than {} MiB of memory: narrow it down, sort and group less",
        .0 >> 20
    )]
    Memory(usize),
    /// The statement was cancelled; nobody waits for its rows.
    #[error("the statement was cancelled")]
    Cancelled,
    /// A row is longer than a message may be.
    #[error("a row is longer than {0} bytes: select fewer columns, or parts of them")]
    Row(usize),
    /// The statement gave too many rows.
    #[error("the statement gives more than {0} rows: use `limit`")]
    Rows(u64),
    /// The metadata database failed.
    #[error("the metadata database failed: {0}")]
    Database(Arc<rusqlite::Error>),
}

impl Error {
    /// The status with which a server answers.
    pub const fn code(&self) -> Code {
        match self {
            Self::Database(_) => Code::MetadataConnectionError,
            _ => Code::BadSqlValue,
        }
    }

    pub(crate) fn at(problem: impl Into<String>, place: Option<Place>) -> Self {
        Self::Statement {
            problem: problem.into(),
            place,
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}
