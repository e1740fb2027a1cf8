//! SQL over the catalog: a statement in the text of `PostgreSQL`, rewritten for `SQLite`.
//!
//! Empty so far: the server answers `SQLQuery` with the status that it is not implemented. The
//! crate stands apart because its parser is slow to compile and must not be built for other changes.
