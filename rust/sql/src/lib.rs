//! SQL over the catalog: a statement in the text of `PostgreSQL`, answered by `SQLite`.
//!
//! [`Database`] parses a statement, checks and rewrites it, runs it on a connection that can only
//! read, and gives each row as a JSON object in the form of `PostgreSQL`'s `row_to_json`. What is
//! not understood is refused by name and place; see `docs/design/sql.md`.

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
pub use error::{Error, Place};
