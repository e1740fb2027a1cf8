//! Points and windows as rows of CSV.

use pingthings_proto::v5api as v5;
use pingthings_proto::v5api::generate_csv_params::QueryType;

use crate::fixture::{Fixture, Outcome, Stream, answers};

async fn rows(
    streams: &[(&Stream, u64, &str)],
    params: v5::GenerateCsvParams,
) -> Outcome<Vec<String>> {
    let mut client = streams[0].0.client.clone();
    let streams = streams
        .iter()
        .map(|(stream, version, label)| v5::StreamCsvConfig {
            version: *version,
            label: (*label).to_owned(),
            uuid: stream.id(),
        })
        .collect();
    let found = client
        .generate_csv(v5::GenerateCsvParams { streams, ..params })
        .await;
    let found = answers(found).await?;
    assert!(found[0].is_header);
    assert!(found[1..].iter().all(|row| !row.is_header));
    let width = found[0].row.len();
    assert!(found.iter().all(|row| row.row.len() == width));
    Ok(found.iter().map(|row| row.row.join(",")).collect())
}

fn query(kind: QueryType, start: i64, end: i64) -> v5::GenerateCsvParams {
    v5::GenerateCsvParams {
        query_type: kind.into(),
        start_time: start,
        end_time: end,
        ..v5::GenerateCsvParams::default()
    }
}

#[tokio::test]
async fn points_of_streams_are_merged_by_time() {
    let fixture = Fixture::open().await;
    let (a, b) = (fixture.stream().await, fixture.stream().await);
    a.insert(&[(1, 0.1), (3, -0.0), (3, 1e-9)]).await.unwrap();
    a.flush().await.unwrap();
    b.insert(&[(2, 2.5), (3, 3.0)]).await.unwrap();
    let found = rows(
        &[(&a, 0, "A"), (&b, 0, "B")],
        query(QueryType::RawQuery, 0, 10),
    )
    .await;
    let time = |digit: u8| format!("{digit},1970-01-01T00:00:00.00000000{digit}Z");
    let expected = [
        "Timestamp (ns),Human-Readable Time (UTC),A,B".to_owned(),
        format!("{},0.1,", time(1)),
        format!("{},,2.5", time(2)),
        format!("{},-0,3", time(3)),
        format!("{},0.000000001,", time(3)),
    ];
    assert_eq!(found.unwrap(), expected);

    let versions = v5::GenerateCsvParams {
        include_versions: true,
        ..query(QueryType::RawQuery, 0, 2)
    };
    let found = rows(&[(&a, 11, "A")], versions).await.unwrap();
    assert!(found[0].ends_with(",A (Version 11)"), "{}", found[0]);
}

#[tokio::test]
async fn windows_have_a_column_for_each_statistic() {
    let fixture = Fixture::open().await;
    let stream = fixture.stream().await;
    stream
        .insert(&[(0, 1.0), (1, 2.0), (9, 4.0)])
        .await
        .unwrap();
    let aligned = v5::GenerateCsvParams {
        depth: 2,
        ..query(QueryType::AlignedWindowsQuery, 0, 12)
    };
    let found = rows(&[(&stream, 0, "x")], aligned).await.unwrap();
    let header = "Timestamp (ns),Human-Readable Time (UTC),x (Min),x (Mean),x (Max),x (Count)";
    assert_eq!(found[0], header);
    assert_eq!(found.len(), 3);
    assert!(found[1].ends_with("Z,1,1.5,2,2"), "{}", found[1]);
    assert!(found[2].starts_with("8,") && found[2].ends_with("Z,4,4,4,1"));
    let precise = v5::GenerateCsvParams {
        window_size: 5,
        ..query(QueryType::WindowsQuery, 0, 10)
    };
    let found = rows(&[(&stream, 0, "x")], precise).await.unwrap();
    assert_eq!(found.len(), 3);
    assert!(found[2].starts_with("5,") && found[2].ends_with("Z,4,4,4,1"));
}

#[tokio::test]
async fn invalid_queries_are_refused() {
    let fixture = Fixture::open().await;
    let stream = fixture.stream().await;
    let streams = [(&stream, 0, "x")];
    let raw = |start, end| query(QueryType::RawQuery, start, end);
    assert_eq!(rows(&streams, raw(2, 1)).await, Err(413));
    assert_eq!(rows(&[(&stream, 99, "x")], raw(0, 1)).await, Err(450));
    let unknown = v5::GenerateCsvParams {
        query_type: 7,
        ..raw(0, 1)
    };
    assert_eq!(rows(&streams, unknown).await, Err(438));
    let no_width = query(QueryType::WindowsQuery, 0, 10);
    assert_eq!(rows(&streams, no_width).await, Err(415));
    stream.obliterate().await.unwrap();
    assert_eq!(rows(&streams, raw(0, 1)).await, Err(404));
}
