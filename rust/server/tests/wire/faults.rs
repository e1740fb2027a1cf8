//! Each injected fault, from the view of a client.

use std::time::{Duration, Instant};

use pingthings_proto::v5api as v5;
use pingthings_server::{Config, Error, Fault, FaultKind, Limits};
use pingthings_types::{MAX_TIME, MIN_TIME};
use tonic::transport::Endpoint;
use tonic::{Code, Request};

use crate::fixture::{Fixture, Stream, connect, ramp};

fn fault(kind: FaultKind, calls: &[&str], times: Option<u64>) -> Fault {
    let calls = calls.iter().map(|call| (*call).to_owned()).collect();
    Fault { kind, calls, times }
}

fn everything(stream: &Stream) -> v5::RawValuesParams {
    v5::RawValuesParams {
        uuid: stream.id(),
        start: MIN_TIME,
        end: MAX_TIME - 1,
        version_major: 0,
    }
}

/// A stream whose points make many messages.
async fn filled() -> (Fixture, Stream) {
    let fixture = Fixture::with(Config {
        limits: Limits {
            rows_per_message: 1_000,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let stream = fixture.stream().await;
    stream.insert(&ramp(0, 1, 500_000)).await.unwrap();
    (fixture, stream)
}

#[tokio::test]
async fn a_fault_can_be_configured_and_names_existing_calls() {
    let kind = FaultKind::Busy;
    let fixture = Fixture::with(Config {
        fault: Some(fault(kind, &["Flush"], Some(1))),
        ..Config::default()
    })
    .await;
    let stream = fixture.stream().await;
    assert_eq!(stream.flush().await, Err(426));
    assert!(stream.flush().await.is_ok());
    let unknown = fixture
        .server
        .set_fault(Some(fault(kind, &["flush"], None)));
    assert!(matches!(unknown, Err(Error::UnknownCall { .. })));
}

#[tokio::test]
async fn busy_answers_426_and_does_nothing() {
    let (fixture, stream) = Fixture::with_stream().await;
    let busy = fault(FaultKind::Busy, &["Insert", "RawValues"], None);
    fixture.server.set_fault(Some(busy)).unwrap();
    assert_eq!(stream.insert(&[(1, 1.0)]).await, Err(426));
    let mut client = fixture.client.clone();
    let answers = client.raw_values(everything(&stream)).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    assert_eq!(answer.stat.unwrap().code, 426);
    fixture.server.set_fault(None).unwrap();
    assert_eq!(stream.all().await, []);
}

#[tokio::test]
async fn a_delayed_call_is_answered_later() {
    let (fixture, stream) = Fixture::with_stream().await;
    let time = Duration::from_millis(100);
    let delay = fault(FaultKind::Delay(time), &["Insert"], Some(1));
    fixture.server.set_fault(Some(delay)).unwrap();
    let since = Instant::now();
    stream.insert(&[(1, 1.0)]).await.unwrap();
    assert!(since.elapsed() >= time);
    assert_eq!(stream.all().await, [(1, 1.0)]);
}

#[tokio::test]
async fn a_call_that_hangs_delays_no_other() {
    let (fixture, stream) = Fixture::with_stream().await;
    let hang = fault(FaultKind::Hang, &["Flush"], None);
    fixture.server.set_fault(Some(hang)).unwrap();
    let mut request = Request::new(v5::FlushParams { uuid: stream.id() });
    request.set_timeout(Duration::from_millis(100));
    let mut client = fixture.client.clone();
    let (flushed, inserted) = tokio::join!(client.flush(request), stream.insert(&[(1, 1.0)]));
    assert!(inserted.is_ok());
    let code = flushed.unwrap_err().code();
    assert!(
        matches!(code, Code::Cancelled | Code::DeadlineExceeded),
        "{code}"
    );
}

#[tokio::test]
async fn a_cut_connection_ends_only_its_answers() {
    let (fixture, stream) = filled().await;
    let mut other = connect(&fixture.server).await;
    let mut unharmed = other
        .raw_values(everything(&stream))
        .await
        .unwrap()
        .into_inner();
    unharmed.message().await.unwrap().unwrap();
    let after = 100_000;
    let cut = fault(FaultKind::Cut { after }, &["RawValues"], Some(1));
    fixture.server.set_fault(Some(cut)).unwrap();
    let mut client = fixture.client.clone();
    let mut answers = client
        .raw_values(everything(&stream))
        .await
        .unwrap()
        .into_inner();
    let mut bytes = 0;
    let broken = loop {
        match answers.message().await {
            Ok(Some(answer)) => bytes += prost::Message::encoded_len(&answer) as u64,
            Ok(None) => panic!("an incomplete answer looks complete"),
            Err(status) => break status,
        }
    };
    assert_ne!(broken.code(), Code::Ok);
    assert!(0 < bytes && bytes <= after, "{bytes}");
    let mut count = 1_000;
    while let Some(answer) = unharmed.message().await.unwrap() {
        count += answer.values.len();
    }
    assert_eq!(count, 500_000);
    // The client reconnects automatically.
    assert_eq!(stream.raw(5, 6).await.unwrap().len(), 1);
}

#[tokio::test]
async fn after_goaway_answers_are_completed_and_new_connections_served() {
    let (fixture, stream) = filled().await;
    let mut client = fixture.client.clone();
    let mut answers = client
        .raw_values(everything(&stream))
        .await
        .unwrap()
        .into_inner();
    answers.message().await.unwrap().unwrap();
    let away = fault(FaultKind::GoAway, &["Flush"], Some(1));
    fixture.server.set_fault(Some(away)).unwrap();
    stream.flush().await.unwrap();
    // The channel reconnects after GOAWAY. Calls may fail until then.
    let mut next = fixture.client.clone();
    fixture
        .until(async || next.info(v5::InfoParams {}).await.is_ok())
        .await;
    let mut count = 1_000;
    while let Some(answer) = answers.message().await.unwrap() {
        count += answer.values.len();
    }
    assert_eq!(count, 500_000);
    drop((client, next, answers, stream, fixture.client));
    fixture.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_limits_the_speed() {
    let (fixture, stream) = Fixture::with_stream().await;
    let bytes_per_second = 1_000_000;
    let slow = fault(
        FaultKind::SlowReader { bytes_per_second },
        &["Info"],
        Some(1),
    );
    fixture.server.set_fault(Some(slow)).unwrap();
    let mut client = fixture.client.clone();
    client.info(v5::InfoParams {}).await.unwrap();
    let since = Instant::now();
    stream.insert(&ramp(0, 1, 10_000)).await.unwrap();
    // 10 000 points have at least 180 kB. Bytes in flight when the fault begins are not delayed.
    assert!(since.elapsed() >= Duration::from_millis(90));
    let mut other = connect(&fixture.server).await;
    other.info(v5::InfoParams {}).await.unwrap();
}

#[tokio::test]
async fn a_restart_closes_connections_and_keeps_the_data() {
    let (fixture, stream) = filled().await;
    let mut client = fixture.client.clone();
    let mut answers = client
        .raw_values(everything(&stream))
        .await
        .unwrap()
        .into_inner();
    answers.message().await.unwrap().unwrap();
    let down = Duration::from_millis(300);
    let restart = fault(FaultKind::Restart { down }, &["Insert"], Some(1));
    fixture.server.set_fault(Some(restart)).unwrap();
    let params = v5::InsertParams {
        uuid: stream.id(),
        values: vec![v5::RawPoint::default()],
        ..v5::InsertParams::default()
    };
    let since = Instant::now();
    fixture.client.clone().insert(params).await.unwrap_err();
    while let Ok(answer) = answers.message().await {
        assert!(answer.is_some(), "an incomplete answer looks complete");
    }
    let address = format!("http://{}", fixture.server.addr());
    let endpoint = Endpoint::from_shared(address).unwrap();
    fixture
        .until(async || endpoint.connect().await.is_ok())
        .await;
    assert!(since.elapsed() >= down);
    assert_eq!(stream.all().await.len(), 500_000);
    drop((client, answers, stream, fixture.client));
    fixture.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_listen_can_be_stopped() {
    let fixture = Fixture::open().await;
    fixture.server.interrupt(Duration::from_hours(1));
    let address = format!("http://{}", fixture.server.addr());
    let endpoint = Endpoint::from_shared(address).unwrap();
    fixture
        .until(async || endpoint.connect().await.is_err())
        .await;
    drop(fixture.client);
    fixture.server.stop().await.unwrap();
}
