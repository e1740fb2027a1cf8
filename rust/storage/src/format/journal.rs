//! Journal frames. A frame is a header and the inserts of one sync.

use pingthings_types::{MergePolicy, Points, check_insert_time};
use uuid::Uuid;

use super::{Cursor, Malformed};
use crate::Durability;

/// Length of the header of a frame.
pub(crate) const FRAME_HEADER: usize = 16;

/// Offset of the first frame in a journal file since format version 2. Before it are the file
/// header and two marks, each in a sector of its own.
pub(crate) const JOURNAL_HEADER: usize = 1_536;

/// Length of a mark.
pub(crate) const MARK: usize = 12;

/// Offset of the mark that is written together with a frame.
pub(crate) const fn mark_offset(frame: u64) -> u64 {
    512 + 512 * (frame % 2)
}

fn mark_checksum(file: u32, offset: u64, frames: [u8; 8]) -> u32 {
    let crc = crc32c::crc32c(&file.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &offset.to_le_bytes());
    crc32c::crc32c_append(crc, &frames)
}

/// A mark, which declares how many frames are on stable storage.
pub(crate) fn encode_mark(file: u32, offset: u64, frames: u64) -> [u8; MARK] {
    let mut bytes = [0; MARK];
    bytes[..8].copy_from_slice(&frames.to_le_bytes());
    let crc = mark_checksum(file, offset, frames.to_le_bytes());
    bytes[8..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The number of frames in a mark, or `None` if the bytes are not a mark.
pub(crate) fn decode_mark(file: u32, offset: u64, bytes: &[u8; MARK]) -> Option<u64> {
    let mut cursor = Cursor::new(bytes);
    let frames = cursor.array::<8>().ok()?;
    let crc = cursor.u32().ok()?;
    (crc == mark_checksum(file, offset, frames)).then(|| u64::from_le_bytes(frames))
}

/// The size of an insert without points.
const INSERT_HEADER: usize = 16 + 8 + 1 + 4;

/// First bytes of a frame if everything before it was synced when it was written.
pub(crate) const SYNCED_FRAME: [u8; 4] = *b"PTfs";
/// First bytes of a frame if no sync preceded it.
pub(crate) const RELAXED_FRAME: [u8; 4] = *b"PTfr";

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Length of what follows the header.
    pub(crate) length: u32,
    /// Checksum of what follows the header.
    pub(crate) checksum: u32,
}

/// An insert in the journal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Insert {
    pub(crate) uuid: Uuid,
    /// The committed version it was made on top of.
    pub(crate) major: u64,
    pub(crate) policy: MergePolicy,
    pub(crate) points: Points,
}

fn checksum(file: u32, offset: u64, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&file.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &offset.to_le_bytes());
    crc32c::crc32c_append(crc, payload)
}

const fn policy_byte(policy: MergePolicy) -> u8 {
    match policy {
        MergePolicy::Never => 0,
        MergePolicy::Equal => 1,
        MergePolicy::Retain => 2,
        MergePolicy::Replace => 3,
    }
}

/// Appends an insert to the payload of a frame.
pub(crate) fn encode_insert(
    buffer: &mut Vec<u8>,
    uuid: Uuid,
    major: u64,
    policy: MergePolicy,
    points: &Points,
) -> Result<(), Malformed> {
    let count = u32::try_from(points.len())
        .map_err(|_| Malformed("the insert has too many points for the journal"))?;
    buffer.reserve(INSERT_HEADER + points.len() * 16);
    buffer.extend_from_slice(uuid.as_bytes());
    buffer.extend_from_slice(&major.to_le_bytes());
    buffer.push(policy_byte(policy));
    buffer.extend_from_slice(&count.to_le_bytes());
    for time in &points.times {
        buffer.extend_from_slice(&time.to_le_bytes());
    }
    for value in &points.values {
        buffer.extend_from_slice(&value.to_le_bytes());
    }
    Ok(())
}

/// Fills in the header of a frame; `buffer` starts with space for it, followed by the payload.
pub(crate) fn seal_frame(
    buffer: &mut [u8],
    durability: Durability,
    file: u32,
    offset: u64,
) -> Result<(), Malformed> {
    let (header, payload) = buffer
        .split_first_chunk_mut::<FRAME_HEADER>()
        .ok_or(Malformed("the frame has no header"))?;
    let length = u32::try_from(payload.len()).map_err(|_| Malformed("the frame is too long"))?;
    header[..4].copy_from_slice(match durability {
        Durability::Synced => &SYNCED_FRAME,
        Durability::Relaxed => &RELAXED_FRAME,
    });
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[8..12].copy_from_slice(&checksum(file, offset, payload).to_le_bytes());
    let crc = crc32c::crc32c(&header[..12]);
    header[12..].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// Decodes the header of a frame; `None` if the bytes are not a header.
pub(crate) fn decode_frame_header(header: &[u8; FRAME_HEADER]) -> Option<FrameHeader> {
    let mut cursor = Cursor::new(header);
    let magic = cursor.array::<4>().ok()?;
    let (length, checksum, crc) = (cursor.u32().ok()?, cursor.u32().ok()?, cursor.u32().ok()?);
    let is_valid =
        [SYNCED_FRAME, RELAXED_FRAME].contains(&magic) && crc == crc32c::crc32c(&header[..12]);
    is_valid.then_some(FrameHeader { length, checksum })
}

impl FrameHeader {
    /// Whether `payload` matches the checksum in the header.
    pub(crate) fn matches(self, file: u32, offset: u64, payload: &[u8]) -> bool {
        self.checksum == checksum(file, offset, payload)
    }
}

fn decode_insert(cursor: &mut Cursor<'_>) -> Result<Insert, Malformed> {
    let uuid = Uuid::from_bytes(cursor.array()?);
    let major = cursor.u64()?;
    let policy = MergePolicy::from_wire(i32::from(cursor.u8()?))
        .ok_or(Malformed("the merge policy of an insert is unknown"))?;
    let count = cursor.u32()? as usize;
    // Taking the bytes first proves that there are as many points as the count says, before any
    // allocation.
    let times = cursor.take(count.saturating_mul(8))?;
    let values = cursor.take(count.saturating_mul(8))?;
    let times = times
        .as_chunks::<8>()
        .0
        .iter()
        .copied()
        .map(i64::from_le_bytes);
    let values = values
        .as_chunks::<8>()
        .0
        .iter()
        .copied()
        .map(f64::from_le_bytes);
    let points = Points {
        times: times.collect(),
        values: values.collect(),
    };
    let is_time = |time: &i64| check_insert_time(*time).is_ok();
    if !points.times.iter().all(is_time) || !points.values.iter().all(|v| v.is_finite()) {
        return Err(Malformed("an insert has a point that no stream can hold"));
    }
    Ok(Insert {
        uuid,
        major,
        policy,
        points,
    })
}

/// Decodes the inserts in the payload of a frame.
pub(crate) fn decode_inserts(payload: &[u8]) -> Result<Vec<Insert>, Malformed> {
    let mut cursor = Cursor::new(payload);
    let mut inserts = Vec::new();
    while !cursor.rest().is_empty() {
        inserts.push(decode_insert(&mut cursor)?);
    }
    Ok(inserts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mark_is_valid_only_at_its_place() {
        let bytes = encode_mark(3, 512, 77);
        assert_eq!(decode_mark(3, 512, &bytes), Some(77));
        assert_eq!(decode_mark(3, 1_024, &bytes), None);
        assert_eq!(decode_mark(4, 512, &bytes), None);
        assert_eq!(decode_mark(0, 0, &[0; MARK]), None);
        assert_ne!(mark_offset(4), mark_offset(5));
        assert_eq!(mark_offset(4), mark_offset(6));
    }

    #[test]
    fn a_frame_round_trips_and_is_valid_only_at_its_place() {
        let points = Points {
            times: vec![3, -4],
            values: vec![-0.0, 1e300],
        };
        let mut buffer = vec![0; FRAME_HEADER];
        for policy in MergePolicy::ALL {
            encode_insert(&mut buffer, Uuid::from_u128(7), 12, policy, &points).unwrap();
        }
        seal_frame(&mut buffer, Durability::Synced, 5, 99).unwrap();
        let (header, payload) = buffer.split_first_chunk().unwrap();
        let frame = decode_frame_header(header).unwrap();
        assert!(frame.matches(5, 99, payload));
        assert!(!frame.matches(5, 98, payload));
        let inserts = decode_inserts(payload).unwrap();
        assert_eq!(inserts.len(), 4);
        for (insert, policy) in inserts.iter().zip(MergePolicy::ALL) {
            assert_eq!((insert.uuid, insert.major), (Uuid::from_u128(7), 12));
            assert_eq!((insert.policy, &insert.points), (policy, &points));
        }
    }

    /// Inserts are checked before they are written, so the engine never writes such points.
    #[test]
    fn points_no_stream_can_hold_are_refused() {
        for (time, value) in [(i64::MAX, 1.0), (i64::MIN, 1.0), (0, f64::NAN), (0, 1.0)] {
            let points = Points {
                times: vec![0, time],
                values: vec![1.0, value],
            };
            let mut buffer = Vec::new();
            let uuid = Uuid::from_u128(7);
            encode_insert(&mut buffer, uuid, 12, MergePolicy::Never, &points).unwrap();
            assert_eq!(decode_inserts(&buffer).is_ok(), (time, value) == (0, 1.0));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_decoded(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_inserts(&bytes);
        }
    }
}
