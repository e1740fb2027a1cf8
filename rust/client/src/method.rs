//! All methods of the server's two services, with their retry policies and their names in
//! statistics and errors.

use crate::{error::Error, stats::CallKind};

/// The failures after which a call is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryPolicy {
    /// After every transient failure. For calls that only read, or that change nothing when they
    /// are made a second time.
    Always,
    /// Only if the server reported that it changed nothing.
    IfRefused,
    /// Never retried.
    Never,
}

impl RetryPolicy {
    pub(crate) fn allows(self, error: &Error) -> bool {
        match self {
            Self::Always => error.is_transient(),
            Self::IfRefused => error.is_refusal(),
            Self::Never => false,
        }
    }

    /// The connections that such calls use.
    pub(crate) const fn connection_class(self) -> ConnectionClass {
        match self {
            Self::Always | Self::Never => ConnectionClass::Retryable,
            Self::IfRefused => ConnectionClass::NonRetryable,
        }
    }
}

/// The classes of connections. Calls of different classes never share a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionClass {
    /// For calls that can be retried if the connection fails, and whose answers are read as fast as
    /// they arrive.
    Retryable,
    /// For calls that cannot be retried. They are kept away from cancelled reads, because a server
    /// may close a connection after many of those.
    NonRetryable,
    /// For answers that an iterator reads. Such an answer may stay unread for any time, which must
    /// not block other calls.
    Iterator,
}

/// Defines the methods. Each row has the kind under which statistics count the method, its retry
/// policy, and the name of its answer in errors. A row that lacks one of these does not compile.
macro_rules! methods {
    ($($service:literal $($method:ident: $kind:ident, $repeat:ident, $answer:literal;)*)*) => {
        /// A method of one of the services.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Method {
            $($($method,)*)*
        }

        impl Method {
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$($(Self::$method,)*)*];

            /// The name in the protocol definition.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $($(Self::$method => stringify!($method),)*)*
                }
            }

            /// The path of its HTTP/2 requests.
            pub(crate) const fn path(self) -> &'static str {
                match self {
                    $($(Self::$method => concat!("/", $service, "/", stringify!($method)),)*)*
                }
            }

            /// The kind under which statistics count it.
            pub(crate) const fn kind(self) -> CallKind {
                match self {
                    $($(Self::$method => CallKind::$kind,)*)*
                }
            }

            /// When it is retried.
            pub(crate) const fn retry_policy(self) -> RetryPolicy {
                match self {
                    $($(Self::$method => RetryPolicy::$repeat,)*)*
                }
            }

            /// The name of its answer in errors.
            pub(crate) const fn answer_name(self) -> &'static str {
                match self {
                    $($(Self::$method => $answer,)*)*
                }
            }
        }
    };
}

methods! {
    "v5api.BTrDB"
    Info: Info, Always, "a call";
    RawValues: RawValues, Always, "raw values";
    ArrowRawValues: RawValues, Always, "raw values";
    ArrowMultiValues: JoinedValues, Always, "joined values";
    AlignedWindows: AlignedWindows, Always, "windows";
    ArrowAlignedWindows: AlignedWindows, Always, "windows";
    Windows: PreciseWindows, Always, "windows";
    ArrowWindows: PreciseWindows, Always, "windows";
    Nearest: Nearest, Always, "a call";
    Changes: Changes, Always, "changes";
    StreamInfo: StreamInfo, Always, "a look-up of a stream";
    LookupStreams: LookupStreams, Always, "a look-up of streams";
    ListCollections: ListCollections, Always, "a list of collections";
    SQLQuery: SqlQuery, Always, "a query";
    // With an idempotent merge policy, which stores points once however often they are sent,
    // inserts are always retried (`insert/write.rs`).
    Insert: Insert, IfRefused, "a call";
    ArrowInsert: Insert, IfRefused, "a call";
    Flush: Flush, Always, "a call";
    Delete: Delete, IfRefused, "a call";
    Create: Create, IfRefused, "a call";
    SetStreamTags: Update, IfRefused, "a call";
    SetStreamAnnotations: Update, IfRefused, "a call";
    Obliterate: Obliterate, IfRefused, "a call";

    "pingthings.management.v1.Management"
    GetStreamRetention: Retention, Always, "a call";
    SetStreamRetention: Retention, Always, "a call";
    GetCollection: Retention, Always, "a call";
    SetCollectionRetention: Retention, Always, "a call";
    GetVersionAtTime: VersionAtTime, Always, "a call";
    ListDevices: Records, Always, "a list of records";
    GetDevice: Records, Always, "a call";
    CreateDevice: Records, IfRefused, "a call";
    UpdateDevice: Records, IfRefused, "a call";
    DeleteDevice: Records, IfRefused, "a call";
    ListUnits: Records, Always, "a list of records";
    GetUnit: Records, Always, "a call";
    CreateUnit: Records, IfRefused, "a call";
    UpdateUnit: Records, IfRefused, "a call";
    DeleteUnit: Records, IfRefused, "a call";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Methods of the protocol that this client never calls.
    const NOT_CALLED: [&str; 4] = [
        "/v5api.BTrDB/FaultInject",
        "/v5api.BTrDB/GenerateCSV",
        "/v5api.BTrDB/GetMetadataUsage",
        "/v5api.BTrDB/Subscribe",
    ];

    fn paths_of(contract: &str) -> Vec<String> {
        let after = |line: &str, word: &str| {
            let rest = line.trim().strip_prefix(word)?.trim_start();
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '.' && c != '_');
            Some(rest[..end.unwrap_or(rest.len())].to_owned())
        };
        let (mut package, mut service, mut paths) = (String::new(), String::new(), Vec::new());
        for line in contract.lines() {
            if let Some(name) = after(line, "package ") {
                package = name;
            } else if let Some(name) = after(line, "service ") {
                service = name;
            } else if let Some(name) = after(line, "rpc ") {
                paths.push(format!("/{package}.{service}/{name}"));
            }
        }
        paths
    }

    #[test]
    fn every_method_of_both_protocol_definitions_is_listed() {
        let contracts = [
            include_str!("../../../proto/btrdb.proto"),
            include_str!("../../../proto/management.proto"),
        ];
        let mut theirs: Vec<_> = contracts.into_iter().flat_map(paths_of).collect();
        let ours = Method::ALL.iter().map(|method| method.path());
        let mut ours: Vec<_> = ours.chain(NOT_CALLED).collect();
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn calls_that_are_not_idempotent_are_retried_only_if_refused() {
        // These change nothing more when they are made twice.
        let harmless = ["SetStreamRetention", "SetCollectionRetention", "Flush"];
        let changes = [
            "Create",
            "Update",
            "Delete",
            "Set",
            "Insert",
            "ArrowInsert",
            "Obliterate",
        ];
        for method in Method::ALL {
            let name = method.name();
            let is_change = changes.iter().any(|verb| name.starts_with(verb));
            let expected = if is_change && !harmless.contains(&name) {
                RetryPolicy::IfRefused
            } else {
                RetryPolicy::Always
            };
            assert_eq!(method.retry_policy(), expected, "{name}");
        }
    }
}
