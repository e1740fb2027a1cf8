//! Reading a journal file that an earlier process left.

use crate::Error;
use crate::blocks::{Blocks, FileName};
use crate::error::io_error;
use crate::format::{
    Cursor, FILE_HEADER, FIRST_VERSION, FRAME_HEADER, Insert, JOURNAL_HEADER, MARK, Malformed,
    SYNCED_FRAME, check_file_header, decode_frame_header, decode_inserts, decode_mark, mark_offset,
};
use crate::segment::header_error;

/// What a journal file holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Its inserts, in order.
    pub(crate) inserts: Vec<Insert>,
    /// The last change of the catalog that its frames know of.
    pub(crate) change: u64,
    /// Where its whole frames end; 0 if not even the header is whole.
    pub(crate) length: u64,
    /// Whether something follows that is not whole.
    pub(crate) is_torn: bool,
    /// What is missing, if what is whole was to be read nevertheless.
    pub(crate) missing: Vec<Error>,
}

/// How a journal file is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// Whether it was written to when the process ended: only then may its end be incomplete, where
    /// the process was killed while writing what it had not acknowledged.
    pub(crate) is_open: bool,
    /// Whether it may be that nothing in it was acknowledged.
    pub(crate) may_be_new: bool,
    /// Whether what is whole is to be read if not everything is.
    pub(crate) is_salvage: bool,
}

/// What is known of a file before its frames are read.
struct Header {
    /// Where the frames begin.
    frames_at: u64,
    /// How many frames certainly were on stable storage.
    marked: u64,
    is_first_version: bool,
}

/// Reads a journal file.
///
/// A synced frame behind a broken one proves that the broken one was whole when it was
/// acknowledged, so that is damage; and the marks say how many frames there have to be.
pub(crate) fn read_file(
    blocks: &dyn Blocks,
    name: FileName,
    reading: Reading,
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
            let is_new = reading.may_be_new && !synced_frame_follows(blocks, name, 0, length)?;
            if is_new {
                return Ok(contents);
            }
            if !reading.is_salvage {
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
        let is_end = reading.is_open && next.is_none();
        if !is_end {
            let error = damaged(
                name,
                offset,
                "a frame is cut off or its checksum does not fit",
            );
            if !reading.is_salvage {
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
        let problem = format!("{marked} frames were acknowledged, {frames} are whole");
        let error = damaged(name, contents.length, &problem);
        if !reading.is_salvage {
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

/// Whether a whole frame that was written to a synced journal begins behind `offset`.
fn synced_frame_follows(
    blocks: &dyn Blocks,
    name: FileName,
    offset: u64,
    length: u64,
) -> Result<bool, Error> {
    next_synced_frame(blocks, name, offset, length).map(|next| next.is_some())
}

/// Where the next whole frame begins behind `offset` that was written to a synced journal.
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

/// A whole frame.
struct Frame {
    payload: Vec<u8>,
    /// Where the next one begins.
    next: u64,
}

impl Frame {
    /// The last change of the catalog it knows of, and its inserts.
    fn decode(&self, is_first_version: bool) -> Result<(u64, Vec<Insert>), Malformed> {
        if is_first_version {
            return Ok((0, decode_inserts(&self.payload)?));
        }
        let mut cursor = Cursor::new(&self.payload);
        let change = cursor.u64()?;
        Ok((change, decode_inserts(cursor.rest())?))
    }
}

/// The frame at `offset`; `None` if it is not whole.
fn read_frame(
    blocks: &dyn Blocks,
    name: FileName,
    offset: u64,
    length: u64,
) -> Result<Option<Frame>, Error> {
    let room = length - offset;
    if room < FRAME_HEADER as u64 {
        return Ok(None);
    }
    let mut header = [0; FRAME_HEADER];
    blocks
        .read_at(name, offset, &mut header)
        .map_err(|e| io_error("read", name, e))?;
    let Some(header) = decode_frame_header(&header) else {
        return Ok(None);
    };
    if u64::from(header.length) > room - FRAME_HEADER as u64 {
        return Ok(None);
    }
    let from = offset + FRAME_HEADER as u64;
    let mut payload = vec![0; header.length as usize];
    blocks
        .read_at(name, from, &mut payload)
        .map_err(|e| io_error("read", name, e))?;
    let next = from + u64::from(header.length);
    Ok(header
        .fits(name.number, offset, &payload)
        .then_some(Frame { payload, next }))
}
