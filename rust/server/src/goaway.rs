//! Telling a peer of HTTP/2 that it has gone too far.
//!
//! The transport sends GOAWAY for reasons of its own only. A frame may go between two others, so
//! what is sent is followed from frame to frame (`frames.rs`).

/// GOAWAY on the whole connection, with `ENHANCE_YOUR_CALM`: nothing that was not answered yet is said
/// to have been looked at.
pub(crate) const CALM_DOWN: [u8; 17] = [
    0, 0, 8, 7, 0, 0, 0, 0, 0, // length 8, type GOAWAY, no flags, stream 0
    0x7f, 0xff, 0xff, 0xff, // what came up to here may have been done
    0, 0, 0, 0x0b, // ENHANCE_YOUR_CALM
];
