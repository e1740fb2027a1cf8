//! What a commit writes into the segment before the catalog has it.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Cursor, Malformed};
use crate::catalog::Commit;
use crate::tree::Address;

/// A change of the catalog that adds versions, as the segments know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitRecord {
    /// Which catalog it is a change of.
    pub(crate) id: Uuid,
    /// The last change before it that is there.
    pub(crate) previous: u64,
    /// Its number.
    pub(crate) change: u64,
    pub(crate) commits: Vec<Commit>,
    /// How long the segments are that it is in.
    pub(crate) segments: BTreeMap<u32, u64>,
}

impl CommitRecord {
    /// The payload of its block. The length does not depend on the numbers.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let count = |length: usize| {
            u32::try_from(length).map_err(|_| Malformed("a commit has more parts than it can have"))
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

    /// What the payload of a block says.
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
