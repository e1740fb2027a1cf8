//! The GOAWAY frame for a peer that makes too many wasted calls.
//!
//! The transport sends GOAWAY only for its own reasons. This frame is written between two frames of
//! the transport, so `frames.rs` parses what is sent.

/// GOAWAY for the connection, with `ENHANCE_YOUR_CALM`. The last stream is the highest possible
/// one, so the peer cannot assume that any of its calls was not processed.
pub(crate) const ENHANCE_YOUR_CALM: [u8; 17] = [
    0, 0, 8, 7, 0, 0, 0, 0, 0, // length 8, type GOAWAY, no flags, stream 0
    0x7f, 0xff, 0xff, 0xff, // the last stream that may have been processed
    0, 0, 0, 0x0b, // ENHANCE_YOUR_CALM
];
