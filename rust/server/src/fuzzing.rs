//! Entry points of `tests/fuzz` to the decoders of client input. Other builds do not have them.

use crate::ipc::{decode_points, decode_template};

/// Decodes an insert: no more points than bytes for them, or a refusal.
#[allow(clippy::panic, reason = "a fuzz target reports by a panic")]
pub fn points(bytes: &[u8]) {
    if let Ok(points) = decode_points(bytes, 1_000_000) {
        assert_eq!(points.times.len(), points.values.len());
        assert!(points.times.len() * 16 <= bytes.len());
    }
}

/// Decodes the template of an answer.
pub fn template(bytes: &[u8]) {
    drop(decode_template(bytes));
}
