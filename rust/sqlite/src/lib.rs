//! How `SQLite` takes memory in this process.
//!
//! `SQLite` has one heap limit for all of a process, and a catalog that shares a process with
//! statements of strangers must not fail because one of them is greedy. So each thread can be held
//! to an [`Allowance`]: what `SQLite` takes on it beyond that is refused, and the statement fails
//! with `SQLITE_NOMEM`. Threads without one take what they want. See `docs/design/sql.md`.

mod allocator;
mod allowance;

pub use allocator::install;
pub use allowance::{Allowance, give_back, take};
