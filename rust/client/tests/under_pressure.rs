//! Several servers, little memory and short deadlines, against real servers over real sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{future::Future, sync::Arc, time::Duration};

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use pingthings_client::{
    AnswerSchema, Client, Config, Endpoint, ErrorKind, Insert, NewStream, TableStream,
};
use pingthings_server::{Fault, FaultKind, Server};
use pingthings_types::{MergePolicy, TimeRange};
use uuid::Uuid;

async fn server() -> Server {
    let config = pingthings_server::Config {
        anonymous: true,
        anonymous_role: pingthings_server::Role::Admin,
        ..pingthings_server::Config::default()
    };
    Server::start(config).await.unwrap()
}

fn config(servers: &[&Server]) -> Config {
    let endpoint = |server: &&Server| Endpoint::parse(&server.addr().to_string(), None).unwrap();
    Config {
        endpoints: servers.iter().map(endpoint).collect(),
        ..Config::default()
    }
}

/// A stream with this number of points, one nanosecond apart.
async fn stream(client: &Client, points: i64) -> Uuid {
    let uuid = Uuid::new_v4();
    let new = NewStream {
        uuid,
        collection: format!("pressure/{uuid}"),
        tags: [].into(),
        annotations: [].into(),
    };
    client.create(new).await.unwrap();
    let times: ArrayRef = Arc::new(Int64Array::from_iter_values(0..points));
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values(
        (0..points).map(|point| f64::from(u32::try_from(point).unwrap())),
    ));
    let schema = Schema::new(vec![
        Field::new("time", DataType::Int64, false),
        Field::new("value", DataType::Float64, false),
    ]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![times, values]).unwrap();
    let insert = Insert::new(uuid, &[batch]).unwrap();
    client.insert(insert, MergePolicy::Never).await.unwrap();
    client.flush(uuid).await.unwrap();
    uuid
}

/// Fails if the test waits for ever.
async fn within_deadline(test: impl Future<Output = ()>) {
    let test = tokio::time::timeout(Duration::from_mins(5), test);
    test.await.unwrap();
}

fn all() -> TimeRange {
    TimeRange::new(0, 1 << 40).unwrap()
}

#[tokio::test]
async fn calls_switch_to_another_server_when_one_stops() {
    within_deadline(async {
        let (first, second) = (server().await, server().await);
        let only_second = Client::connect(config(&[&second])).await.unwrap();
        let there = stream(&only_second, 10).await;
        let client = Client::connect(config(&[&first, &second])).await.unwrap();
        let here = stream(&client, 10).await;
        assert!(only_second.version(here).await.is_err());
        first.stop().await.unwrap();
        assert!(client.version(there).await.is_ok());
        // Nothing was sent to the first server, so creating a stream is also retried.
        stream(&client, 1).await;
    })
    .await;
}

#[tokio::test]
async fn connecting_tries_every_server_once() {
    within_deadline(async {
        let (first, second) = (server().await, server().await);
        let both = config(&[&first, &second]);
        first.stop().await.unwrap();
        let client = Client::connect(both).await.unwrap();
        client.info().await.unwrap();
        let unreachable = config(&[&second]);
        second.stop().await.unwrap();
        let error = Client::connect(unreachable).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    })
    .await;
}

#[tokio::test]
async fn unread_answers_do_not_block_other_reads() {
    within_deadline(Box::pin(async {
        let server = server().await;
        let client = Client::connect(config(&[&server])).await.unwrap();
        // The answers are larger than the window of a stream, and there are more of them than fit
        // into the windows of all connections.
        let uuid = stream(&client, 800_000).await;
        let schema = AnswerSchema::raw(None).unwrap();
        let mut unread: Vec<TableStream> = Vec::new();
        for _ in 0..48 {
            let tables = client.raw_values_iter(uuid, all(), 0, &schema).await;
            unread.push(tables.unwrap());
        }
        let one_more = client.raw_values(uuid, all(), 0, &schema).await.unwrap();
        assert_eq!(one_more.num_rows(), 800_000);
        let mut last = unread.pop().unwrap();
        let mut rows = 0;
        while let Some(table) = last.next().await.unwrap() {
            rows += table.num_rows();
        }
        assert_eq!(rows, 800_000);
    }))
    .await;
}

#[tokio::test]
async fn reads_beyond_the_memory_limit_wait_and_are_complete() {
    within_deadline(Box::pin(async {
        let server = server().await;
        let config = Config {
            memory_limit: 16 << 20,
            concurrency_limit: 64,
            ..config(&[&server])
        };
        let client = Client::connect(config).await.unwrap();
        let fixed = stream(&client, 300_000).await;
        // Buffered points belong to no version, so such a read starts again from the beginning.
        let buffered = stream(&client, 300_000).await;
        let more = RecordBatch::try_from_iter([
            (
                "time",
                Arc::new(Int64Array::from(vec![1 << 30])) as ArrayRef,
            ),
            (
                "value",
                Arc::new(Float64Array::from(vec![-1.0])) as ArrayRef,
            ),
        ]);
        let insert = Insert::new(buffered, &[more.unwrap()]).unwrap();
        client.insert(insert, MergePolicy::Never).await.unwrap();

        let uuids: Vec<_> = (0..32).flat_map(|_| [fixed, buffered]).collect();
        let schema = AnswerSchema::raw(None).unwrap();
        let read = move |client: Client, uuid| {
            let schema = schema.clone();
            async move { client.raw_values(uuid, all(), 0, &schema).await }
        };
        let tables = client.for_each(uuids.clone(), read).await;
        for (uuid, table) in uuids.iter().zip(tables.unwrap()) {
            let rows = table.num_rows();
            assert_eq!(rows, 300_000 + usize::from(*uuid == buffered));
        }
    }))
    .await;
}

#[tokio::test]
async fn a_deadline_includes_all_retries() {
    within_deadline(async {
        let server = server().await;
        let client = Client::connect(config(&[&server])).await.unwrap();
        let uuid = stream(&client, 10).await;
        let fault = |kind| Fault {
            kind,
            calls: Vec::new(),
            times: None,
        };
        let hasty = client.with_own_time_limits();
        hasty.set_deadline(Some(Duration::from_millis(300)));
        for kind in [FaultKind::Hang, FaultKind::Busy] {
            server.set_fault(Some(fault(kind))).unwrap();
            let error = hasty.for_call().version(uuid).await.unwrap_err();
            let is_expected = match kind {
                FaultKind::Hang => error.kind() == ErrorKind::Timeout,
                // The last attempt may have been in flight when the deadline passed.
                _ => matches!(error.kind(), ErrorKind::Code(426) | ErrorKind::Timeout),
            };
            assert!(is_expected, "{error}");
        }
        server.set_fault(None).unwrap();
        assert_eq!(client.deadline(), None);
        client.for_call().version(uuid).await.unwrap();
    })
    .await;
}
