//! No message is longer than gRPC's default limit for clients.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf as _, Bytes};
use pingthings_proto::management as pb;
use pingthings_proto::v5api::generate_csv_params::QueryType;
use pingthings_proto::v5api::{self as v5, KeyOptValue};
use pingthings_server::{Config, Limits};
use pingthings_types::{MAX_TIME, MIN_TIME};
use prost::Message;
use tokio_stream::StreamExt as _;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};
use uuid::Uuid;

use crate::fixture::{Fixture, Stream, answers, bytes, pair, ramp};
use crate::reflection::paths;

/// The documented limit of this server. gRPC's default limit is 4 MiB.
const MOST: usize = 4_000_000;

/// A text longer than a message, so that an answer that quotes it fails the test.
fn long() -> String {
    "x".repeat(MOST + 1_000_000)
}

/// A codec that leaves messages encoded.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(to, &item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// The field that every answer has.
#[derive(Clone, PartialEq, Message)]
struct Stat {
    #[prost(message, optional, tag = "1")]
    stat: Option<v5::Status>,
}

/// The lengths of the messages of calls, by their path.
struct Calls {
    channel: Channel,
    lengths: BTreeMap<String, Vec<usize>>,
}

impl Calls {
    /// Makes a call. Returns the status code of the last message, or 0.
    async fn make(&mut self, path: &str, request: &impl Message) -> u32 {
        let mut grpc =
            tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await.unwrap();
        let requests = tokio_stream::once(request.encode_to_vec());
        let mut request = Request::new(requests);
        // Subscriptions would not end.
        let headers = request.metadata_mut();
        headers.insert("pingthings-subscription", "end".parse().unwrap());
        let answers = grpc.streaming(request, path.parse().unwrap(), Plain).await;
        let lengths = self.lengths.entry(path.to_owned()).or_default();
        let mut code = 0;
        let mut answers = answers.unwrap().into_inner();
        while let Some(answer) = answers.next().await {
            let answer = answer.unwrap();
            lengths.push(answer.len());
            let stat = Stat::decode(answer).ok().and_then(|answer| answer.stat);
            code = stat.map_or(0, |stat| stat.code);
        }
        code
    }

    async fn btrdb(&mut self, name: &str, request: &impl Message) -> u32 {
        self.make(&format!("/v5api.BTrDB/{name}"), request).await
    }

    async fn manage(&mut self, name: &str, request: &impl Message) -> u32 {
        let path = format!("/pingthings.management.v1.Management/{name}");
        self.make(&path, request).await
    }

    fn largest(&self, name: &str) -> usize {
        let lengths = self.lengths.get(&format!("/v5api.BTrDB/{name}"));
        lengths.into_iter().flatten().copied().max().unwrap_or(0)
    }
}

/// A server without a limit on the rows of a message.
async fn unlimited_rows() -> Fixture {
    Fixture::with(Config {
        limits: Limits {
            rows_per_message: 1 << 20,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await
}

/// The maximum number of annotations of a stream, with keys of the maximum length.
fn annotations(stream: usize) -> Vec<KeyOptValue> {
    (0..14_000)
        .map(|at| pair(&format!("{stream:0>10}{at:0>246}"), None))
        .collect()
}

async fn create(calls: &mut Calls, stream: usize, annotations: Vec<KeyOptValue>) -> u32 {
    let params = v5::CreateParams {
        uuid: bytes(Uuid::from_u128(stream as u128)),
        collection: format!("annotated/{stream}"),
        tags: Vec::new(),
        annotations,
    };
    calls.btrdb("Create", &params).await
}

async fn read(calls: &mut Calls, uuid: Bytes) {
    let (start, end) = (MIN_TIME, MAX_TIME - 1);
    let raw = v5::ArrowRawValuesParams {
        uuid: uuid.clone(),
        start,
        end,
        ..v5::ArrowRawValuesParams::default()
    };
    // The fields of the calls without Arrow have the same numbers.
    for name in ["RawValues", "ArrowRawValues"] {
        assert_eq!(calls.btrdb(name, &raw).await, 0);
        assert!(calls.largest(name) > 3_000_000, "{name}");
    }
    let aligned = v5::AlignedWindowsParams {
        uuid: uuid.clone(),
        start,
        end,
        ..v5::AlignedWindowsParams::default()
    };
    let precise = v5::WindowsParams {
        uuid: uuid.clone(),
        end: 300_000,
        width: 1,
        ..v5::WindowsParams::default()
    };
    for name in ["AlignedWindows", "ArrowAlignedWindows"] {
        assert_eq!(calls.btrdb(name, &aligned).await, 0);
        assert!(calls.largest(name) > 2_000_000, "{name}");
    }
    for name in ["Windows", "ArrowWindows"] {
        assert_eq!(calls.btrdb(name, &precise).await, 0);
        assert!(calls.largest(name) > 2_000_000, "{name}");
    }
    let changes = v5::ChangesParams {
        uuid: uuid.clone(),
        ..v5::ChangesParams::default()
    };
    assert_eq!(calls.btrdb("Changes", &changes).await, 0);
    let nearest = v5::NearestParams {
        uuid: uuid.clone(),
        ..v5::NearestParams::default()
    };
    assert_eq!(calls.btrdb("Nearest", &nearest).await, 0);
    let mut csv = v5::GenerateCsvParams {
        query_type: QueryType::RawQuery.into(),
        end_time: 10,
        streams: vec![v5::StreamCsvConfig {
            version: 0,
            label: String::new(),
            uuid,
        }],
        ..v5::GenerateCsvParams::default()
    };
    assert_eq!(calls.btrdb("GenerateCSV", &csv).await, 0);
    csv.streams[0].label = long();
    assert_eq!(calls.btrdb("GenerateCSV", &csv).await, 438);
}

async fn describe(calls: &mut Calls) {
    for stream in 1..=3 {
        assert_eq!(create(calls, stream, annotations(stream)).await, 0);
    }
    let mut too_many = annotations(4);
    too_many.extend(annotations(5));
    assert_eq!(create(calls, 4, too_many).await, 422);
    assert_eq!(create(calls, 4, vec![pair(&long(), None)]).await, 422);
    assert_eq!(create(calls, 4, annotations(4)).await, 0);
    // New annotations are added, and existing ones are replaced.
    let mut more = v5::SetStreamAnnotationsParams {
        uuid: bytes(Uuid::from_u128(4)),
        changes: annotations(5),
        ..v5::SetStreamAnnotationsParams::default()
    };
    let name = "SetStreamAnnotations";
    assert_eq!(calls.btrdb(name, &more).await, 422);
    more.changes = annotations(4);
    assert_eq!(calls.btrdb(name, &more).await, 0);
    more.changes = annotations(5);
    more.removals = annotations(4).into_iter().map(|pair| pair.key).collect();
    assert_eq!(calls.btrdb(name, &more).await, 0);

    let info = v5::StreamInfoParams {
        uuid: bytes(Uuid::from_u128(4)),
        ..v5::StreamInfoParams::default()
    };
    assert_eq!(calls.btrdb("StreamInfo", &info).await, 0);
    assert!(calls.largest("StreamInfo") > 3_500_000);
    let mut lookup = v5::LookupStreamsParams {
        collection: "annotated/".to_owned(),
        is_collection_prefix: true,
        ..v5::LookupStreamsParams::default()
    };
    assert_eq!(calls.btrdb("LookupStreams", &lookup).await, 0);
    assert!(calls.largest("LookupStreams") > 3_500_000);
    lookup.collection = long();
    calls.btrdb("LookupStreams", &lookup).await;
    let usage = |prefix: &str| v5::MetadataUsageParams {
        prefix: prefix.to_owned(),
        role: None,
    };
    let name = "GetMetadataUsage";
    assert_eq!(calls.btrdb(name, &usage("annotated/1")).await, 0);
    assert!(calls.largest(name) > 3_500_000);
    assert_eq!(calls.btrdb(name, &usage("annotated/")).await, 438);

    let query = |query: &str| v5::SqlQueryParams {
        query: query.to_owned(),
        ..v5::SqlQueryParams::default()
    };
    let name = "SQLQuery";
    assert_eq!(
        calls.btrdb(name, &query("select uuid from streams")).await,
        0
    );
    for text in [
        "select repeat('x', 5000000) as x",
        &format!("select {}", long()),
        &format!("select '{}' as x", long()),
    ] {
        assert_ne!(calls.btrdb(name, &query(text)).await, 0);
    }
    let annotations = "select annotations from streams";
    calls.btrdb(name, &query(annotations)).await;
    let rows = "select repeat('x', 900000) as x from streams";
    assert_eq!(calls.btrdb(name, &query(rows)).await, 0);
    assert!(calls.largest(name) > 900_000);
}

async fn quote(calls: &mut Calls, uuid: Bytes) {
    let tags = v5::SetStreamTagsParams {
        uuid: uuid.clone(),
        tags: vec![pair(&long(), Some("x"))],
        ..v5::SetStreamTagsParams::default()
    };
    assert_eq!(calls.btrdb("SetStreamTags", &tags).await, 408);
    let named = v5::CreateParams {
        uuid: bytes(Uuid::from_u128(9)),
        collection: long(),
        ..v5::CreateParams::default()
    };
    assert_eq!(calls.btrdb("Create", &named).await, 407);
    let list = v5::ListCollectionsParams {
        prefix: long(),
        role: None,
    };
    assert_eq!(calls.btrdb("ListCollections", &list).await, 0);
    let list = v5::ListCollectionsParams::default();
    assert_eq!(calls.btrdb("ListCollections", &list).await, 0);
    let collection = pb::GetCollectionParams { collection: long() };
    calls.manage("GetCollection", &collection).await;
    let collection = pb::SetCollectionRetentionParams {
        collection: long(),
        ..pb::SetCollectionRetentionParams::default()
    };
    calls.manage("SetCollectionRetention", &collection).await;
    for kind in ["Device", "Unit"] {
        let name = format!("Create{kind}");
        let mut record = pb::CreateRecordParams {
            name: long(),
            fields: String::new(),
        };
        assert_eq!(calls.manage(&name, &record).await, 438);
        for number in 0..5 {
            record.name = format!("{number}");
            record.fields = format!("{{\"x\":\"{}\"}}", "x".repeat(1_000_000));
            assert_eq!(calls.manage(&name, &record).await, 0);
        }
        record.fields = format!("{{\"{0}\":1,\"{0}\":1}}", "x".repeat(500_000));
        assert_eq!(calls.manage(&name, &record).await, 438);
        let list = format!("List{kind}s");
        assert_eq!(calls.manage(&list, &pb::ListRecordsParams {}).await, 0);
        let get = pb::GetRecordParams { id: 1 };
        assert_eq!(calls.manage(&format!("Get{kind}"), &get).await, 0);
    }
}

#[tokio::test]
async fn no_message_is_longer_than_the_limit() {
    let fixture = unlimited_rows().await;
    let channel = fixture.channel().await;
    let stream = fixture.stream().await;
    stream.insert(&ramp(0, 1, 300_000)).await.unwrap();
    let mut calls = Calls {
        channel: channel.clone(),
        lengths: BTreeMap::new(),
    };
    read(&mut calls, stream.id()).await;
    describe(&mut calls).await;
    quote(&mut calls, stream.id()).await;
    let made: BTreeSet<String> = calls.lengths.keys().cloned().collect();
    for path in paths(&channel, None).await.unwrap() {
        // A health watch does not end, and reflection returns the contract.
        if !made.contains(&path) && !path.starts_with("/grpc.") {
            calls.make(&path, &v5::InfoParams {}).await;
        }
    }
    assert_eq!(calls.lengths.len(), 41);
    for (path, lengths) in &calls.lengths {
        let largest = lengths.iter().max();
        assert!(
            largest.is_none_or(|&length| length <= MOST),
            "{path}: {largest:?}"
        );
    }
}

#[tokio::test]
async fn a_large_insert_is_pushed_in_several_messages() {
    let fixture = unlimited_rows().await;
    let stream = fixture.stream().await;
    let update = v5::SubscriptionUpdate {
        op: v5::SubscriptionUpdateOp::AddUuids.into(),
        uuid: vec![stream.id()],
    };
    let (updates, sent) = tokio::sync::mpsc::channel(1);
    updates.send(update).await.unwrap();
    let mut request = Request::new(tokio_stream::wrappers::ReceiverStream::new(sent));
    let headers = request.metadata_mut();
    headers.insert("pingthings-subscription", "announce".parse().unwrap());
    let mut client = fixture.client.clone().max_decoding_message_size(MOST);
    let mut answers = client.subscribe(request).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    stream.insert(&ramp(0, 1, 300_000)).await.unwrap();
    drop(updates);
    let mut lengths = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.stat, None);
        lengths.push(answer.encoded_len());
    }
    assert_eq!(lengths.len(), 2, "{lengths:?}");
}

/// A join repeats its schema in every message.
#[tokio::test]
async fn joins_leave_room_for_their_schema() {
    let fixture = unlimited_rows().await;
    let mut streams = Vec::new();
    for _ in 0..1_000 {
        streams.push(fixture.stream().await);
    }
    streams[0].insert(&ramp(0, 1, 1_000)).await.unwrap();
    let mut client = fixture.client.clone().max_decoding_message_size(MOST);
    let mut read = async |length: usize| {
        let params = v5::ArrowMultiValuesParams {
            uuid: streams.iter().map(Stream::id).collect(),
            end: 1_000,
            template_bytes: crate::arrow::named(streams.len(), length),
            ..v5::ArrowMultiValuesParams::default()
        };
        let found = answers(client.arrow_multi_values(params).await).await?;
        Ok::<_, u32>(found.iter().map(Message::encoded_len).max().unwrap())
    };
    assert!(read(2_500).await.unwrap() > 3_000_000);
    assert_eq!(read(4_500).await, Err(438));
}
