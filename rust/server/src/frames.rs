//! The frames of HTTP/2 that pass, as far as the calls in them are concerned.
//!
//! What the transport makes of a call that is given up depends on how far it has come. Its frame says
//! so at once, and is counted before the transport sees it.

use std::collections::HashSet;

/// The length of what stands before each frame; the first three bytes say how long the frame is.
const HEAD: usize = 9;
/// What a peer sends before its first frame.
const PREFACE: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
/// The flag of the last frame of one direction of a call.
const END_STREAM: u8 = 1;

/// What stands before a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    kind: u8,
    flags: u8,
    stream: u32,
}

/// Where within a frame the next byte that passes belongs.
#[derive(Debug, Default)]
pub(crate) struct Position {
    head: [u8; HEAD],
    /// Bytes of the head that passed.
    begun: usize,
    /// Bytes after the head that did not.
    left: usize,
}

impl Position {
    /// Where the first byte of a peer belongs.
    fn before_preface() -> Self {
        Self {
            left: PREFACE,
            ..Self::default()
        }
    }

    /// Follows bytes that pass, and tells of each head.
    pub(crate) fn advance(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Head)) {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD - self.begun).min(bytes.len());
            self.head[self.begun..self.begun + taken].copy_from_slice(&bytes[..taken]);
            self.begun += taken;
            bytes = &bytes[taken..];
            if self.begun == HEAD {
                let [a, b, c, kind, flags, stream @ ..] = self.head;
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                self.begun = 0;
                tell(Head {
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

/// The calls of a connection that were begun, and neither answered to their end nor given up.
#[derive(Debug)]
pub(crate) struct Calls {
    open: HashSet<u32>,
    latest: u32,
    received: Position,
    sent: Position,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            open: HashSet::new(),
            latest: 0,
            received: Position::before_preface(),
            sent: Position::default(),
        }
    }
}

impl Calls {
    /// Follows bytes of the peer; how many open calls it gives up in them.
    pub(crate) fn received(&mut self, bytes: &[u8]) -> usize {
        let (open, latest) = (&mut self.open, &mut self.latest);
        let mut given_up = 0;
        self.received.advance(bytes, |head| match head.kind {
            // What follows an answered call, such as trailers, begins none.
            HEADERS if head.stream > *latest => {
                *latest = head.stream;
                open.insert(head.stream);
            }
            RST_STREAM if open.remove(&head.stream) => given_up += 1,
            _ => {}
        });
        given_up
    }

    /// Follows bytes that are sent to the peer.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        let open = &mut self.open;
        self.sent.advance(bytes, |head| {
            let is_last = match head.kind {
                DATA | HEADERS => head.flags & END_STREAM != 0,
                kind => kind == RST_STREAM,
            };
            if is_last {
                open.remove(&head.stream);
            }
        });
    }

    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether a frame of ours may be sent now.
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
    fn frames_are_followed_however_they_are_cut() {
        let mut sent = Vec::new();
        let mut ends = vec![0];
        for length in [0, 1, 8, 9, 70_000, 0, 3] {
            sent.extend(frame(0xff, 0xff, 7, length));
            ends.push(sent.len());
        }
        for step in [1, 2, 5, 9, 10, 4_096, sent.len()] {
            let mut position = Position::default();
            let (mut at, mut heads) = (0, 0);
            for part in sent.chunks(step) {
                assert_eq!(
                    position.is_between_frames(),
                    ends.contains(&at),
                    "{step} {at}"
                );
                position.advance(part, |head| {
                    assert_eq!((head.kind, head.flags, head.stream), (0xff, 0xff, 7));
                    heads += 1;
                });
                at += part.len();
            }
            assert!(position.is_between_frames());
            assert_eq!(heads, 7);
        }
    }

    #[test]
    fn a_call_is_open_until_it_is_answered_or_given_up() {
        let mut received = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for stream in [1, 3, 5, 7] {
            received.extend(frame(HEADERS, 4, stream, 20));
            received.extend(frame(DATA, END_STREAM, stream, 5));
        }
        for step in [1, 7, 300] {
            let mut calls = Calls::default();
            for part in received.chunks(step) {
                assert_eq!(calls.received(part), 0);
            }
            assert_eq!(calls.open(), 4);
            assert_eq!(calls.received(&frame(RST_STREAM, 0, 3, 4)), 1);
            // Neither twice, nor after its answer, nor one that was never made.
            calls.sent(&frame(HEADERS, 4, 5, 9));
            calls.sent(&frame(DATA, 0, 5, 9));
            assert_eq!(calls.open(), 3);
            calls.sent(&frame(HEADERS, 4 | END_STREAM, 5, 9));
            calls.sent(&frame(RST_STREAM, 0, 7, 4));
            // A ping that is answered has the same flag.
            calls.sent(&frame(6, 1, 1, 8));
            for stream in [3, 5, 7, 9] {
                assert_eq!(calls.received(&frame(RST_STREAM, 0, stream, 4)), 0);
            }
            assert_eq!(calls.open(), 1);
            // What ends the request of a call begins no other.
            assert_eq!(calls.received(&frame(HEADERS, 5, 5, 3)), 0);
            assert_eq!(calls.open(), 1);
        }
    }
}
