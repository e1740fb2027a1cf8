//! Status codes: the reasons for which a server refuses or fails a call.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// A status code of the protocol, as carried by `stat.code`.
        ///
        /// Success is the absence of a status; there is no code for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum Code {
            $($(#[$doc])* $name = $number,)*
        }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code with this number; `None` if there is none.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The name, as in the table of the hosted platform.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

codes! {
    /// There is no point in the requested direction.
    NoSuchPoint = 401,
    /// The call was cancelled or its deadline passed.
    ContextError = 402,
    /// A write failed.
    InsertFailure = 403,
    /// The stream is unknown or was obliterated.
    NoSuchStream = 404,
    /// The node does not own the stream.
    WrongEndpoint = 405,
    /// The collection and tags are taken (used by older servers).
    StreamExists = 406,
    /// The collection name is not valid.
    InvalidCollection = 407,
    /// A tag key is not one of the four tags.
    InvalidTagKey = 408,
    /// A tag value is not valid.
    InvalidTagValue = 409,
    /// A limit is not valid.
    InvalidLimit = 411,
    /// Tags that should identify one stream match several.
    AmbiguousTags = 412,
    /// The range is empty or outside the instants that a stream can hold.
    InvalidTimeRange = 413,
    /// Too many points in one call.
    InsertTooBig = 414,
    /// A point width, resolution, depth or window width is not valid.
    InvalidPointWidth = 415,
    /// An error without a specific code.
    GenericError = 416,
    /// The uuid is taken.
    SameStream = 417,
    /// The collection and tags are taken.
    AmbiguousStream = 418,
    /// No healthy owner of the stream.
    ClusterDegraded = 419,
    /// The arguments contradict each other.
    WrongArgs = 421,
    /// An annotation is too long.
    AnnotationTooBig = 422,
    /// The metadata changed since they were read.
    AnnotationVersionMismatch = 423,
    /// Fault injection is disabled.
    FaultInjectionDisabled = 424,
    /// A value is not finite.
    BadValue = 425,
    /// The server is overloaded.
    ResourceDepleted = 426,
    /// The first version is after the second.
    InvalidVersions = 427,
    /// The cluster's configuration store failed.
    EtcdFailure = 428,
    /// The uuid belonged to an obliterated stream.
    ReusedUuid = 429,
    /// Another client changed the object at the same time.
    ConcurrentModification = 430,
    /// Obliterating streams is disabled.
    ObliterateDisabled = 431,
    /// Storage failed.
    StorageError = 432,
    /// A node with this name exists.
    NodeExisted = 433,
    /// The journal could not be written.
    JournalError = 434,
    /// The device manifest failed.
    ManifestError = 435,
    /// A device occurs twice.
    ManifestDeviceDuplicated = 436,
    /// The API key does not permit this.
    Unauthorized = 437,
    /// A parameter is not valid.
    InvalidParameter = 438,
    /// A device does not exist.
    ManifestDeviceDoesntExist = 439,
    /// The metadata database failed.
    MetadataConnectionError = 440,
    /// A SQL statement or one of its parameters is not valid.
    BadSqlValue = 441,
    /// The object exists.
    AlreadyExists = 442,
    /// A parameter is missing.
    MissingParameter = 443,
    /// A parameter is unknown.
    UnrecognizedParameter = 444,
    /// The object does not exist.
    ObjectNotFound = 445,
    /// The object is in use.
    ObjectInUse = 446,
    /// The operation is not allowed.
    OperationNotAllowed = 447,
    /// TLS failed inside the cluster.
    TlsError = 448,
    /// A selector is not valid.
    SelectorError = 449,
    /// The version does not exist yet, or was forgotten.
    VersionNotAvailable = 450,
    /// Ranges to trim overlap.
    OverlappingTrimRange = 452,
    /// A lock could not be taken.
    LockFailed = 453,
    /// A leaf is missing.
    NoLeafNode = 454,
    /// The tier cache failed.
    TierCacheError = 455,
    /// The stream is empty.
    StreamEmpty = 456,
    /// Tiered storage failed.
    TieredStorageBackendError = 457,
    /// A request to tiered storage was out of bounds.
    TieredStorageOutOfBounds = 458,
    /// Tiered storage failed temporarily.
    TieredStorageTemporaryError = 459,
    /// The server reached an impossible state.
    InvariantFailure = 500,
    /// The server does not implement this.
    NotImplemented = 501,
    /// The server does not support this format version.
    UnsupportedRollback = 502,
}

impl Code {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// Whether repeating the same request may succeed.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::WrongEndpoint | Self::ClusterDegraded | Self::ResourceDepleted
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_both_ways_and_rise() {
        for pair in Code::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number());
        }
        for &code in Code::ALL {
            assert_eq!(Code::from_number(code.number()), Some(code));
        }
        assert_eq!(Code::from_number(0), None);
        assert_eq!(Code::from_number(410), None);
    }
}
