//! Limits on callers, and health checks.

use pingthings_proto::v5api as v5;
use pingthings_server::{Config, Limits};
use pingthings_types::{MAX_TIME, MIN_TIME};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::fixture::{Fixture, answers, connect, ramp};

async fn limited(limits: Limits) -> Fixture {
    Fixture::with(Config {
        limits,
        ..Config::default()
    })
    .await
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_closed_if_all_others_are_authorized() {
    let fixture = limited(Limits {
        connections: 2,
        ..Limits::default()
    })
    .await;
    let mut second = connect(&fixture.server).await;
    for client in [&mut second, &mut fixture.client.clone()] {
        client.info(v5::InfoParams {}).await.unwrap();
    }
    let mut third = TcpStream::connect(fixture.server.addr()).await.unwrap();
    assert_eq!(third.read(&mut [0]).await.unwrap(), 0);
    // A released slot is used again.
    drop(second);
    fixture
        .until(async || {
            let mut next = TcpStream::connect(fixture.server.addr()).await.unwrap();
            next.read(&mut [0]).await.unwrap() > 0
        })
        .await;
}

#[tokio::test]
async fn connections_without_a_valid_key_are_evicted() {
    for is_keyed in [false, true] {
        let fixture = Fixture::with(Config {
            api_keys: is_keyed.then(|| "key".to_owned()).into_iter().collect(),
            limits: Limits {
                connections: 20,
                ..Limits::default()
            },
            ..Config::default()
        })
        .await;
        let with_key = || {
            let mut request = tonic::Request::new(v5::InfoParams {});
            let key = "Bearer key".parse().unwrap();
            request.metadata_mut().insert("authorization", key);
            request
        };
        let mut early = fixture.client.clone();
        early.info(with_key()).await.unwrap();
        let mut idle = Vec::new();
        for count in 0..100 {
            idle.push(TcpStream::connect(fixture.server.addr()).await.unwrap());
            if count % 25 == 0 {
                // A connection with only refused calls stays unauthorized.
                let mut keyless = connect(&fixture.server).await;
                let refused = keyless.info(v5::InfoParams {}).await;
                assert_eq!(refused.is_err(), is_keyed);
            }
        }
        let mut late = connect(&fixture.server).await;
        late.info(with_key()).await.unwrap();
        early.info(with_key()).await.unwrap();
    }
}

#[tokio::test]
async fn open_answers_are_counted_until_they_are_read() {
    let fixture = limited(Limits {
        open_answers: 2,
        ..Limits::default()
    })
    .await;
    let stream = fixture.stream().await;
    // More bytes than the windows of a connection hold, so that unread answers stay open.
    stream.insert(&ramp(0, 1, 500_000)).await.unwrap();
    let everything = v5::RawValuesParams {
        uuid: stream.id(),
        start: MIN_TIME,
        end: MAX_TIME - 1,
        version_major: 0,
    };
    let mut client = fixture.client.clone();
    let mut held = Vec::new();
    for _ in 0..2 {
        let answers = client.raw_values(everything.clone()).await.unwrap();
        held.push(answers.into_inner());
    }
    assert_eq!(stream.raw(0, 10).await, Err(426));
    // Calls with one answer do not count.
    assert_eq!(stream.nearest(0, false).await, Ok((0, 0.0)));
    held.clear();
    // Slots are released one by one. Two reads at once need two of them.
    let read = async || answers(client.clone().raw_values(everything.clone()).await).await;
    fixture.until(async || read().await.is_ok()).await;
}

#[tokio::test]
async fn points_and_refusals_are_counted() {
    let fixture = Fixture::with(Config {
        limits: Limits {
            open_answers: 0,
            ..Limits::default()
        },
        metrics: Some("127.0.0.1:0".parse().unwrap()),
        ..Config::default()
    })
    .await;
    let stream = fixture.stream().await;
    let inserted = async || fixture.metric("pingthings_points_inserted_total").await;
    assert_eq!(inserted().await, 0);
    stream.insert(&ramp(0, 1, 7)).await.unwrap();
    stream.insert(&ramp(0, 1, 5)).await.unwrap();
    assert_eq!(inserted().await, 12);
    // Outcome points are not counted. The refusal is counted by its code.
    assert_eq!(stream.insert(&[(0, f64::NAN)]).await, Err(425));
    assert_eq!(inserted().await, 12);
    let refused = async |code: u32| {
        let name = format!("pingthings_refusals_total{{code=\"{code}\"}}");
        fixture.metric(&name).await
    };
    assert_eq!(refused(425).await, 1);
    // The fixture makes each read twice: as messages and as Arrow.
    assert_eq!(stream.raw(0, 9).await, Err(426));
    assert_eq!(refused(426).await, 2);
}

#[tokio::test]
async fn precise_windows_have_a_limit() {
    let (fixture, stream) = Fixture::with_stream().await;
    let most = i64::try_from(Limits::default().windows).unwrap();
    assert_eq!(stream.windows(0, most + 1, 1).await, Err(413));
    let mut client = fixture.client.clone();
    let params = v5::WindowsParams {
        uuid: stream.id(),
        start: 0,
        end: most,
        version_major: 0,
        width: 1,
        depth: 0,
    };
    let mut answers = client.windows(params).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!(first.stat, None);
}

#[tokio::test]
async fn health_checks_need_no_key() {
    let fixture = Fixture::with(Config {
        api_keys: vec!["key".to_owned()],
        ..Config::default()
    })
    .await;
    let mut health = HealthClient::new(fixture.channel().await);
    let request = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    let found = health.check(request("")).await.unwrap().into_inner();
    assert_eq!(found.status(), ServingStatus::Serving);
    let unknown = health.check(request("nobody")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let mut watched = health.watch(request("")).await.unwrap().into_inner();
    let first = watched.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    let stopping = tokio::spawn(fixture.server.stop());
    let last = watched.message().await.unwrap().unwrap();
    assert_eq!(last.status(), ServingStatus::NotServing);
    assert!(watched.message().await.unwrap().is_none());
    drop((watched, health, fixture.client));
    stopping.await.unwrap().unwrap();
}
