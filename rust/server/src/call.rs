//! The calls of the server and the roles they need.

use crate::auth::Role::{self, Admin, Read, Write};

/// A call: its path and the role it needs. A call without a role needs no key.
pub(crate) type Call = (&'static str, Option<Role>);

/// Calls whose requests are large.
pub(crate) const INSERTS: [&str; 2] = ["Insert", "ArrowInsert"];

/// Calls whose request is a stream of messages.
pub(crate) const STREAMED_REQUESTS: [&str; 2] = ["Subscribe", "ServerReflectionInfo"];

/// All calls. A call that is missing here needs the highest role. A test compares the table with
/// all services, which it finds by reflection.
pub(crate) const CALLS: [Call; 45] = [
    ("/v5api.BTrDB/RawValues", Some(Read)),
    ("/v5api.BTrDB/ArrowRawValues", Some(Read)),
    ("/v5api.BTrDB/ArrowMultiValues", Some(Read)),
    ("/v5api.BTrDB/AlignedWindows", Some(Read)),
    ("/v5api.BTrDB/ArrowAlignedWindows", Some(Read)),
    ("/v5api.BTrDB/Windows", Some(Read)),
    ("/v5api.BTrDB/ArrowWindows", Some(Read)),
    ("/v5api.BTrDB/StreamInfo", Some(Read)),
    ("/v5api.BTrDB/SetStreamAnnotations", Some(Write)),
    ("/v5api.BTrDB/SetStreamTags", Some(Write)),
    ("/v5api.BTrDB/Create", Some(Write)),
    ("/v5api.BTrDB/ListCollections", Some(Read)),
    ("/v5api.BTrDB/LookupStreams", Some(Read)),
    ("/v5api.BTrDB/Nearest", Some(Read)),
    ("/v5api.BTrDB/Changes", Some(Read)),
    ("/v5api.BTrDB/Insert", Some(Write)),
    ("/v5api.BTrDB/ArrowInsert", Some(Write)),
    ("/v5api.BTrDB/Delete", Some(Write)),
    ("/v5api.BTrDB/Info", Some(Read)),
    ("/v5api.BTrDB/FaultInject", Some(Admin)),
    ("/v5api.BTrDB/Flush", Some(Write)),
    ("/v5api.BTrDB/Obliterate", Some(Admin)),
    ("/v5api.BTrDB/GetMetadataUsage", Some(Read)),
    ("/v5api.BTrDB/GenerateCSV", Some(Read)),
    ("/v5api.BTrDB/SQLQuery", Some(Read)),
    ("/v5api.BTrDB/Subscribe", Some(Read)),
    (
        "/pingthings.management.v1.Management/GetStreamRetention",
        Some(Read),
    ),
    (
        "/pingthings.management.v1.Management/SetStreamRetention",
        Some(Admin),
    ),
    (
        "/pingthings.management.v1.Management/GetCollection",
        Some(Read),
    ),
    (
        "/pingthings.management.v1.Management/SetCollectionRetention",
        Some(Admin),
    ),
    (
        "/pingthings.management.v1.Management/GetVersionAtTime",
        Some(Read),
    ),
    (
        "/pingthings.management.v1.Management/ListDevices",
        Some(Read),
    ),
    ("/pingthings.management.v1.Management/GetDevice", Some(Read)),
    (
        "/pingthings.management.v1.Management/CreateDevice",
        Some(Admin),
    ),
    (
        "/pingthings.management.v1.Management/UpdateDevice",
        Some(Admin),
    ),
    (
        "/pingthings.management.v1.Management/DeleteDevice",
        Some(Admin),
    ),
    ("/pingthings.management.v1.Management/ListUnits", Some(Read)),
    ("/pingthings.management.v1.Management/GetUnit", Some(Read)),
    (
        "/pingthings.management.v1.Management/CreateUnit",
        Some(Admin),
    ),
    (
        "/pingthings.management.v1.Management/UpdateUnit",
        Some(Admin),
    ),
    (
        "/pingthings.management.v1.Management/DeleteUnit",
        Some(Admin),
    ),
    // Health checks have no key.
    ("/grpc.health.v1.Health/Check", None),
    ("/grpc.health.v1.Health/Watch", None),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        Some(Read),
    ),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        Some(Read),
    ),
];

/// The index of a path in [`CALLS`].
pub(crate) fn position(path: &str) -> Option<usize> {
    CALLS.iter().position(|(known, _)| *known == path)
}

/// The last part of a path: the name of the call.
pub(crate) fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
