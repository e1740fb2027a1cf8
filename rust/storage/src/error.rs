//! Why the engine refused or failed.

use std::path::PathBuf;
use std::sync::Arc;

use pingthings_types::{Code, MAX_INSERT_TIME, MIN_TIME, RangeError, WidthError};
use uuid::Uuid;

use crate::RecordKind;

/// Why the engine refused or failed; [`Error::code`] is what a server answers.
///
/// Cloning is cheap, so that every insert waiting for one sync can report its failure.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream was never created, or was obliterated.
    #[error("stream `{uuid}` does not exist")]
    NoSuchStream {
        /// The stream asked for.
        uuid: Uuid,
    },
    /// A stream with this uuid exists. The text is the platform's: programs compare with it.
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
    /// The uuid belonged to a stream that was obliterated.
    #[error("uuid `{uuid}` belonged to an obliterated stream: choose a new one")]
    ReusedUuid {
        /// The burnt uuid.
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
    /// A tag key is not one of the four.
    #[error("`{key}` is no tag: use `name`, `unit`, `ingress` or `distiller`, or an annotation")]
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
    /// A stream would have more annotations than a client can be told.
    #[error(
        "annotations of stream `{uuid}` take {bytes} bytes together, above {most}: keep less in them"
    )]
    AnnotationsTooBig {
        /// The stream.
        uuid: Uuid,
        /// Bytes of all its annotations, each counted with a few more.
        bytes: usize,
        /// How many there may be.
        most: usize,
    },
    /// The metadata changed since they were read.
    #[error(
        "stream `{uuid}` is at property version {actual}, not {expected}: \
         read its metadata again and repeat the change"
    )]
    PropertyVersion {
        /// The stream.
        uuid: Uuid,
        /// The property version the caller knew.
        expected: u64,
        /// The present one.
        actual: u64,
    },
    /// A time or range is empty or leaves the instants a stream can hold.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// A window width is not valid.
    #[error(transparent)]
    Width(#[from] WidthError),
    /// A point lies outside the instants a stream can hold.
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
        "point {index} of an insert into stream `{uuid}`, at time {time}, has the value {value}: \
         leave such points out; no point of the call was stored"
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
    /// The version is in the future or was pruned.
    #[error(
        "stream `{uuid}` has no version {version}: {}",
        if version > latest {
            format!("its latest is {latest}")
        } else {
            "it was replaced long ago and forgotten".to_owned()
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
    /// A retention is not a positive time.
    #[error("a retention of {keep_ns} ns keeps nothing: give a positive time, or none for ever")]
    InvalidRetention {
        /// The refused time.
        keep_ns: i64,
    },
    /// There is no device or unit of this number.
    #[error("{kind} `{id}` does not exist")]
    NoSuchRecord {
        /// What was asked for.
        kind: RecordKind,
        /// Its number.
        id: i64,
    },
    /// Another device or unit has the name.
    #[error("{kind} `{existing}` has the name `{name}` already: choose another one")]
    RecordExists {
        /// What was to be named.
        kind: RecordKind,
        /// The name.
        name: String,
        /// The number of the one that has it.
        existing: i64,
    },
    /// A device or unit was to have no name.
    #[error("a {kind} needs a name that is not empty")]
    NoRecordName {
        /// What was to be named.
        kind: RecordKind,
    },
    /// The name or the further keys of a device or unit are not valid.
    #[error("a {kind} {problem}")]
    InvalidRecord {
        /// What was to be stored.
        kind: RecordKind,
        /// What is wrong with it.
        problem: String,
    },
    /// The first version is after the second.
    #[error("version {from} of stream `{uuid}` is after version {to}")]
    InvalidVersions {
        /// The stream.
        uuid: Uuid,
        /// Where the comparison was to begin.
        from: u64,
        /// Where it was to end.
        to: u64,
    },
    /// Another process has the directory open.
    #[error("`{path}` is in use by process {pid}: stop it, or open another directory")]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The process that holds it, as its lock file says.
        pid: String,
    },
    /// A bug ended the thread that wrote for this call and maybe others.
    #[error(
        "the thread that wrote this panicked: whether it was written is not known; read before \
         repeating it"
    )]
    Abandoned,
    /// The engine was closed.
    #[error("the storage engine is closed")]
    Closed,
    /// Bytes on disk are not what was written.
    #[error(
        "`{file}` is damaged at byte {offset}: {problem}; restore the directory from a copy, or \
         start with `--salvage` to go on with what is whole"
    )]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What does not hold.
        problem: String,
    },
    /// The directory was written by a version of the format this build does not read.
    #[error(
        "`{file}` has format version {found}, this build reads {supported}: \
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
    /// The catalog failed.
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
    /// The catalog holds something impossible.
    #[error(
        "the catalog is damaged: {problem}; restore the directory from a copy, or start with \
         `--salvage` to go on with what is whole"
    )]
    CatalogDamaged {
        /// What does not hold.
        problem: String,
    },
    /// A change of the catalog failed earlier and may be on the disk nevertheless: nothing more is
    /// acknowledged until another change succeeds.
    #[error(
        "a change of the catalog failed earlier, and whether it is on the disk is not known until \
         another one succeeds, which did not now ({cause}): make room or repair the disk, then repeat"
    )]
    CatalogUnknown {
        /// Why the other one failed.
        cause: String,
    },
    /// What an earlier failed write left in the journal cannot be cut off, so nothing more can be
    /// acknowledged until it can.
    #[error("the journal failed earlier ({cause}): make room or repair the disk, then repeat")]
    JournalFailed {
        /// The first failure.
        cause: String,
    },
    /// A sync of a segment failed: what of it is on disk is unknown, and syncing again would not
    /// tell. Nothing more is committed; acknowledged points wait in the journal.
    #[error("a sync failed earlier ({cause}): repair the disk, then reopen")]
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

    /// Whether something failed, after which what was to be done may be done or not; otherwise it
    /// was refused.
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
        "; make room on the disk, then repeat"
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
