//! Commit records, which a commit writes to the segment before it changes the catalog.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Cursor, Malformed};
use crate::catalog::Commit;
use crate::tree::Address;

/// A catalog change that adds versions, as recorded in the segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitRecord {
    /// The id of the changed catalog.
    pub(crate) id: Uuid,
    /// Number of the last successful change before it.
    pub(crate) previous: u64,
    /// Its number.
    pub(crate) change: u64,
    pub(crate) commits: Vec<Commit>,
    /// The lengths of the segments that contain its blocks.
    pub(crate) segments: BTreeMap<u32, u64>,
}

impl CommitRecord {
    /// The payload of its block. Its length does not depend on the values.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let count = |length: usize| {
            u32::try_from(length)
                .map_err(|_| Malformed("a commit has too many versions or segments"))
        };
        let mut bytes = Vec::new();
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.previous.to_le_bytes());
        bytes.extend_from_slice(&self.change.to_le_bytes());
        bytes.extend_from_slice(&count(self.commits.len())?.to_le_bytes());
        for commit in &self.commits {
            bytes.extend_from_slice(&commit.stream.to_le_bytes());
            bytes.extend_from_slice(&commit.major.to_le_bytes());
            bytes.extend_from_slice(&commit.wall_ns.to_le_bytes());
            let root = commit
                .root
                .map_or([0; 3], |root| [root.segment, root.offset, root.length]);
            for part in root {
                bytes.extend_from_slice(&part.to_le_bytes());
            }
        }
        bytes.extend_from_slice(&count(self.segments.len())?.to_le_bytes());
        for (number, length) in &self.segments {
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
        }
        Ok(bytes)
    }

    /// Decodes the payload of a block.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let mut record = Self {
            id: Uuid::from_bytes(cursor.array()?),
            previous: cursor.u64()?,
            change: cursor.u64()?,
            commits: Vec::new(),
            segments: BTreeMap::new(),
        };
        for _ in 0..cursor.u32()? {
            let (stream, major, wall_ns) = (cursor.i64()?, cursor.u64()?, cursor.i64()?);
            let root = Address {
                segment: cursor.u32()?,
                offset: cursor.u32()?,
                length: cursor.u32()?,
            };
            record.commits.push(Commit {
                stream,
                major,
                root: (root.length > 0).then_some(root),
                wall_ns,
            });
        }
        for _ in 0..cursor.u32()? {
            let number = cursor.u32()?;
            record.segments.insert(number, cursor.u64()?);
        }
        cursor.end()?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_commit_survives() {
        let commit = |stream, root| Commit {
            stream,
            major: 12,
            root,
            wall_ns: -5,
        };
        let root = Address {
            segment: 3,
            offset: 16,
            length: 99,
        };
        let record = CommitRecord {
            id: Uuid::from_u128(4),
            previous: 6,
            change: 8,
            commits: vec![commit(1, Some(root)), commit(2, None)],
            segments: BTreeMap::from([(3, 1_000), (4, 20)]),
        };
        let bytes = record.encode().unwrap();
        assert_eq!(CommitRecord::decode(&bytes), Ok(record));
        assert!(CommitRecord::decode(&bytes[..bytes.len() - 1]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_decoded(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = CommitRecord::decode(&bytes);
        }
    }
}
