//! Telling a peer of HTTP/2 that it has gone too far.
//!
//! The transport sends GOAWAY for reasons of its own only. A frame may go between two others, so
//! what is sent is followed from frame to frame.

/// The length of what stands before each frame; the first three bytes say how long the frame is.
const HEAD: usize = 9;
/// GOAWAY on the whole connection, with `ENHANCE_YOUR_CALM`: nothing that was not answered yet is said
/// to have been looked at.
pub(crate) const CALM_DOWN: [u8; 17] = [
    0, 0, 8, 7, 0, 0, 0, 0, 0, // length 8, type GOAWAY, no flags, stream 0
    0x7f, 0xff, 0xff, 0xff, // what came up to here may have been done
    0, 0, 0, 0x0b, // ENHANCE_YOUR_CALM
];

/// Where within a frame the next byte that is sent belongs.
#[derive(Debug, Default)]
pub(crate) struct Position {
    head: [u8; HEAD],
    /// Bytes of the head that were sent.
    begun: usize,
    /// Bytes of the frame after its head that were not.
    left: usize,
}

impl Position {
    /// Follows bytes that were sent.
    pub(crate) fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD - self.begun).min(bytes.len());
            self.head[self.begun..self.begun + taken].copy_from_slice(&bytes[..taken]);
            self.begun += taken;
            bytes = &bytes[taken..];
            if self.begun == HEAD {
                let [a, b, c, ..] = self.head;
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                self.begun = 0;
            }
        }
    }

    pub(crate) const fn is_between_frames(&self) -> bool {
        self.begun == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_followed_however_they_are_cut() {
        let mut sent = Vec::new();
        let mut ends = vec![0];
        for length in [0, 1, 8, 9, 70_000_u32, 0, 3] {
            sent.extend_from_slice(&length.to_be_bytes()[1..]);
            sent.extend_from_slice(&[0xff; 6]);
            sent.resize(sent.len() + length as usize, 0xff);
            ends.push(sent.len());
        }
        for step in [1, 2, 5, 9, 10, 4_096, sent.len()] {
            let mut position = Position::default();
            let mut at = 0;
            for part in sent.chunks(step) {
                assert_eq!(
                    position.is_between_frames(),
                    ends.contains(&at),
                    "{step} {at}"
                );
                position.advance(part);
                at += part.len();
            }
            assert!(position.is_between_frames());
        }
    }
}
