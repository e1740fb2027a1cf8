//! Decompression of requests.
//!
//! Compressing costs a caller a thousandth of what decompressing costs the server. Requests are
//! therefore decompressed on blocking threads, on at most half of the cores, one piece of each
//! request in turn. The decompressed bytes and the memory of the decompression are counted.

use std::io::{self, BufRead as _, Cursor, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use memmap2::MmapMut;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::account::Account;
use crate::budget::Hold;
use crate::field_counter::FieldCounter;
use crate::status::Refusal;

/// How many bytes of a request are decompressed in one turn.
const PIECE_BYTES: usize = 1 << 20;
/// Smaller pieces are copied to the heap instead of keeping their mapped memory.
const MIN_MAPPED_BYTES: usize = PIECE_BYTES / 2;
/// The maximum window of zstd, as a power of two. Only the highest levels use a larger one. A
/// reader needs as much memory.
const MAX_WINDOW_LOG: u32 = 23;
/// The estimated memory of a reader, without its window.
const READER_BYTES: usize = 192 << 10;

/// The encoding of a compressed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    Zstd,
}

impl Encoding {
    /// The encoding in the headers of a request.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        match headers.get("grpc-encoding")?.as_bytes() {
            b"gzip" => Some(Self::Gzip),
            b"zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The length of the window that a reader keeps.
    fn window(self, compressed: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip => Ok(0),
            Self::Zstd => zstd_window(compressed),
        }
    }
}

/// The window of the first zstd frame, from its header: RFC 8878, 3.1.1.
fn zstd_window(compressed: &[u8]) -> io::Result<usize> {
    const MAGIC: u32 = 0xFD2F_B528;
    let mut compressed = compressed;
    let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let cut = |_| wrong("the frame header is incomplete");
    if compressed.try_get_u32_le().map_err(cut)? != MAGIC {
        return Err(wrong("it does not begin with a zstd frame"));
    }
    let descriptor = compressed.try_get_u8().map_err(cut)?;
    let window = if descriptor & 0x20 == 0 {
        let byte = u32::from(compressed.try_get_u8().map_err(cut)?);
        let base = 1_u64 << (10 + (byte >> 3));
        base + base / 8 * u64::from(byte & 7)
    } else {
        // The window is the length of the content, which follows the optional dictionary id.
        compressed.advance([0, 1, 2, 4][usize::from(descriptor & 3)].min(compressed.len()));
        match descriptor >> 6 {
            0 => compressed.try_get_u8().map_err(cut)?.into(),
            1 => u64::from(compressed.try_get_u16_le().map_err(cut)?) + 256,
            2 => compressed.try_get_u32_le().map_err(cut)?.into(),
            _ => compressed.try_get_u64_le().map_err(cut)?,
        }
    };
    if window > 1 << MAX_WINDOW_LOG {
        return Err(wrong("the window of its frame is too large"));
    }
    usize::try_from(window).map_err(|_| wrong("the window of its frame is too large"))
}

/// A reader of compressed bytes.
enum Reader {
    Gzip(Box<flate2::read::GzDecoder<Cursor<Bytes>>>),
    Zstd(zstd::stream::read::Decoder<'static, Cursor<Bytes>>),
}

impl Reader {
    fn new(encoding: Encoding, compressed: Bytes) -> io::Result<Self> {
        let compressed = Cursor::new(compressed);
        Ok(match encoding {
            Encoding::Gzip => Self::Gzip(Box::new(flate2::read::GzDecoder::new(compressed))),
            Encoding::Zstd => {
                // Another frame could have a larger window than was counted.
                let mut reader =
                    zstd::stream::read::Decoder::with_buffer(compressed)?.single_frame();
                reader.window_log_max(MAX_WINDOW_LOG)?;
                Self::Zstd(reader)
            }
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(reader) => reader.read(buffer),
            Self::Zstd(reader) => {
                let count = reader.read(buffer)?;
                if count == 0 && !buffer.is_empty() && !reader.get_mut().fill_buf()?.is_empty() {
                    let what = "there are bytes after its frame";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
                Ok(count)
            }
        }
    }

    /// The next piece. It is empty at the end.
    fn read_piece(&mut self) -> io::Result<Bytes> {
        // The piece is mapped from the system, which gets the memory back when the piece is
        // dropped. An allocator could keep freed memory because of fragmentation.
        let mut piece = MmapMut::map_anon(PIECE_BYTES)?;
        let mut filled = 0;
        while filled < PIECE_BYTES {
            match self.read(&mut piece[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(if filled < MIN_MAPPED_BYTES {
            Bytes::copy_from_slice(&piece[..filled])
        } else {
            Bytes::from_owner(piece).slice(..filled)
        })
    }
}

/// Limits on a request after decompression.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageLimits {
    pub(crate) bytes: usize,
    pub(crate) fields: usize,
}

/// A decompressed message.
#[derive(Debug, Default)]
pub(crate) struct DecompressedMessage {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) fields: FieldCounter,
}

/// Why a request could not be decompressed.
#[derive(Debug)]
pub(crate) enum DecompressError {
    Refused(Refusal),
    TooLarge,
    TooManyFields,
    Damaged(io::Error),
}

/// Limits how many requests are decompressed at the same time.
#[derive(Clone, Debug)]
pub(crate) struct Decompressor(Arc<Semaphore>);

impl Decompressor {
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }

    /// Decompresses a message and reserves its bytes piece by piece.
    pub(crate) async fn decompress(
        self,
        encoding: Encoding,
        compressed: Bytes,
        limits: MessageLimits,
        account: Arc<Account>,
        hold: Arc<Hold>,
    ) -> Result<DecompressedMessage, DecompressError> {
        // One account cannot fill the turns with many requests. The semaphores are never closed, so
        // `acquire` does not fail.
        let _account_permit = account.decompressions.acquire().await.ok();
        let window = encoding
            .window(&compressed)
            .map_err(DecompressError::Damaged)?;
        let mut kept = READER_BYTES;
        hold.reserve(kept).map_err(DecompressError::Refused)?;
        let mut reader = Reader::new(encoding, compressed).map_err(DecompressError::Damaged)?;
        let (mut decompressed, mut length) = (DecompressedMessage::default(), 0);
        loop {
            let permit = self.0.acquire().await.ok();
            let mut fields = decompressed.fields;
            let piece;
            (reader, fields, piece) = spawn_blocking(move || {
                let piece = reader.read_piece();
                if let Ok(piece) = &piece {
                    fields.advance(piece);
                }
                (reader, fields, piece)
            })
            .await
            .map_err(|error| DecompressError::Refused(error.into()))?;
            drop(permit);
            decompressed.fields = fields;
            let piece = piece.map_err(DecompressError::Damaged)?;
            if piece.is_empty() {
                drop(reader);
                hold.release(kept);
                return Ok(decompressed);
            }
            length += piece.len();
            if length > limits.bytes {
                return Err(DecompressError::TooLarge);
            }
            if decompressed.fields.count() > limits.fields {
                return Err(DecompressError::TooManyFields);
            }
            let more = piece
                .len()
                .min((READER_BYTES + window).saturating_sub(kept));
            hold.reserve(piece.len() + more)
                .map_err(DecompressError::Refused)?;
            kept += more;
            decompressed.pieces.push(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::account::Account;
    use crate::budget::{Budget, HoldKind};
    use crate::config::Limits;

    /// Decompresses a message of at most `bytes`, with a budget of `limit` bytes.
    async fn decompress(
        encoding: Encoding,
        compressed: Bytes,
        bytes: usize,
        limit: usize,
    ) -> Result<Vec<Bytes>, DecompressError> {
        let account = Account::new(&Limits::default());
        let budget = Budget::new(limit, Arc::default());
        let hold = budget.new_hold(HoldKind::Request, Arc::clone(&account), None);
        let limits = MessageLimits {
            bytes,
            fields: usize::MAX,
        };
        let decompressed = Decompressor::new()
            .decompress(encoding, compressed, limits, Arc::clone(&account), hold)
            .await;
        let decompressed = decompressed?;
        assert_eq!(account.held(), 0, "dropping the hold releases the bytes");
        Ok(decompressed.pieces)
    }

    fn compressed(encoding: Encoding, bytes: &[u8]) -> Bytes {
        match encoding {
            Encoding::Zstd => zstd::encode_all(bytes, 3).unwrap().into(),
            Encoding::Gzip => {
                let mut writer =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                writer.write_all(bytes).unwrap();
                writer.finish().unwrap().into()
            }
        }
    }

    #[tokio::test]
    async fn messages_are_decompressed_in_pieces() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            for length in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, 3 * PIECE_BYTES + 5] {
                let bytes: Vec<u8> = (0..length)
                    .map(|n| u8::try_from(n % 251).unwrap())
                    .collect();
                let compressed = compressed(encoding, &bytes);
                let pieces = decompress(encoding, compressed, length, 1 << 30).await;
                assert!(pieces.unwrap().concat() == bytes, "{encoding:?} {length}");
            }
        }
    }

    #[tokio::test]
    async fn decompression_stops_at_the_limits() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let compressed = compressed(encoding, &vec![0; 16 * PIECE_BYTES]);
            let decompress =
                |limits, limit| decompress(encoding, compressed.clone(), limits, limit);
            let failure = decompress(2 * PIECE_BYTES, 1 << 30).await.unwrap_err();
            assert!(matches!(failure, DecompressError::TooLarge), "{failure:?}");
            let failure = decompress(1 << 30, 4 * PIECE_BYTES).await.unwrap_err();
            assert!(
                matches!(failure, DecompressError::Refused(_)),
                "{failure:?}"
            );
        }
    }

    #[tokio::test]
    async fn damaged_messages_and_large_windows_are_refused() {
        let bytes = vec![7; 100_000];
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let whole = compressed(encoding, &bytes);
            let part = whole.slice(..whole.len() / 2);
            for compressed in [part, Bytes::from_static(b"no such thing at all")] {
                let failure = decompress(encoding, compressed, 1 << 30, 1 << 30).await;
                assert!(
                    matches!(failure, Err(DecompressError::Damaged(_))),
                    "{encoding:?}"
                );
            }
        }
        let mut writer = zstd::Encoder::new(Vec::new(), 3).unwrap();
        writer.window_log(MAX_WINDOW_LOG + 1).unwrap();
        writer.write_all(&bytes).unwrap();
        let far: Bytes = writer.finish().unwrap().into();
        let failure = decompress(Encoding::Zstd, far, 1 << 30, 1 << 30).await;
        assert!(matches!(failure, Err(DecompressError::Damaged(_))));
        // A second frame is refused, because its window is not counted.
        let twice = [
            compressed(Encoding::Zstd, &bytes),
            compressed(Encoding::Zstd, &bytes),
        ]
        .concat();
        let failure = decompress(Encoding::Zstd, twice.into(), 1 << 30, 1 << 30).await;
        assert!(matches!(failure, Err(DecompressError::Damaged(_))));
    }

    #[test]
    fn the_window_is_read_from_the_frame_header() {
        for log in [10, 17, 19, 23] {
            let mut writer = zstd::Encoder::new(Vec::new(), 3).unwrap();
            writer.window_log(log).unwrap();
            writer.write_all(&[7; 100]).unwrap();
            assert_eq!(zstd_window(&writer.finish().unwrap()).unwrap(), 1 << log);
        }
        // In a single-segment frame the window is the length of the content.
        for length in [1, 255, 256, 300, 65_791, 65_792, 100_000] {
            let compressed = zstd::bulk::compress(&vec![7; length], 3).unwrap();
            assert_eq!(zstd_window(&compressed).unwrap(), length, "{length}");
        }
        assert!(zstd_window(b"").is_err());
        assert!(zstd_window(&0xFD2F_B528_u32.to_le_bytes()).is_err());
        assert!(zstd_window(b"something else").is_err());
    }

    #[tokio::test]
    async fn the_window_is_counted_during_decompression() {
        let bytes = vec![7; 4 * PIECE_BYTES];
        for (log, limit, is_refused) in [(23, 8, true), (23, 12, false), (18, 8, false)] {
            let mut writer = zstd::Encoder::new(Vec::new(), 3).unwrap();
            writer.window_log(log).unwrap();
            writer.write_all(&bytes).unwrap();
            let compressed: Bytes = writer.finish().unwrap().into();
            // One caller may use three quarters of the limit.
            let decompressed = decompress(Encoding::Zstd, compressed, 1 << 30, limit << 20).await;
            match decompressed {
                Err(DecompressError::Refused(_)) => assert!(is_refused, "{log} {limit}"),
                other => assert!(!is_refused && other.unwrap().concat() == bytes),
            }
        }
    }

    #[tokio::test]
    async fn decompression_stops_at_too_many_fields() {
        // Every two bytes are a field.
        let compressed = compressed(Encoding::Gzip, &vec![8; 64 * PIECE_BYTES]);
        let account = Account::new(&Limits::default());
        let budget = Budget::new(2 * PIECE_BYTES, Arc::default());
        let hold = budget.new_hold(HoldKind::Request, Arc::clone(&account), None);
        let limits = MessageLimits {
            bytes: 1 << 30,
            fields: PIECE_BYTES / 4,
        };
        let decompressed = Decompressor::new()
            .decompress(Encoding::Gzip, compressed, limits, account, hold)
            .await;
        assert!(matches!(decompressed, Err(DecompressError::TooManyFields)));
    }
}
