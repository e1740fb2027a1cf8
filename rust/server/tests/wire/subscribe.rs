//! Points pushed as they are inserted.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampNanosecondType};
use bytes::Bytes;
use pingthings_proto::v5api::{self as v5, SubscriptionUpdateOp as Op};
use pingthings_server::{Config, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};
use uuid::Uuid;

use crate::fixture::{Fixture, Stream, bytes, ramp, table};

struct Subscription {
    updates: mpsc::Sender<v5::SubscriptionUpdate>,
    answers: Streaming<v5::SubscriptionResp>,
}

type PushedTable = (Uuid, Vec<(i64, f64)>);

impl Subscription {
    /// A subscription that announces added streams.
    async fn open(fixture: &Fixture) -> Self {
        Self::with(fixture, "announce").await
    }

    /// A subscription with these words in its header, if any.
    async fn with(fixture: &Fixture, words: &str) -> Self {
        let (updates, sent) = mpsc::channel(8);
        let mut request = Request::new(ReceiverStream::new(sent));
        if !words.is_empty() {
            let headers = request.metadata_mut();
            headers.insert("pingthings-subscription", words.parse().unwrap());
        }
        let answers = fixture.client.clone().subscribe(request).await;
        Self {
            updates,
            answers: answers.unwrap().into_inner(),
        }
    }

    async fn update(&self, op: Op, uuid: Vec<Bytes>) {
        let op = op.into();
        let update = v5::SubscriptionUpdate { op, uuid };
        self.updates.send(update).await.unwrap();
    }

    /// Adds a stream and waits until it is announced.
    async fn add(&mut self, stream: &Stream) {
        self.update(Op::AddUuids, vec![stream.id()]).await;
        assert_eq!(self.next().await, Ok((stream.uuid, vec![])));
    }

    /// Adds a new stream. When it is announced, earlier points have been pushed.
    async fn add_another(&mut self, fixture: &Fixture) {
        let another = fixture.stream().await;
        self.add(&another).await;
    }

    async fn next(&mut self) -> Result<PushedTable, u32> {
        let answer = self.answers.message().await.unwrap().unwrap();
        if let Some(stat) = answer.stat {
            assert!(self.answers.message().await.unwrap().is_none());
            return Err(stat.code);
        }
        let table = table(std::iter::once(&answer.arrow_bytes));
        let times = table.column(0).as_primitive::<TimestampNanosecondType>();
        let values = table.column(1).as_primitive::<Float64Type>();
        let points = times
            .values()
            .iter()
            .copied()
            .zip(values.values().iter().copied());
        Ok((Uuid::from_slice(&answer.uuid).unwrap(), points.collect()))
    }
}

#[tokio::test]
async fn points_are_pushed_as_they_are_inserted() {
    let fixture = Fixture::open().await;
    let (a, b) = (fixture.stream().await, fixture.stream().await);
    a.insert(&[(1, 1.0)]).await.unwrap();
    let mut subscription = Subscription::open(&fixture).await;
    subscription.add(&a).await;
    a.insert(&[(3, 3.0), (2, 2.0)]).await.unwrap();
    b.insert(&[(4, 4.0)]).await.unwrap();
    let expected = (a.uuid, vec![(2, 2.0), (3, 3.0)]);
    assert_eq!(subscription.next().await, Ok(expected));
    subscription.add(&b).await;
    b.insert(&[(5, 5.0)]).await.unwrap();
    assert_eq!(subscription.next().await, Ok((b.uuid, vec![(5, 5.0)])));
    // A removed stream is not pushed. Adding it again announces it again.
    subscription.update(Op::RemoveUuids, vec![a.id()]).await;
    subscription.add(&a).await;
    a.insert(&[(6, 6.0)]).await.unwrap();
    assert_eq!(subscription.next().await, Ok((a.uuid, vec![(6, 6.0)])));
}

#[tokio::test]
async fn an_unknown_stream_ends_the_subscription() {
    let fixture = Fixture::open().await;
    for (uuid, code) in [(bytes(Uuid::nil()), 404), (Bytes::from_static(b"x"), 438)] {
        let mut subscription = Subscription::open(&fixture).await;
        subscription.update(Op::AddUuids, vec![uuid]).await;
        assert_eq!(subscription.next().await, Err(code));
    }
}

/// Inserts points one by one until one is pushed.
async fn insert_until_pushed(subscription: &mut Subscription, stream: &Stream) -> PushedTable {
    let insert = async {
        for time in 0.. {
            stream.insert(&[(time, 0.0)]).await.unwrap();
        }
    };
    tokio::select! {
        () = insert => unreachable!(),
        pushed = subscription.next() => pushed.unwrap(),
    }
}

/// Published consumers take the first value of every table.
#[tokio::test]
async fn tables_are_empty_only_on_request() {
    let fixture = Fixture::open().await;
    let stream = fixture.stream().await;
    let mut subscription = Subscription::with(&fixture, "").await;
    let update = subscription.update(Op::AddUuids, vec![stream.id()]);
    update.await;
    let (uuid, points) = insert_until_pushed(&mut subscription, &stream).await;
    assert_eq!((uuid, points.len()), (stream.uuid, 1));
    stream.insert(&[]).await.unwrap();
    stream.insert(&[(-1, 7.0)]).await.unwrap();
    loop {
        let (_, points) = subscription.next().await.unwrap();
        assert_eq!(points.len(), 1);
        if points == [(-1, 7.0)] {
            break;
        }
    }
}

#[tokio::test]
async fn closing_after_points_ends_the_subscription() {
    let fixture = Fixture::open().await;
    let stream = fixture.stream().await;
    let mut subscription = Subscription::open(&fixture).await;
    subscription.add(&stream).await;
    stream.insert(&[(1, 1.0)]).await.unwrap();
    let pushed = (stream.uuid, vec![(1, 1.0)]);
    assert_eq!(subscription.next().await, Ok(pushed));
    // Points acknowledged before are still pushed: far more than the HTTP/2 windows hold.
    for _ in 0..20 {
        stream.insert(&ramp(0, 1, 30_000)).await.unwrap();
    }
    let Subscription {
        updates,
        mut answers,
    } = subscription;
    drop(updates);
    let mut count = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.stat, None);
        count += 1;
    }
    assert_eq!(count, 20);
}

/// `grpcurl` behaves like this, and so do calls with one request.
#[tokio::test]
async fn one_update_and_an_immediate_close_continue() {
    let fixture = Fixture::open().await;
    let stream = fixture.stream().await;
    let update = v5::SubscriptionUpdate {
        op: Op::AddUuids.into(),
        uuid: vec![stream.id()],
    };
    let one = tokio_stream::once(update);
    let answers = fixture.client.clone().subscribe(one).await;
    let mut subscription = Subscription {
        updates: mpsc::channel(1).0,
        answers: answers.unwrap().into_inner(),
    };
    for _ in 0..3 {
        let (uuid, points) = insert_until_pushed(&mut subscription, &stream).await;
        assert_eq!((uuid, points.len()), (stream.uuid, 1));
    }
}

#[tokio::test]
async fn a_subscriber_can_choose_whether_closing_ends_it() {
    let fixture = Fixture::open().await;
    let stream = fixture.stream().await;
    let mut subscription = Subscription::with(&fixture, "announce, stay").await;
    subscription.add(&stream).await;
    stream.insert(&[(1, 1.0)]).await.unwrap();
    subscription.next().await.unwrap();
    let Subscription {
        updates,
        mut answers,
    } = subscription;
    drop(updates);
    stream.insert(&[(2, 1.0)]).await.unwrap();
    assert!(answers.message().await.unwrap().is_some());

    let Subscription {
        updates,
        mut answers,
    } = Subscription::with(&fixture, "end").await;
    drop(updates);
    assert!(answers.message().await.unwrap().is_none());
    let mut subscription = Subscription::with(&fixture, "end,announce").await;
    subscription.add(&stream).await;
    drop(subscription.updates);
    assert!(subscription.answers.message().await.unwrap().is_none());

    let mut subscription = Subscription::with(&fixture, "announce,for ever").await;
    assert_eq!(subscription.next().await, Err(438));
}

#[tokio::test]
async fn a_closed_subscription_ends_with_its_last_stream() {
    let fixture = Fixture::open().await;
    let stream = fixture.stream().await;
    let mut subscription = Subscription::with(&fixture, "announce,stay").await;
    subscription.add(&stream).await;
    subscription
        .update(Op::RemoveUuids, vec![stream.id()])
        .await;
    // While its side is open, streams can be added.
    subscription.add(&stream).await;
    subscription
        .update(Op::RemoveUuids, vec![stream.id()])
        .await;
    drop(subscription.updates);
    assert!(subscription.answers.message().await.unwrap().is_none());
}

#[tokio::test]
async fn open_subscriptions_are_counted() {
    let fixture = Fixture::with(Config {
        metrics: Some("127.0.0.1:0".parse().unwrap()),
        ..Config::default()
    })
    .await;
    let stream = fixture.stream().await;
    let open = async || fixture.metric("pingthings_subscriptions").await;
    assert_eq!(open().await, 0);
    let mut first = Subscription::open(&fixture).await;
    first.add(&stream).await;
    let mut second = Subscription::with(&fixture, "announce,end").await;
    second.add(&stream).await;
    assert_eq!(open().await, 2);
    drop(first);
    fixture.until(async || open().await == 1).await;
    drop(second.updates);
    while second.answers.message().await.unwrap().is_some() {}
    fixture.until(async || open().await == 0).await;
    // A refused subscription is not counted.
    let mut refused = Subscription::open(&fixture).await;
    refused.update(Op::AddUuids, vec![Bytes::new()]).await;
    assert_eq!(refused.next().await, Err(438));
    fixture.until(async || open().await == 0).await;
}

/// An insert of any size is accepted if no other one waits.
#[tokio::test]
async fn one_insert_may_be_larger_than_the_queue() {
    let fixture = Fixture::with(Config {
        limits: Limits {
            points_per_subscriber: 100,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let stream = fixture.stream().await;
    let mut subscription = Subscription::open(&fixture).await;
    subscription.add(&stream).await;
    for start in [0, 1_000_000, 2_000_000] {
        stream.insert(&ramp(start, 1, 1_000)).await.unwrap();
        let (_, points) = subscription.next().await.unwrap();
        assert_eq!(points, ramp(start, 1, 1_000));
        // The insert counts until it is passed on, which ends shortly after it arrives here.
        subscription.add_another(&fixture).await;
    }
}

#[tokio::test]
async fn a_slow_subscriber_is_ended_and_delays_no_insert() {
    let fixture = Fixture::with(Config {
        limits: Limits {
            points_per_subscriber: 50_000,
            rows_per_message: 1_000,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let stream = fixture.stream().await;
    let mut slow = Subscription::open(&fixture).await;
    slow.add(&stream).await;
    let mut quick = Subscription::open(&fixture).await;
    quick.add(&stream).await;
    let points = ramp(0, 1, 10_000);
    // Far more than the HTTP/2 windows and the queue hold.
    let mut heard = 0;
    for _ in 0..100 {
        stream.insert(&points).await.unwrap();
        for _ in 0..10 {
            heard += quick.next().await.unwrap().1.len();
        }
    }
    assert_eq!(heard, 1_000_000);
    let code = loop {
        if let Err(code) = slow.next().await {
            break code;
        }
    };
    assert_eq!(code, 426);
}

/// An insert may take many messages. The end must not wait until all of them are read.
#[tokio::test]
async fn an_overflow_ends_the_subscription_within_an_insert() {
    let fixture = Fixture::with(Config {
        limits: Limits {
            points_per_subscriber: 1_000,
            rows_per_message: 1_000,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let stream = fixture.stream().await;
    let mut subscription = Subscription::open(&fixture).await;
    subscription.add(&stream).await;
    stream.insert(&ramp(0, 1, 1_000_000)).await.unwrap();
    stream.insert(&ramp(0, 1, 1_000)).await.unwrap();
    let mut heard = 0;
    let code = loop {
        match subscription.next().await {
            Ok((_, points)) => heard += points.len(),
            Err(code) => break code,
        }
    };
    assert_eq!(code, 426);
    assert!(heard < 1_000_000, "{heard}");
}

/// The number of open subscriptions in the metrics.
async fn open_subscriptions(fixture: &Fixture) -> Option<u32> {
    let mut page = TcpStream::connect(fixture.server.metrics_addr().unwrap())
        .await
        .unwrap();
    let question = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    page.write_all(question).await.unwrap();
    let mut text = String::new();
    page.read_to_string(&mut text).await.unwrap();
    let mut counts = text
        .lines()
        .filter_map(|line| line.strip_prefix("pingthings_subscriptions "));
    counts.next()?.parse().ok()
}

#[tokio::test]
async fn every_end_of_a_subscription_is_counted() {
    let fixture = Fixture::with(Config {
        metrics: Some("127.0.0.1:0".parse().unwrap()),
        limits: Limits {
            open_answers: 4,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let stream = fixture.stream().await;
    // More than may be open at once, so that a slot that is not released makes the test fail.
    for _ in 0..3 {
        let mut dropped = Subscription::open(&fixture).await;
        dropped.add(&stream).await;
        let mut emptied = Subscription::open(&fixture).await;
        emptied.add(&stream).await;
        let mut wrong = Subscription::open(&fixture).await;
        wrong.update(Op::AddUuids, vec![bytes(Uuid::nil())]).await;
        assert_eq!(wrong.next().await, Err(404));
        fixture
            .until(async || open_subscriptions(&fixture).await == Some(2))
            .await;
        drop(dropped);
        emptied.update(Op::RemoveUuids, vec![stream.id()]).await;
        drop(emptied.updates);
        assert!(emptied.answers.message().await.unwrap().is_none());
        fixture
            .until(async || open_subscriptions(&fixture).await == Some(0))
            .await;
    }
}

#[tokio::test]
async fn a_large_insert_reaches_a_subscriber_without_waiting_inserts() {
    let fixture = Fixture::with(Config {
        limits: Limits {
            points_per_subscriber: 1_000,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let stream = fixture.stream().await;
    let mut subscription = Subscription::open(&fixture).await;
    subscription.add(&stream).await;
    // Points that are read no longer count.
    for part in 0..5 {
        let points = ramp(part * 2_000, 1, 2_000);
        stream.insert(&points).await.unwrap();
        assert_eq!(subscription.next().await, Ok((stream.uuid, points)));
    }
}

#[tokio::test]
async fn stopping_ends_subscriptions() {
    let fixture = Fixture::open().await;
    let stream = fixture.stream().await;
    let mut subscription = Subscription::open(&fixture).await;
    subscription.add(&stream).await;
    let stopping = tokio::spawn(fixture.server.stop());
    let status: Status = subscription.answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    drop((stream, fixture.client, subscription));
    stopping.await.unwrap().unwrap();
}
