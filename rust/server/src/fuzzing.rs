//! Doors for `tests/fuzz` to what reads bytes of clients; there in no other build.

use crate::ipc::{decode_points, decode_template};

/// An insert: as many points as there were bytes for, or a refusal.
#[allow(clippy::panic, reason = "what must hold is found by failing")]
pub fn points(bytes: &[u8]) {
    if let Ok(points) = decode_points(bytes, 1_000_000) {
        assert_eq!(points.times.len(), points.values.len());
        assert!(points.times.len() * 16 <= bytes.len());
    }
}

/// The schema of an answer, or a refusal.
pub fn template(bytes: &[u8]) {
    drop(decode_template(bytes));
}
