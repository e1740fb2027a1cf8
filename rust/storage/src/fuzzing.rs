//! Entry points of `tests/fuzz` to the decoders, with the properties that must hold. Not compiled
//! in other builds.

#![allow(clippy::expect_used, reason = "a violated property has to panic")]

use pingthings_types::{MAX_INSERT_TIME, MIN_TIME, Points};

use crate::blocks::FileName;
use crate::format::{
    BLOCK_HEADER, Cursor, FORMAT_VERSION, FRAME_HEADER, InnerParts, check_file_header,
    decode_block, decode_frame_header, decode_inner, decode_inserts, decode_leaf, decode_run,
    encode_inner, encode_leaf, encode_run, file_header, seal_block, seal_frame,
};
use crate::tree::{Address, BlockKind};
use crate::{Durability, FileKind};

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The payload of a leaf: decoded points round-trip.
pub fn leaf(payload: &[u8]) {
    if let Ok(points) = decode_leaf(payload) {
        columns(&points.times, &points.values);
    }
}

/// The columns of a leaf, sorted by time, round-trip bit for bit.
pub fn columns(times: &[i64], values: &[f64]) {
    let payload = encode_leaf(times, values, 4).expect("columns can be encoded");
    let back = decode_leaf(&payload).expect("what was encoded can be decoded");
    assert_eq!(back.times, times);
    assert_eq!(bits(&back.values), bits(values));
}

/// The payload of an inner node: a decoded node round-trips.
pub fn inner(payload: &[u8]) {
    let Ok(inner) = decode_inner(payload) else {
        return;
    };
    let parts = InnerParts {
        start: inner.start,
        exponent: inner.exponent,
        stats: &inner.stats[..],
    };
    let encoded = encode_inner(parts, &inner.children);
    let again = decode_inner(&encoded).expect("what was encoded can be decoded");
    assert_eq!(again.children, inner.children);
    assert_eq!((again.start, again.exponent), (inner.start, inner.exponent));
    let numbers = |stats: &[pingthings_types::Stat]| -> Vec<_> {
        let one = |s: &pingthings_types::Stat| (s.count, bits(&[s.min, s.max, s.mean, s.m2]));
        stats.iter().map(one).collect()
    };
    assert_eq!(numbers(&again.stats[..]), numbers(&inner.stats[..]));
}

/// The payload of a run: a decoded run encodes to the same bytes.
pub fn run(payload: &[u8]) {
    if let Ok(run) = decode_run(payload) {
        assert_eq!(encode_run(run.time, &run.leaves), payload);
    }
}

/// A file header: accepted only if it is what the engine writes.
pub fn header(number: u32, bytes: &[u8]) {
    for kind in FileKind::ALL {
        let name = match kind {
            FileKind::Segment => FileName::segment(number),
            FileKind::Journal => FileName::journal(number),
            FileKind::Manifest => FileName::manifest(number),
            FileKind::Aside => FileName::aside(number),
        };
        if check_file_header(name, bytes) == Ok(FORMAT_VERSION) {
            assert!(bytes.starts_with(&file_header(name)));
        }
    }
    if let Some(bytes) = bytes.first_chunk() {
        let _ = decode_frame_header(bytes);
    }
}

/// The payload of a journal frame.
pub fn inserts(payload: &[u8]) {
    let _ = decode_inserts(payload);
}

/// A block as read, and the same content with a valid checksum.
pub fn block(bytes: &[u8]) {
    let address = Address {
        segment: 1,
        offset: 16,
        length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
    };
    let _ = decode_block(address, bytes);
    if let Some((&kind, payload)) = bytes.split_first() {
        let mut sealed = Vec::new();
        let address = seal(&mut sealed, 16, kind, payload);
        let _ = decode_block(address, &sealed);
    }
}

/// Appends a block for segment 1 with a valid checksum, and returns its address. The kind is
/// derived from `kind`.
pub fn seal(segment: &mut Vec<u8>, offset: u32, kind: u8, payload: &[u8]) -> Address {
    let kind = BlockKind::from_byte(1 + kind % 3).unwrap_or(BlockKind::Leaf);
    seal_block(segment, 1, offset, kind, payload).expect("inputs are small")
}

/// The length of the header of a block.
pub const BLOCK_HEADER_LENGTH: usize = BLOCK_HEADER;

/// The header of the file of this kind with number 1.
pub fn first_header(kind: FileKind) -> Vec<u8> {
    let name = match kind {
        FileKind::Segment => FileName::segment(1),
        FileKind::Journal => FileName::journal(1),
        FileKind::Manifest => FileName::manifest(1),
        FileKind::Aside => FileName::aside(1),
    };
    file_header(name).to_vec()
}

/// Appends a frame for journal file 1 with valid checksums.
pub fn frame(file: &mut Vec<u8>, durability: Durability, payload: &[u8]) {
    let offset = file.len() as u64;
    let mut bytes = vec![0; FRAME_HEADER];
    bytes.extend_from_slice(payload);
    seal_frame(&mut bytes, durability, 1, offset).expect("inputs are small");
    file.extend_from_slice(&bytes);
}

/// Valid points made from arbitrary bytes, sorted by time.
pub fn points(bytes: &[u8]) -> Points {
    let mut cursor = Cursor::new(bytes);
    let mut points = Points::default();
    while let (Ok(time), Ok(value)) = (cursor.i64(), cursor.f64()) {
        points.times.push(time.clamp(MIN_TIME, MAX_INSERT_TIME));
        points
            .values
            .push(if value.is_finite() { value } else { 0.0 });
    }
    crate::columns::sort_by_time(&mut points);
    points
}
