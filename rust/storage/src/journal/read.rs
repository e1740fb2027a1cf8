//! Reading the journal files that an earlier process left.

use crate::Error;
use crate::blocks::{Blocks, FileName};
use crate::error::io_error;
use crate::format::{
    Cursor, FILE_HEADER, FIRST_VERSION, FRAME_HEADER, Insert, JOURNAL_HEADER, MARK, Malformed,
    SYNCED_FRAME, check_file_header, decode_frame_header, decode_inserts, decode_mark, mark_offset,
};
use crate::segment::header_error;

/// The content of a journal file.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Its inserts, in order.
    pub(crate) inserts: Vec<Insert>,
    /// The highest catalog change that its frames carry.
    pub(crate) change: u64,
    /// Where its last complete frame ends; 0 if not even the header is complete.
    pub(crate) length: u64,
    /// Whether incomplete bytes follow.
    pub(crate) is_torn: bool,
    /// What is missing; salvage only.
    pub(crate) missing: Vec<Error>,
}

/// How to read a journal file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadOptions {
    /// Whether the file was still written to when the process ended. Only then may its last frame
    /// be incomplete: the process died before it acknowledged that frame.
    pub(crate) is_open: bool,
    /// Whether the file may be so new that none of its frames was acknowledged.
    pub(crate) may_be_new: bool,
    /// Whether to read the intact frames of a damaged file.
    pub(crate) is_salvage: bool,
}

/// What the header of a file says.
struct Header {
    /// Offset of the first frame.
    frames_at: u64,
    /// Number of frames that were on stable storage.
    marked: u64,
    is_first_version: bool,
}

/// Reads a journal file.
///
/// A synced frame after a broken one proves that the broken one was complete when it was
/// acknowledged: the file is damaged. It is also damaged if it has fewer frames than its marks
/// count.
pub(crate) fn read_file(
    blocks: &dyn Blocks,
    name: FileName,
    options: ReadOptions,
) -> Result<Contents, Error> {
    let length = blocks.len(name).map_err(|e| io_error("look at", name, e))?;
    let mut contents = Contents {
        is_torn: true,
        ..Contents::default()
    };
    let header = match read_header(blocks, name, length) {
        Ok(header) => header,
        Err(error @ (Error::FormatVersion { .. } | Error::Io { .. })) => return Err(error),
        Err(error) => {
            let is_new = options.may_be_new && !synced_frame_follows(blocks, name, 0, length)?;
            if is_new {
                return Ok(contents);
            }
            if !options.is_salvage {
                return Err(error);
            }
            contents.missing.push(error);
            Header {
                frames_at: (JOURNAL_HEADER as u64).min(length),
                marked: 0,
                is_first_version: false,
            }
        }
    };
    let mut frames = 0;
    let mut offset = header.frames_at;
    contents.length = offset;
    while offset < length {
        if let Some(frame) = read_frame(blocks, name, offset, length)? {
            let inserts = frame.decode(header.is_first_version);
            let (change, inserts) = inserts.map_err(|e| damaged(name, offset, e.0))?;
            contents.change = contents.change.max(change);
            contents.inserts.extend(inserts);
            offset = frame.next;
            contents.length = offset;
            frames += 1;
            continue;
        }
        let next = next_synced_frame(blocks, name, offset, length)?;
        let is_end = options.is_open && next.is_none();
        if !is_end {
            let error = damaged(
                name,
                offset,
                "a frame is cut off or its checksum does not match",
            );
            if !options.is_salvage {
                return Err(error);
            }
            contents.missing.push(error);
        }
        match next {
            Some(next) => offset = next,
            None => break,
        }
    }
    if frames < header.marked {
        let marked = header.marked;
        let problem = format!("{marked} frames were acknowledged, but {frames} are intact");
        let error = damaged(name, contents.length, &problem);
        if !options.is_salvage {
            return Err(error);
        }
        contents.missing.push(error);
    }
    contents.is_torn = contents.length < length || !contents.missing.is_empty();
    Ok(contents)
}

fn damaged(name: FileName, offset: u64, problem: &str) -> Error {
    Error::Damaged {
        file: name.to_string(),
        offset,
        problem: problem.to_owned(),
    }
}

fn read_header(blocks: &dyn Blocks, name: FileName, length: u64) -> Result<Header, Error> {
    let mut bytes = [0; JOURNAL_HEADER];
    let present = usize::try_from(length).map_or(JOURNAL_HEADER, |l| l.min(JOURNAL_HEADER));
    blocks
        .read_at(name, 0, &mut bytes[..present])
        .map_err(|e| io_error("read", name, e))?;
    let version = check_file_header(name, &bytes[..present.min(FILE_HEADER)])
        .map_err(|problem| header_error(name, problem))?;
    if version == FIRST_VERSION {
        return Ok(Header {
            frames_at: FILE_HEADER as u64,
            marked: 0,
            is_first_version: true,
        });
    }
    if present < JOURNAL_HEADER {
        return Err(damaged(name, length, "the header is cut off"));
    }
    let marks = [0, 1].into_iter().filter_map(|frame| {
        let offset = mark_offset(frame);
        let at = usize::try_from(offset).ok()?;
        let mark: &[u8; MARK] = bytes.get(at..)?.first_chunk()?;
        decode_mark(name.number, offset, mark)
    });
    Ok(Header {
        frames_at: JOURNAL_HEADER as u64,
        marked: marks.max().unwrap_or(0),
        is_first_version: false,
    })
}

/// Whether a complete frame of a synced journal begins after `offset`.
fn synced_frame_follows(
    blocks: &dyn Blocks,
    name: FileName,
    offset: u64,
    length: u64,
) -> Result<bool, Error> {
    next_synced_frame(blocks, name, offset, length).map(|next| next.is_some())
}

/// Offset of the next complete frame of a synced journal after `offset`.
fn next_synced_frame(
    blocks: &dyn Blocks,
    name: FileName,
    offset: u64,
    length: u64,
) -> Result<Option<u64>, Error> {
    const STEP: usize = 1 << 16;
    const MAGIC: usize = SYNCED_FRAME.len();
    let mut from = offset + 1;
    while from + FRAME_HEADER as u64 <= length {
        let left = usize::try_from(length - from).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(STEP + MAGIC - 1)];
        blocks
            .read_at(name, from, &mut bytes)
            .map_err(|e| io_error("read", name, e))?;
        for (at, window) in bytes.windows(MAGIC).enumerate() {
            if window == SYNCED_FRAME
                && read_frame(blocks, name, from + at as u64, length)?.is_some()
            {
                return Ok(Some(from + at as u64));
            }
        }
        from += STEP as u64;
    }
    Ok(None)
}

/// A complete frame.
struct Frame {
    payload: Vec<u8>,
    /// Offset of the next frame.
    next: u64,
}

impl Frame {
    /// The catalog change that the frame carries, and its inserts.
    fn decode(&self, is_first_version: bool) -> Result<(u64, Vec<Insert>), Malformed> {
        if is_first_version {
            return Ok((0, decode_inserts(&self.payload)?));
        }
        let mut cursor = Cursor::new(&self.payload);
        let change = cursor.u64()?;
        Ok((change, decode_inserts(cursor.rest())?))
    }
}

/// The frame at `offset`; `None` if it is incomplete or its checksum does not match.
fn read_frame(
    blocks: &dyn Blocks,
    name: FileName,
    offset: u64,
    length: u64,
) -> Result<Option<Frame>, Error> {
    let left = length - offset;
    if left < FRAME_HEADER as u64 {
        return Ok(None);
    }
    let mut header = [0; FRAME_HEADER];
    blocks
        .read_at(name, offset, &mut header)
        .map_err(|e| io_error("read", name, e))?;
    let Some(header) = decode_frame_header(&header) else {
        return Ok(None);
    };
    if u64::from(header.length) > left - FRAME_HEADER as u64 {
        return Ok(None);
    }
    let from = offset + FRAME_HEADER as u64;
    let mut payload = vec![0; header.length as usize];
    blocks
        .read_at(name, from, &mut payload)
        .map_err(|e| io_error("read", name, e))?;
    let next = from + u64::from(header.length);
    Ok(header
        .matches(name.number, offset, &payload)
        .then_some(Frame { payload, next }))
}
