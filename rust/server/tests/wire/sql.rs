//! Limits on SQL statements, which do not affect other calls.

use pingthings_proto::v5api as v5;
use pingthings_server::{Config, Limits};
use tonic::{Request, Streaming};

use crate::fixture::{Fixture, Outcome, answers};

async fn limited(limits: Limits) -> Fixture {
    Fixture::with(Config {
        limits,
        ..Config::default()
    })
    .await
}

/// A statement whose rows are not read yet.
async fn begin(fixture: &Fixture, query: &str) -> Streaming<v5::SqlQueryResponse> {
    let params = v5::SqlQueryParams {
        query: query.to_owned(),
        params: Vec::new(),
        ..v5::SqlQueryParams::default()
    };
    let mut client = fixture.client.clone();
    client.sql_query(params).await.unwrap().into_inner()
}

async fn rows(fixture: &Fixture, query: &str) -> Outcome<Vec<String>> {
    let params = v5::SqlQueryParams {
        query: query.to_owned(),
        params: Vec::new(),
        ..v5::SqlQueryParams::default()
    };
    let mut client = fixture.client.clone();
    let messages = answers(client.sql_query(params).await).await?;
    let rows = messages.iter().flat_map(|message| &message.sql_query_row);
    Ok(rows
        .map(|row| String::from_utf8(row.to_vec()).unwrap())
        .collect())
}

/// A cross join that practically never ends.
fn endless() -> String {
    let items = "unnest(string_to_array(repeat('a,', 10000), ','))";
    let lists: Vec<String> = (0..4).map(|own| format!("{items} t{own}")).collect();
    format!("select count(*) from {}", lists.join(", "))
}

#[tokio::test]
async fn statements_take_no_permits_of_other_calls_and_end_with_their_client() {
    let fixture = limited(Limits {
        concurrent_calls: 1,
        sql_statements: 1,
        sql_waiting: 1,
        sql_seconds: 3600,
        ..Limits::default()
    })
    .await;
    let stream = fixture.stream().await;
    let running = begin(&fixture, &endless()).await;
    let waiting = begin(&fixture, &endless()).await;
    // Both statements have arrived once a third one is refused.
    fixture
        .until(async || rows(&fixture, "select 1").await == Err(426))
        .await;
    stream.insert(&[(1, 2.0)]).await.unwrap();
    assert_eq!(stream.nearest(0, false).await, Ok((1, 2.0)));
    // A waiting statement leaves the queue, and a running one releases its permit.
    drop(waiting);
    drop(running);
    fixture
        .until(async || rows(&fixture, "select 1 as one").await == Ok(vec![r#"{"one":1}"#.into()]))
        .await;
    fixture.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_statement_that_needs_too_much_memory_is_refused() {
    let fixture = limited(Limits {
        sql_statements: 1,
        sql_memory: 16 << 20,
        ..Limits::default()
    })
    .await;
    let list: Vec<String> = (0..100)
        .map(|own| format!("repeat('a', {})", 4_000_000 - own))
        .collect();
    let greedy = format!("select {}", list.join(", "));
    assert_eq!(rows(&fixture, &greedy).await, Err(441));
    assert_eq!(
        rows(&fixture, "select 1 as one").await,
        Ok(vec![r#"{"one":1}"#.into()])
    );
}

#[tokio::test]
async fn a_statement_with_unread_rows_releases_its_permit() {
    let fixture = limited(Limits {
        sql_statements: 1,
        sql_seconds: 1,
        ..Limits::default()
    })
    .await;
    // More than the HTTP/2 window of a call and the rows prepared ahead.
    let many =
        "select repeat('a', 1000) as a from unnest(string_to_array(repeat('a,', 60000), ','))";
    let unread = begin(&fixture, many).await;
    fixture
        .until(async || rows(&fixture, "select 1 as one").await.is_ok())
        .await;
    // The answer has the first rows and then the reason for its end.
    assert_eq!(
        answers(Ok(tonic::Response::new(unread))).await.map(|_| ()),
        Err(441)
    );
}

fn with_key(key: &str, query: &str) -> Request<v5::SqlQueryParams> {
    let mut request = Request::new(v5::SqlQueryParams {
        query: query.to_owned(),
        ..v5::SqlQueryParams::default()
    });
    let value = format!("Bearer {key}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

#[tokio::test]
async fn statements_of_one_key_leave_a_permit_to_another_and_are_counted() {
    let fixture = Fixture::with(Config {
        api_keys: vec!["greedy".to_owned(), "modest".to_owned()],
        metrics: Some("127.0.0.1:0".parse().unwrap()),
        limits: Limits {
            sql_statements: 4,
            sql_seconds: 3600,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let mut client = fixture.client.clone();
    let mut endless_ones = Vec::new();
    for _ in 0..6 {
        let statement = client.sql_query(with_key("greedy", &endless())).await;
        endless_ones.push(statement.unwrap());
    }
    let statements = async |of: &str| fixture.metric(&format!("pingthings_sql_{of}")).await;
    fixture
        .until(async || statements("statements ").await == 3)
        .await;
    fixture
        .until(async || statements("statements_waiting ").await == 3)
        .await;
    fixture.until(async || statements("bytes ").await > 0).await;
    let found = client.sql_query(with_key("modest", "select 1 as one"));
    assert_eq!(answers(found.await).await.unwrap().len(), 1);
    let greedy = format!(
        "select repeat('a', 4000000) {}",
        ", repeat('b', 3999999)".repeat(30)
    );
    let found = client.sql_query(with_key("modest", &greedy));
    assert_eq!(answers(found.await).await.map(|_| ()), Err(441));
    assert_eq!(statements("memory_refusals_total ").await, 1);
    drop(endless_ones);
    for gauge in ["statements ", "statements_waiting ", "bytes "] {
        fixture.until(async || statements(gauge).await == 0).await;
    }
}
