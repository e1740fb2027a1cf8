//! The manifest: which files and which catalog change must be present. It is stored beside the
//! catalog, so that a catalog older than the data, or a missing journal file, is detected.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Cursor, FILE_HEADER, Malformed};
use crate::blocks::FileName;

/// The content of the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ManifestContent {
    /// Increases with each write.
    pub(crate) sequence: u64,
    /// The id of the catalog that belongs to the directory.
    pub(crate) id: Uuid,
    /// The number of a change that the catalog has.
    pub(crate) change: u64,
    /// The highest number of any journal file so far.
    pub(crate) last_journal: u32,
    /// The journal files with inserts that are not in a tree, and their lengths; `None` for the
    /// file that is written to.
    pub(crate) journal: BTreeMap<u32, Option<u64>>,
}

/// Encodes a manifest file: its header, then length, checksum and content.
pub(crate) fn encode_manifest(
    name: FileName,
    content: &ManifestContent,
) -> Result<Vec<u8>, Malformed> {
    let too_long = |_| Malformed("the manifest is too long");
    let mut payload = Vec::new();
    payload.extend_from_slice(&content.sequence.to_le_bytes());
    payload.extend_from_slice(content.id.as_bytes());
    payload.extend_from_slice(&content.change.to_le_bytes());
    payload.extend_from_slice(&content.last_journal.to_le_bytes());
    let count = u32::try_from(content.journal.len()).map_err(too_long)?;
    payload.extend_from_slice(&count.to_le_bytes());
    for (number, length) in &content.journal {
        payload.extend_from_slice(&number.to_le_bytes());
        payload.extend_from_slice(&length.unwrap_or(0).to_le_bytes());
    }
    let length = u32::try_from(payload.len()).map_err(too_long)?;
    let mut bytes = super::file_header(name).to_vec();
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&checksum(name, &payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

/// Decodes the content of a manifest file whose header was checked.
pub(crate) fn decode_manifest(name: FileName, bytes: &[u8]) -> Result<ManifestContent, Malformed> {
    let mut cursor = Cursor::new(bytes);
    cursor.take(FILE_HEADER)?;
    let length = cursor.u32()?;
    let crc = cursor.u32()?;
    let payload = cursor.take(length as usize)?;
    if crc != checksum(name, payload) {
        return Err(Malformed("the checksum of the manifest does not match"));
    }
    let mut cursor = Cursor::new(payload);
    let mut content = ManifestContent {
        sequence: cursor.u64()?,
        id: Uuid::from_bytes(cursor.array()?),
        change: cursor.u64()?,
        last_journal: cursor.u32()?,
        journal: BTreeMap::new(),
    };
    for _ in 0..cursor.u32()? {
        let number = cursor.u32()?;
        let length = cursor.u64()?;
        content
            .journal
            .insert(number, (length > 0).then_some(length));
    }
    cursor.end()?;
    Ok(content)
}

fn checksum(name: FileName, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&name.number.to_le_bytes());
    crc32c::crc32c_append(crc, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_round_trips_and_any_changed_byte_is_detected() {
        let content = ManifestContent {
            sequence: 7,
            id: Uuid::from_u128(9),
            change: 1 << 40,
            last_journal: 5,
            journal: BTreeMap::from([(3, Some(2_000)), (5, None)]),
        };
        let name = FileName::manifest(2);
        let bytes = encode_manifest(name, &content).unwrap();
        assert_eq!(decode_manifest(name, &bytes), Ok(content));
        for at in FILE_HEADER..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode_manifest(name, &damaged).is_err(), "{at}");
            assert!(decode_manifest(name, &bytes[..at]).is_err(), "{at}");
        }
    }
}
