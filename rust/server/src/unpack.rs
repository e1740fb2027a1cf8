//! Unpacking compressed requests.
//!
//! It is work for which a caller pays a thousandth, so it is done on blocking threads and in turns:
//! on half of the processor at most, a piece of each request after the other. What is unpacked is
//! counted, and so is what its unpacking takes.

use std::io::{self, BufRead as _, Cursor, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use memmap2::MmapMut;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::budget::Hold;
use crate::fields::Fields;
use crate::owner::Owner;
use crate::status::Refusal;

/// How much of a request is unpacked in one turn.
const PIECE: usize = 1 << 20;
/// What is smaller is kept without memory of its own from the system.
const SMALL: usize = PIECE / 2;
/// The most that a request in zstd may look back, as a power of two: more than any level but the
/// highest asks for. A reader takes as much memory.
const WINDOW_LOG: u32 = 23;
/// What a reader takes at first, about; what it gave and may look back to comes to it.
const READER: usize = 192 << 10;

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

    /// How much of what it gave its reader keeps.
    fn window(self, packed: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip => Ok(0),
            Self::Zstd => zstd_window(packed),
        }
    }
}

/// How far the first frame of zstd looks back, as its head says: RFC 8878, 3.1.1.
fn zstd_window(packed: &[u8]) -> io::Result<usize> {
    const MAGIC: u32 = 0xFD2F_B528;
    let mut packed = packed;
    let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let cut = |_| wrong("the head of its frame is cut off");
    if packed.try_get_u32_le().map_err(cut)? != MAGIC {
        return Err(wrong("it does not begin with a frame of zstd"));
    }
    let descriptor = packed.try_get_u8().map_err(cut)?;
    let window = if descriptor & 0x20 == 0 {
        let byte = u32::from(packed.try_get_u8().map_err(cut)?);
        let base = 1_u64 << (10 + (byte >> 3));
        base + base / 8 * u64::from(byte & 7)
    } else {
        // It looks back as far as it is long, which stands after the number of a dictionary.
        packed.advance([0, 1, 2, 4][usize::from(descriptor & 3)].min(packed.len()));
        match descriptor >> 6 {
            0 => packed.try_get_u8().map_err(cut)?.into(),
            1 => u64::from(packed.try_get_u16_le().map_err(cut)?) + 256,
            2 => packed.try_get_u32_le().map_err(cut)?.into(),
            _ => packed.try_get_u64_le().map_err(cut)?,
        }
    };
    if window > 1 << WINDOW_LOG {
        return Err(wrong("it looks back too far"));
    }
    usize::try_from(window).map_err(|_| wrong("it looks back too far"))
}

/// Reads what was packed.
enum Reader {
    Gzip(Box<flate2::read::GzDecoder<Cursor<Bytes>>>),
    Zstd(zstd::stream::read::Decoder<'static, Cursor<Bytes>>),
}

impl Reader {
    fn new(packing: Packing, packed: Bytes) -> io::Result<Self> {
        let packed = Cursor::new(packed);
        Ok(match packing {
            Packing::Gzip => Self::Gzip(Box::new(flate2::read::GzDecoder::new(packed))),
            Packing::Zstd => {
                // Another frame might look back further than was counted.
                let mut reader = zstd::stream::read::Decoder::with_buffer(packed)?.single_frame();
                reader.window_log_max(WINDOW_LOG)?;
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
                    let what = "something follows its frame";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
                Ok(count)
            }
        }
    }

    /// Up to a piece; nothing at the end.
    fn read_piece(&mut self) -> io::Result<Bytes> {
        // Memory from the system itself, which gets it back with the piece: an allocator keeps what
        // was freed between what was not, and there may be as much of it as of all requests.
        let mut piece = MmapMut::map_anon(PIECE)?;
        let mut filled = 0;
        while filled < PIECE {
            match self.read(&mut piece[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(if filled < SMALL {
            Bytes::copy_from_slice(&piece[..filled])
        } else {
            Bytes::from_owner(piece).slice(..filled)
        })
    }
}

/// What a request may be once it is unpacked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    pub(crate) bytes: usize,
    pub(crate) fields: usize,
}

/// A request that was unpacked.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) fields: Fields,
}

/// Why a request could not be unpacked.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(Refusal),
    TooLarge,
    TooManyFields,
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

    /// Unpacks a message, whose bytes are counted as they come.
    pub(crate) async fn unpack(
        self,
        packing: Packing,
        packed: Bytes,
        most: Most,
        owner: Arc<Owner>,
        hold: Arc<Hold>,
    ) -> Result<Unpacked, Failure> {
        // However many one owner sends, few are taken in turns with those of others. The semaphores
        // are never closed.
        let _place = owner.unpacking.acquire().await.ok();
        let window = packing.window(&packed).map_err(Failure::Damaged)?;
        let mut kept = READER;
        hold.take(kept).map_err(Failure::Refused)?;
        let mut reader = Reader::new(packing, packed).map_err(Failure::Damaged)?;
        let (mut unpacked, mut length) = (Unpacked::default(), 0);
        loop {
            let turn = self.0.acquire().await.ok();
            let mut fields = unpacked.fields;
            let piece;
            (reader, fields, piece) = spawn_blocking(move || {
                let piece = reader.read_piece();
                if let Ok(piece) = &piece {
                    fields.advance(piece);
                }
                (reader, fields, piece)
            })
            .await
            .map_err(|error| Failure::Refused(error.into()))?;
            drop(turn);
            unpacked.fields = fields;
            let piece = piece.map_err(Failure::Damaged)?;
            if piece.is_empty() {
                drop(reader);
                hold.give(kept);
                return Ok(unpacked);
            }
            length += piece.len();
            if length > most.bytes {
                return Err(Failure::TooLarge);
            }
            if unpacked.fields.count() > most.fields {
                return Err(Failure::TooManyFields);
            }
            let more = piece.len().min((READER + window).saturating_sub(kept));
            hold.take(piece.len() + more).map_err(Failure::Refused)?;
            kept += more;
            unpacked.pieces.push(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::budget::{Budget, Kind};
    use crate::config::Limits;
    use crate::owner::Owner;

    /// Unpacks what may be `bytes` long, for a caller of whom so much may be held.
    async fn unpack(
        packing: Packing,
        packed: Bytes,
        bytes: usize,
        limit: usize,
    ) -> Result<Vec<Bytes>, Failure> {
        let owner = Owner::new(&Limits::default());
        let budget = Budget::new(limit, Arc::default());
        let hold = budget.hold(Kind::Request, Arc::clone(&owner), None);
        let most = Most {
            bytes,
            fields: usize::MAX,
        };
        let unpacked = Unpacker::new()
            .unpack(packing, packed, most, Arc::clone(&owner), hold)
            .await;
        let unpacked = unpacked?;
        assert_eq!(owner.held(), 0, "it is given back with the hold");
        Ok(unpacked.pieces)
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
                let pieces = unpack(packing, packed, length, 1 << 30).await;
                assert!(pieces.unwrap().concat() == bytes, "{packing:?} {length}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_too_large_ends_before_it_is_there() {
        for packing in [Packing::Gzip, Packing::Zstd] {
            let packed = packed(packing, &vec![0; 16 * PIECE]);
            let unpack = |most, limit| unpack(packing, packed.clone(), most, limit);
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
                let failure = unpack(packing, packed, 1 << 30, 1 << 30).await;
                assert!(matches!(failure, Err(Failure::Damaged(_))), "{packing:?}");
            }
        }
        let mut writer = zstd::Encoder::new(Vec::new(), 3).unwrap();
        writer.window_log(WINDOW_LOG + 1).unwrap();
        writer.write_all(&bytes).unwrap();
        let far: Bytes = writer.finish().unwrap().into();
        let failure = unpack(Packing::Zstd, far, 1 << 30, 1 << 30).await;
        assert!(matches!(failure, Err(Failure::Damaged(_))));
        // Nor may another frame follow, of which the first does not say how far it looks back.
        let twice = [packed(Packing::Zstd, &bytes), packed(Packing::Zstd, &bytes)].concat();
        let failure = unpack(Packing::Zstd, twice.into(), 1 << 30, 1 << 30).await;
        assert!(matches!(failure, Err(Failure::Damaged(_))));
    }

    #[test]
    fn how_far_a_frame_looks_back_stands_in_its_head() {
        for log in [10, 17, 19, 23] {
            let mut writer = zstd::Encoder::new(Vec::new(), 3).unwrap();
            writer.window_log(log).unwrap();
            writer.write_all(&[7; 100]).unwrap();
            assert_eq!(zstd_window(&writer.finish().unwrap()).unwrap(), 1 << log);
        }
        // What is packed as a whole looks back no further than it is long.
        for length in [1, 255, 256, 300, 65_791, 65_792, 100_000] {
            let packed = zstd::bulk::compress(&vec![7; length], 3).unwrap();
            assert_eq!(zstd_window(&packed).unwrap(), length, "{length}");
        }
        assert!(zstd_window(b"").is_err());
        assert!(zstd_window(&0xFD2F_B528_u32.to_le_bytes()).is_err());
        assert!(zstd_window(b"something else").is_err());
    }

    #[tokio::test]
    async fn what_its_reader_keeps_is_counted_until_it_is_done() {
        let bytes = vec![7; 4 * PIECE];
        for (log, limit, is_refused) in [(23, 8, true), (23, 12, false), (18, 8, false)] {
            let mut writer = zstd::Encoder::new(Vec::new(), 3).unwrap();
            writer.window_log(log).unwrap();
            writer.write_all(&bytes).unwrap();
            let packed: Bytes = writer.finish().unwrap().into();
            // Of the limit three quarters are for one caller.
            let unpacked = unpack(Packing::Zstd, packed, 1 << 30, limit << 20).await;
            match unpacked {
                Err(Failure::Refused(_)) => assert!(is_refused, "{log} {limit}"),
                other => assert!(!is_refused && other.unwrap().concat() == bytes),
            }
        }
    }

    #[tokio::test]
    async fn too_many_entries_end_it_before_all_of_it_is_there() {
        // Each two bytes are a field of its own.
        let packed = packed(Packing::Gzip, &vec![8; 64 * PIECE]);
        let owner = Owner::new(&Limits::default());
        let budget = Budget::new(2 * PIECE, Arc::default());
        let hold = budget.hold(Kind::Request, Arc::clone(&owner), None);
        let most = Most {
            bytes: 1 << 30,
            fields: PIECE / 4,
        };
        let unpacked = Unpacker::new()
            .unpack(Packing::Gzip, packed, most, owner, hold)
            .await;
        assert!(matches!(unpacked, Err(Failure::TooManyFields)));
    }
}
