//! Parses the HTTP/2 frames of a connection, to count open and cancelled calls.
//!
//! The transport treats a cancelled call differently depending on its state. The frame that cancels
//! it is unambiguous, so calls are counted here, before the transport sees their frames.

use std::collections::HashSet;

/// The length of a frame header. Its first three bytes are the length of the frame.
const HEADER_BYTES: usize = 9;
/// The length of the connection preface, which a peer sends before its first frame.
const PREFACE_BYTES: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
/// The flag of the last frame of one direction of a call.
const END_STREAM: u8 = 1;

/// The parts of a frame header that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    kind: u8,
    flags: u8,
    stream: u32,
}

/// The position of the next byte within its frame.
#[derive(Debug, Default)]
pub(crate) struct FramePosition {
    header: [u8; HEADER_BYTES],
    /// How many bytes of the header have passed.
    begun: usize,
    /// How many bytes of the body are still to pass.
    left: usize,
}

impl FramePosition {
    /// The position of the first byte that a peer sends.
    fn before_preface() -> Self {
        Self {
            left: PREFACE_BYTES,
            ..Self::default()
        }
    }

    /// Parses bytes that pass, and calls `on_header` for each header.
    pub(crate) fn advance(&mut self, mut bytes: &[u8], mut on_header: impl FnMut(FrameHeader)) {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEADER_BYTES - self.begun).min(bytes.len());
            self.header[self.begun..self.begun + taken].copy_from_slice(&bytes[..taken]);
            self.begun += taken;
            bytes = &bytes[taken..];
            if self.begun == HEADER_BYTES {
                let [a, b, c, kind, flags, stream @ ..] = self.header;
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                self.begun = 0;
                on_header(FrameHeader {
                    kind,
                    flags,
                    stream: u32::from_be_bytes(stream),
                });
            }
        }
    }

    pub(crate) const fn is_between_frames(&self) -> bool {
        self.begun == 0 && self.left == 0
    }
}

/// The calls of a connection that have begun, and are neither completely answered nor cancelled.
#[derive(Debug)]
pub(crate) struct OpenCalls {
    open: HashSet<u32>,
    latest: u32,
    received: FramePosition,
    sent: FramePosition,
}

impl Default for OpenCalls {
    fn default() -> Self {
        Self {
            open: HashSet::new(),
            latest: 0,
            received: FramePosition::before_preface(),
            sent: FramePosition::default(),
        }
    }
}

impl OpenCalls {
    /// Parses bytes from the peer. Returns how many open calls they cancel.
    pub(crate) fn received(&mut self, bytes: &[u8]) -> usize {
        let (open, latest) = (&mut self.open, &mut self.latest);
        let mut cancelled = 0;
        self.received.advance(bytes, |header| match header.kind {
            // Later headers of the same stream, such as trailers, do not begin a call.
            HEADERS if header.stream > *latest => {
                *latest = header.stream;
                open.insert(header.stream);
            }
            RST_STREAM if open.remove(&header.stream) => cancelled += 1,
            _ => {}
        });
        cancelled
    }

    /// Parses bytes that are sent to the peer.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        let open = &mut self.open;
        self.sent.advance(bytes, |header| {
            let is_last = match header.kind {
                DATA | HEADERS => header.flags & END_STREAM != 0,
                kind => kind == RST_STREAM,
            };
            if is_last {
                open.remove(&header.stream);
            }
        });
    }

    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether another frame may be sent now.
    pub(crate) const fn is_between_frames(&self) -> bool {
        self.sent.is_between_frames()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, length: u32) -> Vec<u8> {
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.resize(frame.len() + length as usize, 0xff);
        frame
    }

    #[test]
    fn frames_are_parsed_from_parts_of_any_size() {
        let mut sent = Vec::new();
        let mut ends = vec![0];
        for length in [0, 1, 8, 9, 70_000, 0, 3] {
            sent.extend(frame(0xff, 0xff, 7, length));
            ends.push(sent.len());
        }
        for step in [1, 2, 5, 9, 10, 4_096, sent.len()] {
            let mut position = FramePosition::default();
            let (mut at, mut heads) = (0, 0);
            for part in sent.chunks(step) {
                assert_eq!(
                    position.is_between_frames(),
                    ends.contains(&at),
                    "{step} {at}"
                );
                position.advance(part, |header| {
                    assert_eq!((header.kind, header.flags, header.stream), (0xff, 0xff, 7));
                    heads += 1;
                });
                at += part.len();
            }
            assert!(position.is_between_frames());
            assert_eq!(heads, 7);
        }
    }

    #[test]
    fn a_call_is_open_until_it_is_answered_or_cancelled() {
        let mut received = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for stream in [1, 3, 5, 7] {
            received.extend(frame(HEADERS, 4, stream, 20));
            received.extend(frame(DATA, END_STREAM, stream, 5));
        }
        for step in [1, 7, 300] {
            let mut calls = OpenCalls::default();
            for part in received.chunks(step) {
                assert_eq!(calls.received(part), 0);
            }
            assert_eq!(calls.open(), 4);
            assert_eq!(calls.received(&frame(RST_STREAM, 0, 3, 4)), 1);
            // A call is not counted twice, nor after its answer, nor if it never began.
            calls.sent(&frame(HEADERS, 4, 5, 9));
            calls.sent(&frame(DATA, 0, 5, 9));
            assert_eq!(calls.open(), 3);
            calls.sent(&frame(HEADERS, 4 | END_STREAM, 5, 9));
            calls.sent(&frame(RST_STREAM, 0, 7, 4));
            // The flag of an answered ping has the same value.
            calls.sent(&frame(6, 1, 1, 8));
            for stream in [3, 5, 7, 9] {
                assert_eq!(calls.received(&frame(RST_STREAM, 0, stream, 4)), 0);
            }
            assert_eq!(calls.open(), 1);
            // Trailers of a request do not begin a call.
            assert_eq!(calls.received(&frame(HEADERS, 5, 5, 3)), 0);
            assert_eq!(calls.open(), 1);
        }
    }
}
