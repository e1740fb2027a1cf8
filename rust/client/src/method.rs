//! Every method of a server's two services, and what is decided of it, in one place.

use crate::{error::Error, stats::Kind};

/// After which failures a call is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// After every one that may pass: it reads, or changes nothing when it is made twice.
    Always,
    /// Only where the server has said that it did nothing.
    IfRefused,
    /// Not at all.
    Never,
}

impl Repeat {
    pub(crate) fn allows(self, error: &Error) -> bool {
        match self {
            Self::Always => error.is_transient(),
            Self::IfRefused => error.is_refusal(),
            Self::Never => false,
        }
    }

    /// Over which connections such a call goes.
    pub(crate) const fn lane(self) -> Lane {
        match self {
            Self::Always | Self::Never => Lane::Repeatable,
            Self::IfRefused => Lane::Unrepeatable,
        }
    }
}

/// Calls that must not meet others on a connection have connections of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// It can be made again, if the connection fails, and its answer is read as fast as it comes.
    Repeatable,
    /// It cannot, so it does not go where many reads that are cancelled may end the connection.
    Unrepeatable,
    /// An iterator reads its answer whenever somebody wants more of it, perhaps never, and that must
    /// not keep others waiting.
    Iterator,
}

/// Methods with the kind that statistics count them as, after which failures they are made again,
/// and what errors call their answer. A row that lacks one of these does not compile.
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

            /// As the contract calls it.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $($(Self::$method => stringify!($method),)*)*
                }
            }

            /// Where requests go.
            pub(crate) const fn path(self) -> &'static str {
                match self {
                    $($(Self::$method => concat!("/", $service, "/", stringify!($method)),)*)*
                }
            }

            /// What statistics count it as.
            pub(crate) const fn kind(self) -> Kind {
                match self {
                    $($(Self::$method => Kind::$kind,)*)*
                }
            }

            /// After which failures it is made again.
            pub(crate) const fn repeat(self) -> Repeat {
                match self {
                    $($(Self::$method => Repeat::$repeat,)*)*
                }
            }

            /// What errors call its answer.
            pub(crate) const fn answer(self) -> &'static str {
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
    // Under a merge policy that stores points once however often they come, they may always be sent
    // again (`insert/write.rs`).
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

    /// What the contract of every server has and this client never asks for.
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
    fn every_method_of_both_contracts_is_listed() {
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
    fn what_changes_something_each_time_is_not_simply_made_again() {
        // Setting a retention, and flushing, twice changes nothing more than once.
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
                Repeat::IfRefused
            } else {
                Repeat::Always
            };
            assert_eq!(method.repeat(), expected, "{name}");
        }
    }
}
