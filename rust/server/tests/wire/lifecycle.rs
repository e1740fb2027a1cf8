//! Starting, stopping, and clients that connect and disconnect.

use std::time::Duration;

use pingthings_proto::v5api::b_tr_db_client::BTrDbClient;
use pingthings_proto::v5api::{self as v5, MergePolicy};
use pingthings_server::{Config, Error, Limits, Server, Storage};
use pingthings_types::{MAX_TIME, MIN_TIME};
use tonic::codec::CompressionEncoding;
use tonic::transport::Endpoint;

use crate::fixture::{Fixture, Stream, arrow_points, bytes, connect, ramp};

fn small_messages() -> Config {
    Config {
        limits: Limits {
            rows_per_message: 100,
            ..Limits::default()
        },
        ..Config::default()
    }
}

fn everything(stream: &Stream) -> v5::RawValuesParams {
    v5::RawValuesParams {
        uuid: stream.id(),
        start: MIN_TIME,
        end: MAX_TIME - 1,
        version_major: 0,
    }
}

/// Empty windows of a quarter of a second. The whole answer would take hours.
fn endless(stream: &Stream) -> v5::WindowsParams {
    v5::WindowsParams {
        uuid: stream.id(),
        start: MIN_TIME,
        end: MAX_TIME - 1,
        version_major: 0,
        width: 1 << 28,
        depth: 0,
    }
}

async fn fill(stream: &Stream, points: u32) {
    let points = ramp(0, 1, points);
    for part in points.chunks(500_000) {
        stream
            .arrow_insert(MergePolicy::Never, arrow_points(part))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn data_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        storage: Storage::Directory(directory.path().join("data")),
        ..Config::default()
    };
    let fixture = Fixture::with(config.clone()).await;
    let stream = fixture.stream().await;
    stream.insert(&[(1, 1.0), (2, 2.0)]).await.unwrap();
    let uuid = stream.uuid;
    drop(stream);
    drop(fixture.client);
    fixture.server.stop().await.unwrap();

    let fixture = Fixture::with(config).await;
    let stream = Stream {
        client: fixture.client.clone(),
        uuid,
    };
    assert_eq!(stream.all().await, [(1, 1.0), (2, 2.0)]);
    // Stopping has committed the buffer.
    let info = stream.info().await.unwrap();
    assert_eq!((info.version_major, info.version_minor), (11, 0));
    assert_eq!(info.descriptor.unwrap().uuid, bytes(uuid));
}

#[tokio::test]
async fn only_one_server_can_use_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        storage: Storage::Directory(directory.path().to_owned()),
        ..Config::default()
    };
    let first = Server::start(config.clone()).await.unwrap();
    let error = Server::start(config.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Storage(_)), "{error}");
    let path = directory.path().display().to_string();
    assert!(error.to_string().contains(&path), "{error}");
    first.stop().await.unwrap();
    Server::start(config).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn only_one_server_can_use_a_port() {
    let first = Server::start(Config::default()).await.unwrap();
    let taken = Config {
        listen: first.addr(),
        ..Config::default()
    };
    let error = Server::start(taken.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Listen { .. }), "{error}");
    assert!(
        error.to_string().contains(&first.addr().to_string()),
        "{error}"
    );
    first.stop().await.unwrap();
    Server::start(taken).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_dropped_server_stops() {
    let fixture = Fixture::open().await;
    let addr = fixture.server.addr();
    drop(fixture);
    let taken = Config {
        listen: addr,
        ..Config::default()
    };
    // It stops in the background and releases its port.
    let restarted = async {
        loop {
            if let Ok(server) = Server::start(taken.clone()).await {
                break server;
            }
            tokio::task::yield_now().await;
        }
    };
    let server = tokio::time::timeout(Duration::from_secs(20), restarted)
        .await
        .unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn stopping_answers_calls_in_flight() {
    let fixture = Fixture::with(Config {
        grace: Duration::MAX,
        ..small_messages()
    })
    .await;
    let stream = fixture.stream().await;
    fill(&stream, 10_000).await;
    let mut client = fixture.client.clone();
    let mut reading = client
        .raw_values(everything(&stream))
        .await
        .unwrap()
        .into_inner();
    let first = reading.message().await.unwrap().unwrap();
    let stopping = tokio::spawn(fixture.server.stop());
    let mut count = first.values.len();
    while let Some(message) = reading.message().await.unwrap() {
        assert_eq!(message.stat, None);
        count += message.values.len();
    }
    assert_eq!(count, 10_000);
    drop((reading, client, stream, fixture.client));
    stopping.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_continues_after_changes_of_its_stream() {
    let fixture = Fixture::with(small_messages()).await;
    let stream = fixture.stream().await;
    fill(&stream, 10_000).await;
    let mut client = fixture.client.clone();
    for is_obliterated in [false, true] {
        let mut reading = client
            .raw_values(everything(&stream))
            .await
            .unwrap()
            .into_inner();
        let first = reading.message().await.unwrap().unwrap();
        if is_obliterated {
            stream.obliterate().await.unwrap();
        } else {
            stream.delete(MIN_TIME, MAX_TIME - 1).await.unwrap();
        }
        let mut count = first.values.len();
        while let Some(message) = reading.message().await.unwrap() {
            assert_eq!(message.stat, None);
            assert_eq!(message.version_major, first.version_major);
            count += message.values.len();
        }
        assert_eq!(count, 10_000);
        if !is_obliterated {
            assert_eq!(stream.all().await, []);
            fill(&stream, 10_000).await;
        }
    }
    assert_eq!(stream.raw(0, 1).await, Err(404));
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_client_that_never_reads() {
    let fixture = Fixture::with(Config {
        grace: Duration::ZERO,
        ..small_messages()
    })
    .await;
    let stream = fixture.stream().await;
    fill(&stream, 1_000_000).await;
    let mut client = connect(&fixture.server).await;
    let mut unread = client
        .raw_values(everything(&stream))
        .await
        .unwrap()
        .into_inner();
    unread.message().await.unwrap().unwrap();
    fixture.server.stop().await.unwrap();
    // The client gets an error, because the answer is not complete.
    let error = loop {
        match unread.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("an incomplete answer looks complete"),
            Err(status) => break status,
        }
    };
    assert_ne!(error.code(), tonic::Code::Ok);
}

#[tokio::test]
async fn an_unread_answer_delays_no_other_call() {
    let fixture = Fixture::with(Config {
        limits: Limits {
            rows_per_message: 1000,
            concurrent_calls: 1,
            waiting_calls: 1,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let stream = fixture.stream().await;
    fill(&stream, 1_000_000).await;
    // Each uses as much memory as its HTTP/2 windows, far less than the answer of 20 MB.
    let mut unread = Vec::new();
    for _ in 0..4 {
        let mut client = connect(&fixture.server).await;
        let mut answers = client
            .raw_values(everything(&stream))
            .await
            .unwrap()
            .into_inner();
        assert!(answers.message().await.unwrap().is_some());
        unread.push(answers);
    }
    stream.insert(&[(5, 5.0)]).await.unwrap();
    assert_eq!(stream.raw(5, 6).await.unwrap().len(), 2);
    for mut answers in unread {
        let mut count = 1000;
        while let Some(message) = answers.message().await.unwrap() {
            count += message.values.len();
        }
        assert_eq!(count, 1_000_000);
    }
}

#[tokio::test]
async fn disconnected_clients_leave_nothing_behind() {
    let fixture = Fixture::with(Config {
        limits: Limits {
            rows_per_message: 100,
            concurrent_calls: 2,
            waiting_calls: 100,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let stream = fixture.stream().await;
    fill(&stream, 100_000).await;
    let mut client = fixture.client.clone();
    for _ in 0..50 {
        let mut answers = client
            .raw_values(everything(&stream))
            .await
            .unwrap()
            .into_inner();
        answers.message().await.unwrap().unwrap();
        // Dropping the answer resets its call.
    }
    for _ in 0..4 {
        let mut answers = client.windows(endless(&stream)).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap();
    }
    assert_eq!(stream.raw(5, 6).await.unwrap(), [(5, 5.0)]);
    drop((client, stream, fixture.client));
    fixture.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_cancelled_calls_keeps_the_connection() {
    let fixture = Fixture::open().await;
    let stream = fixture.stream().await;
    let mut open = fixture.client.clone();
    let mut answers = open.windows(endless(&stream)).await.unwrap().into_inner();
    for _ in 0..2 {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..400 {
            let mut client = fixture.client.clone();
            calls.spawn(async move { client.info(v5::InfoParams {}).await.map(|_| ()) });
        }
        calls.join_next().await.unwrap().unwrap().unwrap();
        // Dropping the set resets the other calls, some before the server has read them.
    }
    // This call uses the same connection.
    assert!(answers.message().await.unwrap().is_some());
    assert_eq!(stream.all().await, []);
}

#[tokio::test]
async fn compressed_requests_get_uncompressed_answers() {
    let fixture = Fixture::open().await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let stream = fixture.stream().await;
        let endpoint = Endpoint::from_shared(format!("http://{}", fixture.server.addr())).unwrap();
        let mut client = BTrDbClient::new(endpoint.connect().await.unwrap())
            .send_compressed(encoding)
            .accept_compressed(encoding);
        let points = (0..1000).map(|time| v5::RawPoint { time, value: 1.0 });
        let params = v5::InsertParams {
            uuid: stream.id(),
            values: points.collect(),
            ..v5::InsertParams::default()
        };
        assert_eq!(client.insert(params).await.unwrap().into_inner().stat, None);
        let response = client.raw_values(everything(&stream)).await.unwrap();
        assert!(!response.metadata().contains_key("grpc-encoding"));
        assert_eq!(stream.all().await.len(), 1000);
    }
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_by_the_transport() {
    let fixture = Fixture::with(Config {
        limits: Limits {
            message_bytes: 1000,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let stream = fixture.stream().await;
    let params = v5::InsertParams {
        uuid: stream.id(),
        values: vec![v5::RawPoint::default(); 1000],
        ..v5::InsertParams::default()
    };
    let status = fixture.client.clone().insert(params).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::OutOfRange, "{status}");
    // The limit also applies to the decompressed length.
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = fixture.client.clone().send_compressed(encoding);
        let params = v5::ArrowInsertParams {
            uuid: stream.id(),
            arrow_bytes: vec![0; 100_000].into(),
            ..v5::ArrowInsertParams::default()
        };
        let status = client.arrow_insert(params).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
    }
    assert_eq!(
        stream
            .insert(&[(1, 1.0)])
            .await
            .map(|version| version.minor),
        Ok(1)
    );
}

#[tokio::test]
async fn many_clients_write_and_read_at_once() {
    let fixture = Fixture::open().await;
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..8 {
        let stream = fixture.stream().await;
        tasks.spawn(async move {
            for round in 0..20usize {
                let point = (i64::try_from(round).unwrap(), f64::from(client));
                stream.insert(&[point]).await.unwrap();
                let found = stream.raw(0, 1000).await.unwrap();
                assert_eq!(found.len(), round + 1);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}
