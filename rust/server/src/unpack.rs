//! Unpacking compressed requests.
//!
//! It is work for which a caller pays a thousandth, so it is done on blocking threads and in turns:
//! on half of the processor at most, a piece of each request after the other.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::budget::Hold;
use crate::status::Refusal;

/// How much of a request is unpacked in one turn.
const PIECE: usize = 1 << 20;
/// The most that a request in zstd may look back, as a power of two: more than any level but the
/// highest asks for. A reader takes as much memory.
const WINDOW_LOG: u32 = 23;

/// How a request is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// What the headers of a request say.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        match headers.get("grpc-encoding")?.as_bytes() {
            b"gzip" => Some(Self::Gzip),
            b"zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn reader(self, packed: Bytes) -> io::Result<Box<dyn Read + Send>> {
        let packed = io::Cursor::new(packed);
        Ok(match self {
            Self::Gzip => Box::new(flate2::read::GzDecoder::new(packed)),
            Self::Zstd => {
                let mut reader = zstd::stream::read::Decoder::with_buffer(packed)?;
                reader.window_log_max(WINDOW_LOG)?;
                Box::new(reader)
            }
        })
    }
}

/// Why a request could not be unpacked.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(Refusal),
    TooLarge,
    Damaged(io::Error),
}

/// The turns of unpacking.
#[derive(Clone, Debug)]
pub(crate) struct Unpacker(Arc<Semaphore>);

impl Unpacker {
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }

    /// Unpacks a message of at most `most` bytes, which are counted as they come.
    pub(crate) async fn unpack(
        self,
        packing: Packing,
        packed: Bytes,
        most: usize,
        hold: Arc<Hold>,
    ) -> Result<Vec<Bytes>, Failure> {
        let mut reader = packing.reader(packed).map_err(Failure::Damaged)?;
        let (mut pieces, mut length) = (Vec::new(), 0);
        loop {
            // The semaphore is never closed.
            let turn = self.0.acquire().await.ok();
            let piece;
            (reader, piece) = spawn_blocking(move || {
                let piece = read_piece(&mut reader);
                (reader, piece)
            })
            .await
            .map_err(|error| Failure::Refused(error.into()))?;
            drop(turn);
            let piece = piece.map_err(Failure::Damaged)?;
            if piece.is_empty() {
                return Ok(pieces);
            }
            length += piece.len();
            if length > most {
                return Err(Failure::TooLarge);
            }
            hold.take(piece.len()).map_err(Failure::Refused)?;
            pieces.push(piece);
        }
    }
}

fn read_piece(reader: &mut Box<dyn Read + Send>) -> io::Result<Bytes> {
    let mut piece = BytesMut::zeroed(PIECE);
    let mut filled = 0;
    while filled < PIECE {
        match reader.read(&mut piece[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    piece.truncate(filled);
    // What is small is kept small.
    Ok(if filled < PIECE / 2 {
        Bytes::copy_from_slice(&piece)
    } else {
        piece.freeze()
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::budget::{Budget, Kind};
    use crate::config::Limits;
    use crate::owner::Owner;

    fn hold(limit: usize) -> Arc<Hold> {
        let owner = Owner::new(&Limits::default());
        Budget::new(limit, Arc::default()).hold(Kind::Request, owner, None)
    }

    fn packed(packing: Packing, bytes: &[u8]) -> Bytes {
        match packing {
            Packing::Zstd => zstd::encode_all(bytes, 3).unwrap().into(),
            Packing::Gzip => {
                let mut writer =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                writer.write_all(bytes).unwrap();
                writer.finish().unwrap().into()
            }
        }
    }

    #[tokio::test]
    async fn what_was_packed_is_unpacked_in_pieces() {
        for packing in [Packing::Gzip, Packing::Zstd] {
            for length in [0, 1, PIECE - 1, PIECE, 3 * PIECE + 5] {
                let bytes: Vec<u8> = (0..length)
                    .map(|n| u8::try_from(n % 251).unwrap())
                    .collect();
                let packed = packed(packing, &bytes);
                let unpacker = Unpacker::new();
                let pieces = unpacker
                    .unpack(packing, packed, length, hold(1 << 30))
                    .await;
                assert!(pieces.unwrap().concat() == bytes, "{packing:?} {length}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_too_large_ends_before_it_is_there() {
        for packing in [Packing::Gzip, Packing::Zstd] {
            let packed = packed(packing, &vec![0; 16 * PIECE]);
            let unpack = |most, limit| {
                let hold = hold(limit);
                Unpacker::new().unpack(packing, packed.clone(), most, hold)
            };
            let failure = unpack(2 * PIECE, 1 << 30).await.unwrap_err();
            assert!(matches!(failure, Failure::TooLarge), "{failure:?}");
            let failure = unpack(1 << 30, 4 * PIECE).await.unwrap_err();
            assert!(matches!(failure, Failure::Refused(_)), "{failure:?}");
        }
    }

    #[tokio::test]
    async fn what_is_damaged_or_looks_back_too_far_is_said_to_be() {
        let bytes = vec![7; 100_000];
        for packing in [Packing::Gzip, Packing::Zstd] {
            let whole = packed(packing, &bytes);
            let part = whole.slice(..whole.len() / 2);
            for packed in [part, Bytes::from_static(b"no such thing at all")] {
                let failure = Unpacker::new()
                    .unpack(packing, packed, 1 << 30, hold(1 << 30))
                    .await;
                assert!(matches!(failure, Err(Failure::Damaged(_))), "{packing:?}");
            }
        }
        let mut writer = zstd::Encoder::new(Vec::new(), 3).unwrap();
        writer.window_log(WINDOW_LOG + 1).unwrap();
        writer.write_all(&bytes).unwrap();
        let far: Bytes = writer.finish().unwrap().into();
        let failure = Unpacker::new()
            .unpack(Packing::Zstd, far, 1 << 30, hold(1 << 30))
            .await;
        assert!(matches!(failure, Err(Failure::Damaged(_))));
    }
}
