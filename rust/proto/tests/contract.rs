//! The numbers and types of the contract that are easy to get wrong, and that no other test would
//! notice because our own client and server share the file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

/// Name, number and type of a field.
type Field = (&'static str, i32, &'static str);

fn contract() -> tonic_prost_build::FileDescriptorSet {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    protox::compile(["btrdb.proto"], [folder]).unwrap()
}

#[test]
fn fields_have_the_numbers_and_types_that_are_deployed() {
    const TABLE: &[(&str, &[Field])] = &[
        (
            "InsertParams",
            &[
                ("uuid", 1, "TYPE_BYTES"),
                ("sync", 2, "TYPE_BOOL"),
                ("values", 3, "TYPE_MESSAGE"),
                ("merge_policy", 4, "TYPE_ENUM"),
                ("rounding", 5, "TYPE_MESSAGE"),
            ],
        ),
        (
            "ArrowInsertParams",
            &[
                ("uuid", 1, "TYPE_BYTES"),
                ("sync", 2, "TYPE_BOOL"),
                ("merge_policy", 3, "TYPE_ENUM"),
                ("rounding", 4, "TYPE_MESSAGE"),
                ("arrowBytes", 5, "TYPE_BYTES"),
            ],
        ),
        ("RoundSpec", &[("bits", 2, "TYPE_INT32")]),
        (
            "RawPoint",
            &[("time", 1, "TYPE_SFIXED64"), ("value", 2, "TYPE_DOUBLE")],
        ),
        (
            "StatPoint",
            &[
                ("time", 1, "TYPE_SFIXED64"),
                ("min", 2, "TYPE_DOUBLE"),
                ("mean", 3, "TYPE_DOUBLE"),
                ("max", 4, "TYPE_DOUBLE"),
                ("count", 5, "TYPE_FIXED64"),
                ("stddev", 6, "TYPE_DOUBLE"),
            ],
        ),
        (
            "ChangedRange",
            &[("start", 1, "TYPE_SFIXED64"), ("end", 2, "TYPE_SFIXED64")],
        ),
        (
            "ArrowRawValuesParams",
            &[
                ("uuid", 1, "TYPE_BYTES"),
                ("start", 2, "TYPE_SFIXED64"),
                ("end", 3, "TYPE_SFIXED64"),
                ("versionMajor", 4, "TYPE_UINT64"),
                ("templateBytes", 5, "TYPE_BYTES"),
            ],
        ),
        (
            "ArrowMultiValuesParams",
            &[
                ("uuid", 1, "TYPE_BYTES"),
                ("versionMajor", 2, "TYPE_UINT64"),
                ("start", 3, "TYPE_SFIXED64"),
                ("end", 4, "TYPE_SFIXED64"),
                ("snapPeriodNs", 5, "TYPE_INT64"),
                ("templateBytes", 6, "TYPE_BYTES"),
            ],
        ),
        (
            "ArrowMultiValuesResponse",
            &[("stat", 1, "TYPE_MESSAGE"), ("arrowBytes", 2, "TYPE_BYTES")],
        ),
        (
            "AlignedWindowsParams",
            &[
                ("uuid", 1, "TYPE_BYTES"),
                ("start", 2, "TYPE_SFIXED64"),
                ("end", 3, "TYPE_SFIXED64"),
                ("versionMajor", 4, "TYPE_UINT64"),
                ("pointWidth", 5, "TYPE_UINT32"),
            ],
        ),
        (
            "WindowsParams",
            &[
                ("uuid", 1, "TYPE_BYTES"),
                ("start", 2, "TYPE_SFIXED64"),
                ("end", 3, "TYPE_SFIXED64"),
                ("versionMajor", 4, "TYPE_UINT64"),
                ("width", 5, "TYPE_UINT64"),
                ("depth", 6, "TYPE_UINT32"),
            ],
        ),
        (
            "NearestParams",
            &[
                ("uuid", 1, "TYPE_BYTES"),
                ("time", 2, "TYPE_SFIXED64"),
                ("versionMajor", 3, "TYPE_UINT64"),
                ("backward", 4, "TYPE_BOOL"),
            ],
        ),
        (
            "GenerateCSVParams",
            &[
                ("queryType", 1, "TYPE_ENUM"),
                ("startTime", 2, "TYPE_INT64"),
                ("endTime", 3, "TYPE_INT64"),
                ("windowSize", 4, "TYPE_UINT64"),
                ("depth", 5, "TYPE_UINT32"),
                ("includeVersions", 6, "TYPE_BOOL"),
                ("streams", 7, "TYPE_MESSAGE"),
            ],
        ),
        (
            "StreamInfoParams",
            &[
                ("uuid", 1, "TYPE_BYTES"),
                ("omitVersion", 2, "TYPE_BOOL"),
                ("omitDescriptor", 3, "TYPE_BOOL"),
                ("role", 100, "TYPE_MESSAGE"),
            ],
        ),
        (
            "LookupStreamsParams",
            &[
                ("collection", 1, "TYPE_STRING"),
                ("isCollectionPrefix", 2, "TYPE_BOOL"),
                ("tags", 3, "TYPE_MESSAGE"),
                ("annotations", 4, "TYPE_MESSAGE"),
                ("role", 100, "TYPE_MESSAGE"),
            ],
        ),
        (
            "ListCollectionsParams",
            &[("prefix", 1, "TYPE_STRING"), ("role", 100, "TYPE_MESSAGE")],
        ),
        (
            "MetadataUsageParams",
            &[("prefix", 1, "TYPE_STRING"), ("role", 100, "TYPE_MESSAGE")],
        ),
        (
            "SQLQueryParams",
            &[
                ("query", 1, "TYPE_STRING"),
                ("params", 2, "TYPE_STRING"),
                ("role", 100, "TYPE_MESSAGE"),
            ],
        ),
        (
            "SetStreamTagsParams",
            &[
                ("uuid", 1, "TYPE_BYTES"),
                ("expectedPropertyVersion", 2, "TYPE_UINT64"),
                ("tags", 3, "TYPE_MESSAGE"),
                ("collection", 4, "TYPE_STRING"),
                ("remove", 5, "TYPE_STRING"),
            ],
        ),
        (
            "InfoResponse",
            &[
                ("stat", 1, "TYPE_MESSAGE"),
                ("mash", 2, "TYPE_MESSAGE"),
                ("majorVersion", 3, "TYPE_UINT32"),
                ("minorVersion", 4, "TYPE_UINT32"),
                ("build", 5, "TYPE_STRING"),
                ("proxy", 6, "TYPE_MESSAGE"),
            ],
        ),
        (
            "SubscriptionResp",
            &[
                ("stat", 1, "TYPE_MESSAGE"),
                ("uuid", 2, "TYPE_BYTES"),
                ("arrowBytes", 3, "TYPE_BYTES"),
            ],
        ),
    ];

    let contract = contract();
    for (message, expected) in TABLE {
        let found = contract.file[0]
            .message_type
            .iter()
            .find(|m| m.name() == *message)
            .unwrap_or_else(|| panic!("no message `{message}`"));
        let found: Vec<_> = found
            .field
            .iter()
            .map(|f| (f.name(), f.number(), f.r#type().as_str_name()))
            .collect();
        assert_eq!(found, *expected, "{message}");
    }
}

#[test]
fn calls_stream_in_the_directions_that_are_deployed() {
    const UNARY: &[&str] = &[
        "StreamInfo",
        "SetStreamAnnotations",
        "SetStreamTags",
        "Create",
        "Nearest",
        "Insert",
        "ArrowInsert",
        "Delete",
        "Info",
        "FaultInject",
        "Flush",
        "Obliterate",
        "GetMetadataUsage",
    ];
    const STREAMING: &[&str] = &[
        "RawValues",
        "ArrowRawValues",
        "ArrowMultiValues",
        "AlignedWindows",
        "ArrowAlignedWindows",
        "Windows",
        "ArrowWindows",
        "ListCollections",
        "LookupStreams",
        "Changes",
        "GenerateCSV",
        "SQLQuery",
    ];

    let contract = contract();
    let file = &contract.file[0];
    assert_eq!(file.package(), "v5api");
    let service = &file.service[0];
    assert_eq!(service.name(), "BTrDB");
    assert_eq!(service.method.len(), UNARY.len() + STREAMING.len() + 1);
    for method in &service.method {
        let expected = match method.name() {
            "Subscribe" => (true, true),
            name if UNARY.contains(&name) => (false, false),
            name if STREAMING.contains(&name) => (false, true),
            name => panic!("`{name}` is no call of the contract"),
        };
        let found = (method.client_streaming(), method.server_streaming());
        assert_eq!(found, expected, "{}", method.name());
    }
}

#[test]
fn a_negative_zero_survives() {
    use pingthings_proto::v5api::{RawPoint, StatPoint};
    use prost::Message;

    let point = RawPoint {
        time: 0,
        value: -0.0,
    };
    let found = RawPoint::decode(&point.encode_to_vec()[..]).unwrap();
    assert_eq!(found.value.to_bits(), (-0.0f64).to_bits());
    let stat = StatPoint {
        min: -0.0,
        mean: -0.0,
        max: -0.0,
        ..StatPoint::default()
    };
    let found = StatPoint::decode(&stat.encode_to_vec()[..]).unwrap();
    for value in [found.min, found.mean, found.max] {
        assert_eq!(value.to_bits(), (-0.0f64).to_bits());
    }
}
