//! The budget of memory for callers, and refusals beyond it.

use std::time::Duration;

use pingthings_proto::v5api as v5;
use pingthings_server::{Config, Limits};
use pingthings_types::{MAX_TIME, MIN_TIME};
use tokio::time::timeout;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};

use crate::fixture::{Client, Fixture, Stream, answers, connect, pair, ramp};

/// A time limit that only a call that never ends reaches.
const TIMEOUT: Duration = Duration::from_mins(1);

async fn limited(limits: Limits) -> Fixture {
    Fixture::with(Config {
        limits,
        ..Config::default()
    })
    .await
}

fn everything(stream: &Stream) -> v5::RawValuesParams {
    v5::RawValuesParams {
        uuid: stream.id(),
        start: MIN_TIME,
        end: MAX_TIME - 1,
        version_major: 0,
    }
}

/// A client whose unread answers do not fill the window of its connection.
async fn narrow(fixture: &Fixture) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{}", fixture.server.addr())).unwrap();
    let endpoint = endpoint
        .initial_stream_window_size(1_000)
        .initial_connection_window_size(16 << 20);
    Client::new(endpoint.connect().await.unwrap())
}

type OpenRead = Streaming<v5::RawValuesResponse>;

/// Opens reads of all points on one connection. Returns the open ones, and how many were refused.
async fn open(client: &Client, stream: &Stream, count: usize) -> (Vec<OpenRead>, usize) {
    let (mut opened, mut refused) = (Vec::new(), 0);
    for _ in 0..count {
        let answers = client.clone().raw_values(everything(stream)).await.unwrap();
        let mut answers = answers.into_inner();
        let first = answers.message().await.unwrap().unwrap();
        match first.stat {
            Some(stat) => {
                assert_eq!(stat.code, 426, "{}", stat.msg);
                refused += 1;
            }
            None => opened.push(answers),
        }
    }
    (opened, refused)
}

#[tokio::test]
async fn three_hundred_reads_are_opened_before_one_ends() {
    let fixture = limited(Limits {
        rows_per_message: 10,
        ..Limits::default()
    })
    .await;
    let stream = fixture.stream().await;
    stream.insert(&ramp(0, 1, 2_000)).await.unwrap();
    let client = narrow(&fixture).await;
    let opening = open(&client, &stream, 300);
    let (opened, refused) = timeout(TIMEOUT, opening).await.unwrap();
    assert_eq!((opened.len(), refused), (300, 0));
    for mut answers in opened {
        let mut rows = 10;
        while let Some(answer) = answers.message().await.unwrap() {
            rows += answer.values.len();
        }
        assert_eq!(rows, 2_000);
    }
}

#[tokio::test]
async fn reads_beyond_the_limit_of_open_answers_are_refused_at_once() {
    let fixture = limited(Limits {
        rows_per_message: 10,
        ..Limits::default()
    })
    .await;
    let stream = fixture.stream().await;
    stream.insert(&ramp(0, 1, 2_000)).await.unwrap();
    let client = narrow(&fixture).await;
    let opening = open(&client, &stream, 2_000);
    let (mut opened, refused) = timeout(TIMEOUT, opening).await.unwrap();
    assert_eq!((opened.len(), refused), (768, 1_232));
    // Calls with one answer and other connections are not affected.
    let beside = Stream {
        client,
        ..stream.clone()
    };
    assert_eq!(beside.nearest(0, false).await, Ok((0, 0.0)));
    assert_eq!(stream.all().await.len(), 2_000);
    // Open answers can be read, and release their slots.
    let mut rows = 10;
    let mut last = opened.pop().unwrap();
    while let Some(answer) = last.message().await.unwrap() {
        rows += answer.values.len();
    }
    assert_eq!(rows, 2_000);
    fixture
        .until(async || open(&beside.client, &stream, 1).await.1 == 0)
        .await;
}

#[tokio::test]
async fn one_key_cannot_open_all_answers() {
    let fixture = Fixture::with(Config {
        api_keys: vec!["greedy".to_owned(), "modest".to_owned()],
        limits: Limits {
            open_answers: 8,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let with_key = |key: &str, params: v5::RawValuesParams| {
        let mut request = Request::new(params);
        let value: MetadataValue<_> = format!("Bearer {key}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        request
    };
    let uuid = uuid::Uuid::new_v4();
    let mut create = Request::new(v5::CreateParams {
        uuid: crate::fixture::bytes(uuid),
        collection: "x".to_owned(),
        tags: vec![pair("name", Some("x"))],
        annotations: Vec::new(),
    });
    let value: MetadataValue<_> = "Bearer modest".parse().unwrap();
    create.metadata_mut().insert("authorization", value.clone());
    let mut client = fixture.client.clone();
    client.create(create).await.unwrap();
    let points = ramp(0, 1, 900_000);
    let mut insert = Request::new(v5::InsertParams {
        uuid: crate::fixture::bytes(uuid),
        values: points
            .iter()
            .map(|&(time, value)| v5::RawPoint { time, value })
            .collect(),
        ..v5::InsertParams::default()
    });
    insert.metadata_mut().insert("authorization", value);
    assert_eq!(client.insert(insert).await.unwrap().into_inner().stat, None);
    let stream = Stream {
        client: fixture.client.clone(),
        uuid,
    };
    // The limit applies to the key, over several connections.
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..8 {
        let mut client = connect(&fixture.server).await;
        let request = with_key("greedy", everything(&stream));
        let mut answers = client.raw_values(request).await.unwrap().into_inner();
        let first = answers.message().await.unwrap().unwrap();
        refused += usize::from(first.stat.is_some_and(|stat| stat.code == 426));
        held.push((client, answers));
    }
    assert_eq!(refused, 2);
    let mut client = connect(&fixture.server).await;
    let request = with_key("modest", everything(&stream));
    let mut answers = client.raw_values(request).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().stat, None);
}

#[tokio::test]
async fn lists_of_a_million_entries_are_refused_before_they_are_decoded() {
    let fixture = Fixture::open().await;
    let mut client = fixture.client.clone();
    let lookup = |count| v5::LookupStreamsParams {
        collection: "x".to_owned(),
        annotations: vec![pair("", None); count],
        ..v5::LookupStreamsParams::default()
    };
    let found = answers(client.lookup_streams(lookup(1_000_000)).await).await;
    assert_eq!(found.unwrap_err(), 438);
    let csv = |count| v5::GenerateCsvParams {
        streams: vec![v5::StreamCsvConfig::default(); count],
        ..v5::GenerateCsvParams::default()
    };
    let found = answers(client.generate_csv(csv(1_000_000)).await).await;
    assert_eq!(found.unwrap_err(), 438);
    // Two million keys with names exceed the maximum length of a request.
    let names = (0..2_000_000).map(|n| pair(&n.to_string(), None)).collect();
    let params = v5::LookupStreamsParams {
        annotations: names,
        ..v5::LookupStreamsParams::default()
    };
    let status = client.lookup_streams(params).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    // Fewer keys can be decoded, but are too many for a lookup.
    for count in [1_001, 60_000] {
        let found = answers(client.lookup_streams(lookup(count)).await).await;
        assert_eq!(found.unwrap_err(), 438, "{count}");
    }
    let found = answers(client.generate_csv(csv(60_000)).await).await;
    assert_eq!(found.unwrap_err(), 438);
    assert_eq!(
        answers(client.lookup_streams(lookup(0)).await)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn too_many_points_are_refused_while_they_arrive() {
    let fixture = limited(Limits {
        points_per_insert: 1_000,
        ..Limits::default()
    })
    .await;
    let stream = fixture.stream().await;
    assert!(stream.insert(&ramp(0, 1, 1_000)).await.is_ok());
    for count in [1_001, 1_500, 500_000] {
        assert_eq!(stream.insert(&ramp(0, 1, count)).await, Err(414), "{count}");
    }
    assert_eq!(stream.all().await.len(), 1_000);
}

#[tokio::test]
async fn a_request_beyond_the_share_of_a_caller_is_refused() {
    let fixture = limited(Limits {
        memory_bytes: 1 << 20,
        ..Limits::default()
    })
    .await;
    let stream = fixture.stream().await;
    assert!(stream.insert(&ramp(0, 1, 30_000)).await.is_ok());
    assert_eq!(stream.insert(&ramp(0, 1, 50_000)).await, Err(426));
    // The same request, compressed.
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let packed = Stream {
            client: fixture.client.clone().send_compressed(encoding),
            uuid: stream.uuid,
        };
        assert_eq!(
            packed.insert(&vec![(7, 7.0); 50_000]).await,
            Err(426),
            "{encoding}"
        );
        assert!(packed.insert(&[(7, 7.0); 100]).await.is_ok(), "{encoding}");
    }
    assert_eq!(stream.all().await.len(), 30_200);
}

#[tokio::test]
async fn an_unread_answer_is_revoked_for_one_that_is_read() {
    let fixture = limited(Limits {
        memory_bytes: 4 << 20,
        ..Limits::default()
    })
    .await;
    let stream = fixture.stream().await;
    for part in 0..2 {
        let points = ramp(part * 100_000, 1, 100_000);
        let arrow = crate::fixture::arrow_points(&points);
        let inserted = stream.arrow_insert(v5::MergePolicy::Never, arrow).await;
        inserted.unwrap();
    }
    // Each of them would use 2 MB of the server's memory.
    let mut lazy = Vec::new();
    for _ in 0..6 {
        let mut client = narrow(&fixture).await;
        let answers = client.raw_values(everything(&stream)).await.unwrap();
        lazy.push((client, answers.into_inner()));
    }
    for _ in 0..2 {
        // This read may have had the largest weight for a moment. It is repeated, as by a client.
        let read = async { while read_all(&fixture, &stream).await != Some(200_000) {} };
        timeout(TIMEOUT, read).await.unwrap();
    }
}

/// The number of points that a read of everything returns, or `None` if it is refused or cut off.
async fn read_all(fixture: &Fixture, stream: &Stream) -> Option<usize> {
    let mut client = connect(&fixture.server).await;
    let answers = client.raw_values(everything(stream)).await.ok()?;
    let mut answers = answers.into_inner();
    let mut points = 0;
    while let Some(answer) = answers.message().await.ok()? {
        if answer.stat.is_some() {
            return None;
        }
        points += answer.values.len();
    }
    Some(points)
}
