//! Points pushed as they are inserted.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampNanosecondType};
use bytes::Bytes;
use pingthings_proto::v5api::{self as v5, SubscriptionUpdateOp as Op};
use pingthings_server::{Config, Limits};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use crate::fixture::{Fixture, Stream, bytes, ramp, table};

struct Subscription {
    updates: mpsc::Sender<v5::SubscriptionUpdate>,
    answers: Streaming<v5::SubscriptionResp>,
}

type Pushed = (Uuid, Vec<(i64, f64)>);

impl Subscription {
    async fn open(fixture: &Fixture) -> Self {
        let (updates, sent) = mpsc::channel(8);
        let mut client = fixture.client.clone();
        let answers = client.subscribe(ReceiverStream::new(sent)).await;
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

    /// Adds a stream and waits until it is heard.
    async fn add(&mut self, stream: &Stream) {
        self.update(Op::AddUuids, vec![stream.id()]).await;
        assert_eq!(self.next().await, Ok((stream.uuid, vec![])));
    }

    async fn next(&mut self) -> Result<Pushed, u32> {
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
    // Once it is removed nothing more is heard of it; adding it anew is answered anew.
    subscription.update(Op::RemoveUuids, vec![a.id()]).await;
    subscription.add(&a).await;
    a.insert(&[(6, 6.0)]).await.unwrap();
    assert_eq!(subscription.next().await, Ok((a.uuid, vec![(6, 6.0)])));
}

#[tokio::test]
async fn what_cannot_be_subscribed_to_ends_the_subscription() {
    let fixture = Fixture::open().await;
    for (uuid, code) in [(bytes(Uuid::nil()), 404), (Bytes::from_static(b"x"), 438)] {
        let mut subscription = Subscription::open(&fixture).await;
        subscription.update(Op::AddUuids, vec![uuid]).await;
        assert_eq!(subscription.next().await, Err(code));
    }
}

#[tokio::test]
async fn a_subscription_outlives_its_requests_but_not_its_last_stream() {
    let fixture = Fixture::open().await;
    let stream = fixture.stream().await;
    let mut subscription = Subscription::open(&fixture).await;
    subscription.add(&stream).await;
    let Subscription {
        updates,
        mut answers,
    } = subscription;
    drop(updates);
    stream.insert(&[(1, 1.0)]).await.unwrap();
    assert!(answers.message().await.unwrap().is_some());

    let mut subscription = Subscription::open(&fixture).await;
    subscription.add(&stream).await;
    subscription
        .update(Op::RemoveUuids, vec![stream.id()])
        .await;
    drop(subscription.updates);
    assert!(subscription.answers.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_subscriber_that_lags_is_dropped_and_nobody_waits_for_it() {
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
    // Far more than the windows of HTTP/2 and the queue take together.
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
