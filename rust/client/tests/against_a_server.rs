//! The client against the real server, over a real socket.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests; the numbers are small"
)]

use std::{sync::Arc, time::Duration};

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use pingthings_client::{
    AnswerSchema, Client, Config, Endpoint, ErrorKind, Insert, NewStream, Table,
};
use pingthings_server::{Fault, FaultKind, Server};
use pingthings_types::{MergePolicy, PointWidth, TimeRange};
use uuid::Uuid;

async fn serve(arrow: bool) -> (Server, Client) {
    serve_within(arrow, pingthings_server::Limits::default()).await
}

async fn serve_within(arrow: bool, limits: pingthings_server::Limits) -> (Server, Client) {
    let config = pingthings_server::Config {
        anonymous: true,
        arrow,
        limits,
        ..pingthings_server::Config::default()
    };
    let server = Server::start(config).await.unwrap();
    let endpoint = Endpoint::parse(&server.addr().to_string(), None).unwrap();
    let config = Config {
        retry_for: Duration::from_millis(100),
        ..Config::new(endpoint)
    };
    let client = Client::connect(config).await.unwrap();
    (server, client)
}

async fn stream(client: &Client, name: &str) -> Uuid {
    let uuid = Uuid::new_v4();
    let tags = [("name".to_owned(), name.to_owned())].into();
    let stream = NewStream {
        uuid,
        collection: "client".to_owned(),
        tags,
        annotations: [].into(),
    };
    client.create(stream).await.unwrap();
    uuid
}

fn points(uuid: Uuid, times: impl IntoIterator<Item = i64>) -> Insert {
    let times = Int64Array::from_iter_values(times);
    let values: Float64Array = times
        .iter()
        .map(|t| t.map(|t| f64::from(t as i32) / 8.0))
        .collect();
    let schema = Schema::new(vec![
        Field::new("time", DataType::Int64, false),
        Field::new("value", DataType::Float64, true),
    ]);
    let columns: Vec<ArrayRef> = vec![Arc::new(times), Arc::new(values)];
    Insert::new(
        uuid,
        &[RecordBatch::try_new(Arc::new(schema), columns).unwrap()],
    )
    .unwrap()
}

async fn read_all(client: &Client, uuid: Uuid) -> [Table; 3] {
    let range = TimeRange::new(0, 1 << 20).unwrap();
    let (raw, stat) = (
        AnswerSchema::raw(None).unwrap(),
        AnswerSchema::windows(None).unwrap(),
    );
    let width = PointWidth::new(14).unwrap();
    [
        client.raw_values(uuid, range, 0, &raw).await.unwrap(),
        client
            .aligned_windows(uuid, range, width, 0, &stat)
            .await
            .unwrap(),
        client
            .precise_windows(uuid, range, 10_007, 0, &stat)
            .await
            .unwrap(),
    ]
}

#[tokio::test]
async fn answers_without_arrow_have_the_same_bits() {
    let mut answers = Vec::new();
    let mut servers = Vec::new();
    for arrow in [true, false] {
        let (server, client) = serve(arrow).await;
        let uuid = stream(&client, "same").await;
        client
            .insert(
                points(uuid, (0..120_000).map(|k| k * 7)),
                MergePolicy::Never,
            )
            .await
            .unwrap();
        answers.push(read_all(&client, uuid).await);
        servers.push(server);
    }
    for (with, without) in answers[0].iter().zip(&answers[1]) {
        assert_eq!(with.schema, without.schema);
        let whole = |table: &Table| {
            arrow_select::concat::concat_batches(&table.schema, &table.batches).unwrap()
        };
        assert_eq!(whole(with), whole(without));
        assert!(with.num_rows() > 0);
    }
}

#[tokio::test]
async fn a_failed_insert_reports_its_details() {
    let (_server, client) = serve(true).await;
    let uuid = Uuid::new_v4();
    let insert = points(uuid, [5, 3, 9]);
    let error = client.insert(insert, MergePolicy::Never).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Code(404));
    assert_eq!(error.stream(), Some(uuid));
    let known = error.insert().unwrap();
    assert_eq!(
        (known.in_doubt, known.times, known.version),
        (false, Some((3, 9)), None)
    );
}

#[tokio::test]
async fn an_insert_without_answer_is_in_doubt_unless_its_policy_is_idempotent() {
    for policy in MergePolicy::ALL {
        let (server, client) = serve(true).await;
        let uuid = stream(&client, policy.name()).await;
        let lost = Fault {
            kind: FaultKind::Cut { after: 0 },
            calls: vec!["ArrowInsert".to_owned()],
            times: None,
        };
        server.set_fault(Some(lost)).unwrap();
        let error = client.insert(points(uuid, [1]), policy).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
        assert_eq!(
            error.insert().unwrap().in_doubt,
            policy == MergePolicy::Never
        );
        // Nothing was sent to the stopped server, so the insert is not in doubt.
        server.stop().await.unwrap();
        let error = client.insert(points(uuid, [2]), policy).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
        assert!(!error.insert().unwrap().in_doubt);
    }
}

#[tokio::test]
async fn fan_out_returns_results_in_order_or_an_error() {
    let (_server, client) = serve(true).await;
    let mut uuids = Vec::new();
    for number in 0..40 {
        let uuid = stream(&client, &number.to_string()).await;
        client
            .insert(points(uuid, 0..number), MergePolicy::Never)
            .await
            .unwrap();
        uuids.push(uuid);
    }
    let unknown = Uuid::new_v4();
    client.set_concurrency_limit(3).unwrap();
    let range = TimeRange::new(0, 1000).unwrap();
    let read = move |client: Client, uuid| async move {
        client
            .raw_values(uuid, range, 0, &AnswerSchema::raw(None)?)
            .await
    };
    let tables = client.for_each(uuids.clone(), read).await.unwrap();
    let rows: Vec<_> = tables.iter().map(Table::num_rows).collect();
    assert_eq!(rows, (0..40).collect::<Vec<_>>());
    uuids.insert(20, unknown);
    let error = client.for_each(uuids, read).await.unwrap_err();
    assert_eq!(error.stream(), Some(unknown));
    assert!(error.to_string().contains(&unknown.to_string()));
}

#[tokio::test]
async fn calls_of_a_closed_client_fail() {
    let (_server, client) = serve(true).await;
    client.close();
    client.close();
    assert_eq!(client.info().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn the_client_adapts_to_the_point_limit_of_the_server() {
    for arrow in [true, false] {
        let limits = pingthings_server::Limits {
            points_per_insert: 700,
            ..pingthings_server::Limits::default()
        };
        let (server, client) = serve_within(arrow, limits).await;
        let uuid = stream(&client, "few").await;
        for first in [0, 120_000] {
            // At the second insert the client knows the limit of the server.
            let insert = points(uuid, first..first + 120_000);
            client.insert(insert, MergePolicy::Never).await.unwrap();
        }
        let range = TimeRange::new(0, 240_000).unwrap();
        let schema = AnswerSchema::raw(None).unwrap();
        let table = client.raw_values(uuid, range, 0, &schema).await.unwrap();
        assert_eq!(table.num_rows(), 240_000);
        server.stop().await.unwrap();
    }
}
