//! The encoding of every byte on disk: headers, blocks and journal records; little-endian, with
//! checksums and a version.
//!
//! `docs/design/storage-format.md` documents the format.

mod block;
mod commit;
mod cursor;
mod journal;
mod leaf;
mod manifest;
mod node;
mod times;

pub(crate) use block::{
    BLOCK_HEADER, COMMIT_BLOCK, decode_block, open_block, seal_block, seal_commit,
};
pub(crate) use commit::CommitRecord;
pub(crate) use cursor::{Cursor, Malformed};
pub(crate) use journal::{
    FRAME_HEADER, Insert, JOURNAL_HEADER, MARK, SYNCED_FRAME, decode_frame_header, decode_inserts,
    decode_mark, encode_insert, encode_mark, mark_offset, seal_frame,
};
pub(crate) use leaf::{decode_leaf, encode_leaf};
pub(crate) use manifest::{ManifestContent, decode_manifest, encode_manifest};
pub(crate) use node::{InnerParts, decode_inner, decode_run, encode_inner, encode_run};

use crate::blocks::{FileKind, FileName};

/// Version of the format that this module writes; a directory with a later version is refused.
pub(crate) const FORMAT_VERSION: u32 = 2;

/// The first version, whose journal files have no marks.
pub(crate) const FIRST_VERSION: u32 = 1;

/// Length of the header of a segment or journal file.
pub(crate) const FILE_HEADER: usize = 16;

const fn magic(kind: FileKind) -> [u8; 4] {
    match kind {
        FileKind::Segment => *b"PTsg",
        FileKind::Journal => *b"PTjn",
        FileKind::Manifest => *b"PTmf",
        FileKind::Aside => *b"PTsa",
    }
}

/// The header of a file.
pub(crate) fn file_header(name: FileName) -> [u8; FILE_HEADER] {
    let mut bytes = [0; FILE_HEADER];
    bytes[..4].copy_from_slice(&magic(name.kind));
    bytes[4..8].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[8..12].copy_from_slice(&name.number.to_le_bytes());
    let crc = header_checksum(name, &bytes);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The checksum also covers the generation, unless that is 0.
fn header_checksum(name: FileName, bytes: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&bytes[..12]);
    match name.generation {
        0 => crc,
        generation => crc32c::crc32c_append(crc, &generation.to_le_bytes()),
    }
}

/// Why the header of a file is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderProblem {
    /// It is not what was written.
    Damaged(&'static str),
    /// It has a version that this build does not read.
    Version(u32),
}

/// Checks the header of a file, and returns its format version.
pub(crate) fn check_file_header(name: FileName, bytes: &[u8]) -> Result<u32, HeaderProblem> {
    let mut cursor = Cursor::new(bytes);
    let mut parts = || -> Result<_, Malformed> {
        Ok((
            cursor.array::<4>()?,
            cursor.u32()?,
            cursor.u32()?,
            cursor.u32()?,
        ))
    };
    let (found, version, number, crc) =
        parts().map_err(|_| HeaderProblem::Damaged("the file header is cut off"))?;
    if found != magic(name.kind) {
        return Err(HeaderProblem::Damaged(
            "the file does not begin with the expected bytes",
        ));
    }
    if crc != header_checksum(name, bytes) {
        return Err(HeaderProblem::Damaged(
            "the checksum of the file header does not match",
        ));
    }
    if !(FIRST_VERSION..=FORMAT_VERSION).contains(&version) {
        return Err(HeaderProblem::Version(version));
    }
    if number != name.number {
        return Err(HeaderProblem::Damaged(
            "the number in the file header is not that of the file name",
        ));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::journal::RELAXED_FRAME;
    use super::*;

    #[test]
    fn a_header_names_its_file_and_version() {
        let name = FileName::segment(3);
        let header = file_header(name);
        assert_eq!(check_file_header(name, &header), Ok(FORMAT_VERSION));
        assert!(check_file_header(FileName::segment(4), &header).is_err());
        assert!(check_file_header(FileName::journal(3), &header).is_err());
        let later = FileName {
            generation: 1,
            ..name
        };
        assert!(check_file_header(later, &header).is_err());
        assert!(check_file_header(name, &file_header(later)).is_err());
        assert_eq!(
            check_file_header(later, &file_header(later)),
            Ok(FORMAT_VERSION)
        );
        assert!(check_file_header(name, &header[..15]).is_err());
        for at in 0..FILE_HEADER {
            let mut damaged = header;
            damaged[at] ^= 1;
            assert!(check_file_header(name, &damaged).is_err());
        }
    }

    #[test]
    fn the_document_agrees() {
        use crate::tree::BlockKind;
        let document = include_str!("../../../docs/design/storage-format.md");
        let text = |magic: [u8; 4]| String::from_utf8(magic.to_vec()).unwrap();
        let kind = |kind: BlockKind| kind.to_byte().to_string();
        let rows = [
            ("format version", FORMAT_VERSION.to_string()),
            (
                "version of the catalog",
                crate::catalog::SCHEMA_VERSION.to_string(),
            ),
            ("first bytes of a segment", text(magic(FileKind::Segment))),
            (
                "first bytes of a journal file",
                text(magic(FileKind::Journal)),
            ),
            (
                "first bytes of a manifest file",
                text(magic(FileKind::Manifest)),
            ),
            (
                "first bytes of a file set aside",
                text(magic(FileKind::Aside)),
            ),
            ("first bytes of a frame, synced", text(SYNCED_FRAME)),
            ("first bytes of a frame, relaxed", text(RELAXED_FRAME)),
            ("length of a file header", FILE_HEADER.to_string()),
            (
                "length of the header of a journal file",
                JOURNAL_HEADER.to_string(),
            ),
            ("kind of a commit", COMMIT_BLOCK.to_string()),
            ("length of a block header", BLOCK_HEADER.to_string()),
            ("length of a frame header", FRAME_HEADER.to_string()),
            ("kind of a leaf", kind(BlockKind::Leaf)),
            ("kind of an inner node", kind(BlockKind::Inner)),
            ("kind of a run", kind(BlockKind::Run)),
            ("most points of a leaf", crate::tree::MAX_LEAF.to_string()),
        ];
        for (what, value) in rows {
            let row = format!("| {what} | `{value}` |");
            assert!(document.contains(&row), "the document lacks {row}");
        }
        let version = format!("Format version: **{FORMAT_VERSION}**");
        assert!(document.contains(&version), "the document lacks {version}");
    }

    #[test]
    fn another_version_is_named() {
        let name = FileName::journal(3);
        let mut header = file_header(name);
        header[4] = 9;
        let crc = crc32c::crc32c(&header[..12]);
        header[12..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(
            check_file_header(name, &header),
            Err(HeaderProblem::Version(9))
        );
    }
}
