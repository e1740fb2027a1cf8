//! Errors of the engine.

use std::path::PathBuf;
use std::sync::Arc;

use pingthings_types::{Code, MAX_INSERT_TIME, MIN_TIME, RangeError, WidthError};
use uuid::Uuid;

use crate::RecordKind;

/// Why the engine refused or failed a call; [`Error::code`] is the status code a server answers
/// with.
///
/// Cloning is cheap, so every insert that waits for one sync can report the failure of that sync.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream was never created, or was obliterated.
    #[error("stream `{uuid}` does not exist")]
    NoSuchStream {
        /// The stream asked for.
        uuid: Uuid,
    },
    /// A stream with this uuid exists. The text is that of the hosted platform, because programs
    /// compare with it.
    #[error("a stream already exists with uuid {uuid}")]
    SameStream {
        /// The uuid that is taken.
        uuid: Uuid,
    },
    /// Another stream has this collection and these tags.
    #[error(
        "collection `{collection}` already holds stream `{existing}` with the same tags: \
         choose another name, unit, ingress or distiller"
    )]
    AmbiguousStream {
        /// The collection.
        collection: String,
        /// The stream that has the tags.
        existing: Uuid,
    },
    /// The uuid belonged to a stream that was obliterated; such a uuid is never accepted again.
    #[error("uuid `{uuid}` belonged to an obliterated stream: choose a new one")]
    ReusedUuid {
        /// The refused uuid.
        uuid: Uuid,
    },
    /// The collection name is not valid.
    #[error("collection `{collection}` {problem}")]
    InvalidCollection {
        /// The refused name.
        collection: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A tag key is not one of the four tags.
    #[error("`{key}` is not a tag: use `name`, `unit`, `ingress` or `distiller`, or an annotation")]
    InvalidTagKey {
        /// The refused key.
        key: String,
    },
    /// A tag value is not valid.
    #[error("value of tag `{key}` {problem}")]
    InvalidTagValue {
        /// The tag.
        key: String,
        /// What is wrong with its value.
        problem: &'static str,
    },
    /// An annotation is not valid.
    #[error("annotation `{key}` {problem}")]
    InvalidAnnotation {
        /// The annotation.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The annotations of a stream are larger than a response about it may be.
    #[error(
        "the annotations of stream `{uuid}` take {bytes} bytes in total, above the limit of {most}: \
         store less in them"
    )]
    AnnotationsTooBig {
        /// The stream.
        uuid: Uuid,
        /// Total size of its annotations in bytes, with some overhead for each.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// The metadata changed since the caller read them.
    #[error(
        "stream `{uuid}` is at property version {actual}, not {expected}: \
         read its metadata again and repeat the change"
    )]
    PropertyVersion {
        /// The stream.
        uuid: Uuid,
        /// The property version the caller knew.
        expected: u64,
        /// The current property version.
        actual: u64,
    },
    /// A range is empty, or a time is outside the instants that a stream can hold.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// A window width is not valid.
    #[error(transparent)]
    Width(#[from] WidthError),
    /// The time of a point is outside the instants that a stream can hold.
    #[error(
        "point {index} of an insert into stream `{uuid}` has time {time}, outside \
         [{MIN_TIME}, {MAX_INSERT_TIME}]: no point of the call was stored"
    )]
    PointTime {
        /// The stream.
        uuid: Uuid,
        /// Position of the point in the call.
        index: usize,
        /// Its time.
        time: i64,
    },
    /// A value is not finite.
    #[error(
        "point {index} of an insert into stream `{uuid}`, at time {time}, has the value {value}, \
         which is not finite: leave such points out; no point of the call was stored"
    )]
    BadValue {
        /// The stream.
        uuid: Uuid,
        /// Position of the point in the call.
        index: usize,
        /// Its time.
        time: i64,
        /// Its value.
        value: f64,
    },
    /// The two columns of an insert differ in length.
    #[error("an insert into stream `{uuid}` has {times} times but {values} values")]
    ColumnLengths {
        /// The stream.
        uuid: Uuid,
        /// Number of times.
        times: usize,
        /// Number of values.
        values: usize,
    },
    /// The version does not exist yet, or was forgotten.
    #[error(
        "stream `{uuid}` has no version {version}: {}",
        if version > latest {
            format!("its latest is {latest}")
        } else {
            "it was superseded long ago and has been forgotten".to_owned()
        }
    )]
    VersionNotAvailable {
        /// The stream.
        uuid: Uuid,
        /// The version asked for.
        version: u64,
        /// The latest committed version.
        latest: u64,
    },
    /// A retention is not a positive duration.
    #[error(
        "a retention of {keep_ns} ns is not positive: give a positive duration, or none to keep \
         points for ever"
    )]
    InvalidRetention {
        /// The refused duration.
        keep_ns: i64,
    },
    /// There is no device or unit with this number.
    #[error("{kind} `{id}` does not exist")]
    NoSuchRecord {
        /// What was asked for.
        kind: RecordKind,
        /// Its number.
        id: i64,
    },
    /// Another device or unit already has the name.
    #[error("{kind} `{existing}` already has the name `{name}`: choose another one")]
    RecordExists {
        /// What was to be named.
        kind: RecordKind,
        /// The name.
        name: String,
        /// The number of the record that has the name.
        existing: i64,
    },
    /// The name of a device or unit is missing or blank.
    #[error("a {kind} needs a name that is not empty")]
    NoRecordName {
        /// What was to be named.
        kind: RecordKind,
    },
    /// The name or the fields of a device or unit are not valid.
    #[error("a {kind} {problem}")]
    InvalidRecord {
        /// What was to be stored.
        kind: RecordKind,
        /// What is wrong with it.
        problem: String,
    },
    /// The first version of a comparison is after the second.
    #[error("version {from} of stream `{uuid}` is after version {to}")]
    InvalidVersions {
        /// The stream.
        uuid: Uuid,
        /// The first version of the comparison.
        from: u64,
        /// The second version of the comparison.
        to: u64,
    },
    /// Another process has the directory open.
    #[error("`{path}` is in use by process {pid}: stop it, or open another directory")]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The process that has it open, as its lock file says.
        pid: String,
    },
    /// The thread that wrote on behalf of this call, and maybe of others, panicked.
    #[error(
        "the thread that performed this write panicked, so the write may or may not be stored: \
         read the data before repeating it"
    )]
    Abandoned,
    /// The engine was closed.
    #[error("the storage engine is closed")]
    Closed,
    /// Bytes on disk are not what the engine wrote.
    #[error(
        "`{file}` is damaged at byte {offset}: {problem}; restore the directory from a backup, or \
         start with `--salvage` to keep what is intact"
    )]
    Damaged {
        /// The file.
        file: String,
        /// The offset of the damage.
        offset: u64,
        /// What does not hold.
        problem: String,
    },
    /// The directory has a format version that this build does not read.
    #[error(
        "`{file}` has format version {found}, but this build reads {supported}: \
         open it with the release that wrote it"
    )]
    FormatVersion {
        /// The file.
        file: String,
        /// The version it carries.
        found: u32,
        /// The version this build reads.
        supported: u32,
    },
    /// The operating system failed an operation on a file.
    #[error("cannot {action} `{file}`: {source}{}", advice(is_full(source)))]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        file: String,
        /// What the operating system said.
        source: Arc<std::io::Error>,
    },
    /// An operation of the catalog database failed.
    #[error(
        "cannot {action} the catalog: {source}{}",
        advice(source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull))
    )]
    Catalog {
        /// What was attempted.
        action: &'static str,
        /// What the database said.
        source: Arc<rusqlite::Error>,
    },
    /// The catalog is inconsistent, or does not match the other files.
    #[error(
        "the catalog is damaged: {problem}; restore the directory from a backup, or start with \
         `--salvage` to keep what is intact"
    )]
    CatalogDamaged {
        /// What does not hold.
        problem: String,
    },
    /// An earlier change of the catalog failed but may be on the disk nevertheless. The engine
    /// acknowledges no write until another change succeeds.
    #[error(
        "an earlier change of the catalog failed and may or may not be on the disk; writes are \
         refused until another change succeeds, and this attempt failed ({cause}): free space or \
         repair the disk, then repeat the call"
    )]
    CatalogUnknown {
        /// Why the last attempt failed.
        cause: String,
    },
    /// An earlier write of the journal failed and its remains could not be cut off. The engine
    /// acknowledges no insert until they are.
    #[error(
        "an earlier write of the journal failed ({cause}): free space or repair the disk, then \
         repeat the call"
    )]
    JournalFailed {
        /// The first failure.
        cause: String,
    },
    /// A sync of a segment failed. Which of its bytes are on disk is unknown, and a second sync
    /// would not tell, so nothing more is committed; acknowledged points wait in the journal.
    #[error("an earlier sync of a segment failed ({cause}): repair the disk, then restart")]
    CommitsFailed {
        /// The first failure.
        cause: String,
    },
}

impl Error {
    /// The status code a server answers with.
    pub const fn code(&self) -> Code {
        match self {
            Self::NoSuchStream { .. } => Code::NoSuchStream,
            Self::SameStream { .. } => Code::SameStream,
            Self::AmbiguousStream { .. } => Code::AmbiguousStream,
            Self::ReusedUuid { .. } => Code::ReusedUuid,
            Self::InvalidCollection { .. } => Code::InvalidCollection,
            Self::InvalidTagKey { .. } => Code::InvalidTagKey,
            Self::InvalidTagValue { .. } => Code::InvalidTagValue,
            Self::InvalidAnnotation { .. } | Self::AnnotationsTooBig { .. } => {
                Code::AnnotationTooBig
            }
            Self::PropertyVersion { .. } => Code::AnnotationVersionMismatch,
            Self::Range(_) | Self::PointTime { .. } => Code::InvalidTimeRange,
            Self::Width(_) => Code::InvalidPointWidth,
            Self::BadValue { .. } => Code::BadValue,
            Self::NoSuchRecord { .. } => Code::ObjectNotFound,
            Self::RecordExists { .. } => Code::AlreadyExists,
            Self::NoRecordName { .. } => Code::MissingParameter,
            Self::ColumnLengths { .. }
            | Self::InvalidRetention { .. }
            | Self::InvalidRecord { .. } => Code::InvalidParameter,
            Self::VersionNotAvailable { .. } => Code::VersionNotAvailable,
            Self::InvalidVersions { .. } => Code::InvalidVersions,
            Self::Locked { .. } => Code::LockFailed,
            Self::Closed => Code::GenericError,
            Self::Abandoned => Code::InvariantFailure,
            Self::Damaged { .. } | Self::Io { .. } | Self::CommitsFailed { .. } => {
                Code::StorageError
            }
            Self::FormatVersion { .. } => Code::UnsupportedRollback,
            Self::Catalog { .. } | Self::CatalogDamaged { .. } | Self::CatalogUnknown { .. } => {
                Code::MetadataConnectionError
            }
            Self::JournalFailed { .. } => Code::JournalError,
        }
    }

    /// Whether an operation failed, so that its change may or may not have happened; otherwise the
    /// call was refused and changed nothing.
    pub(crate) const fn is_failure(&self) -> bool {
        matches!(
            self.code(),
            Code::StorageError
                | Code::MetadataConnectionError
                | Code::JournalError
                | Code::InvariantFailure
        )
    }
}

fn is_full(source: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        source.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

const fn advice(is_full: bool) -> &'static str {
    if is_full {
        "; free space on the disk, then repeat the call"
    } else {
        ""
    }
}

/// The error for a failed operation on a file.
pub(crate) fn io_error(
    action: &'static str,
    file: impl std::fmt::Display,
    source: std::io::Error,
) -> Error {
    Error::Io {
        action,
        file: file.to_string(),
        source: Arc::new(source),
    }
}
