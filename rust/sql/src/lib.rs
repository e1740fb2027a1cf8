//! SQL over the catalog: statements in the syntax of `PostgreSQL`, executed by `SQLite`.
//!
//! [`Database`] parses a statement, checks and rewrites it, runs it on a read-only connection, and
//! returns each row as a JSON object in the form of `PostgreSQL`'s `row_to_json`. Anything that is
//! not supported is refused by name and position; see `docs/design/sql.md`.

mod budget;
mod catalog;
mod convert;
mod database;
mod dialect;
mod error;
mod function;
mod parse;
mod translate;
mod types;
mod value;

pub use budget::Cancel;
pub use database::{Database, Limits, check_size};
pub use error::{Error, Position};

/// The bytes that the SQL statements of this process hold at this moment.
pub fn held_bytes() -> usize {
    pingthings_sqlite::held()
}
