//! Benchmarks of the Rust crates; see `benches/`.
