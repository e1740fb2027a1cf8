//! Memory limits for `SQLite`, by thread.
//!
//! `SQLite` has only one heap limit for the process, but a catalog that shares the process with
//! user statements must not fail because one of them uses too much memory. With this crate a thread
//! can have an [`Allowance`]: `SQLite` is refused memory beyond it on that thread, and the
//! statement fails with `SQLITE_NOMEM`. Threads without an allowance are not limited. See
//! `docs/design/sql.md`.

mod allocator;
mod allowance;

pub use allocator::install;
pub use allowance::{Allowance, give_back, held, take};
