//! Points pushed to subscribers as they are inserted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use pingthings_proto::v5api::{self as v5, SubscriptionUpdate, SubscriptionUpdateOp as Op};
use pingthings_storage::Watcher;
use pingthings_types::{Code, Points, RawPoint};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::Shared;
use super::answers::{Answers, take_slot};
use super::half_close::{HalfClose, OnHalfClose};
use super::request::uuid;
use crate::account::Account;
use crate::arrow::{Layout, encode_points};
use crate::budget::Hold;
use crate::caller::Caller;
use crate::status::Refusal;

type Answer = Result<v5::SubscriptionResp, Status>;

/// The maximum number of messages prepared ahead of the reader.
const MESSAGES_AHEAD: usize = 2;
/// Each insert counts as this many points more, because small inserts use memory too.
const POINTS_PER_INSERT: usize = 16;

/// The options of a subscription, which are words of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SubscriptionOptions {
    /// Whether to send an empty table when a stream was added.
    announce: bool,
    half_close: Option<OnHalfClose>,
}

impl SubscriptionOptions {
    /// The header, with words separated by commas.
    const HEADER: &str = "pingthings-subscription";

    pub(super) fn from_headers(headers: &MetadataMap) -> Result<Self, Refusal> {
        let mut options = Self::default();
        for header in headers.get_all(Self::HEADER) {
            for word in header.to_str().unwrap_or("?").split(',') {
                match word.trim() {
                    "announce" => options.announce = true,
                    "stay" => options.half_close = Some(OnHalfClose::Continue),
                    "end" => options.half_close = Some(OnHalfClose::End),
                    _ => {
                        return Err(Refusal::parameter(format!(
                            "the header `{}` has a word that is unknown: give `announce`, `stay` \
                             or `end`",
                            Self::HEADER
                        )));
                    }
                }
            }
        }
        Ok(options)
    }
}

/// The inserts that wait for a subscriber.
struct InsertQueue {
    inserts: mpsc::UnboundedSender<(Uuid, Arc<Points>)>,
    hold: Arc<Hold>,
    /// The number of waiting points, including [`POINTS_PER_INSERT`] for each insert.
    waiting: AtomicUsize,
    max_points: usize,
    has_overflowed: AtomicBool,
}

fn weight(points: &Points) -> usize {
    points.len() + POINTS_PER_INSERT
}

/// The memory of this many points.
fn bytes(weight: usize) -> usize {
    weight * size_of::<RawPoint>()
}

impl Watcher for InsertQueue {
    fn inserted(&self, uuid: Uuid, points: &Arc<Points>) {
        if self.has_overflowed.load(Ordering::Relaxed) {
            return;
        }
        let weight = weight(points);
        let before = self.waiting.fetch_add(weight, Ordering::Relaxed);
        // A single insert is always accepted if no other one waits.
        if before > 0 && before + weight > self.max_points
            || self.hold.reserve(bytes(weight)).is_err()
        {
            self.has_overflowed.store(true, Ordering::Relaxed);
        }
        // After an overflow this insert wakes the reader, which then finds the overflow.
        let _ = self.inserts.send((uuid, Arc::clone(points)));
    }
}

/// A subscription with its streams. Dropping it ends the subscription.
struct Subscription {
    shared: Arc<Shared>,
    account: Arc<Account>,
    queue: Arc<InsertQueue>,
    streams: HashMap<Uuid, u64>,
}

impl Subscription {
    /// Adds or removes streams, and returns the added ones. It reads the catalog on a blocking
    /// thread.
    async fn update(mut self, update: SubscriptionUpdate) -> Result<(Self, Vec<Uuid>), Refusal> {
        let permit = self.shared.permits.acquire(&self.account.calls).await?;
        spawn_blocking(move || {
            let _permit = permit;
            let op = Op::try_from(update.op).map_err(|_| {
                Refusal::parameter(format!("operation {} is unknown: give 0 or 1", update.op))
            })?;
            let mut added = Vec::new();
            for bytes in &update.uuid {
                let uuid = uuid(bytes)?;
                match op {
                    Op::AddUuids if !self.streams.contains_key(&uuid) => {
                        let queue = Arc::clone(&self.queue) as Arc<dyn Watcher>;
                        let number = self.shared.engine.watch(uuid, queue)?;
                        self.streams.insert(uuid, number);
                        added.push(uuid);
                    }
                    Op::AddUuids => {}
                    Op::RemoveUuids => {
                        if let Some(number) = self.streams.remove(&uuid) {
                            self.shared.engine.unwatch(uuid, number);
                        }
                    }
                }
            }
            Ok((self, added))
        })
        .await?
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for (uuid, number) in self.streams.drain() {
            self.shared.engine.unwatch(uuid, number);
        }
        let open = &self.shared.metrics.subscriptions;
        open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Pushes points until the subscription ends.
///
/// It ends if the subscriber disconnects, closes its side or is too slow, or if it has no streams
/// left and can add no more.
pub(super) fn subscribe(
    shared: Arc<Shared>,
    caller: Caller,
    options: Result<SubscriptionOptions, Refusal>,
    updates: Streaming<SubscriptionUpdate>,
) -> Answers<v5::SubscriptionResp> {
    let slot = match take_slot(&shared, &caller) {
        Ok(slot) => slot,
        Err(refused) => return refused,
    };
    let (answers, reader) = mpsc::channel(MESSAGES_AHEAD);
    shared.metrics.subscriptions.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(async move {
        let (inserts, waiting) = mpsc::unbounded_channel();
        let queue = Arc::new(InsertQueue {
            inserts,
            hold: caller.answer,
            waiting: AtomicUsize::new(0),
            max_points: shared.limits.points_per_subscriber,
            has_overflowed: AtomicBool::new(false),
        });
        let subscription = Subscription {
            shared: Arc::clone(&shared),
            account: caller.account,
            queue,
            streams: HashMap::new(),
        };
        let last = match push(subscription, options, updates, waiting, &answers).await {
            Ok(None) => return,
            Ok(Some(status)) => Err(status),
            Err(refusal) => Ok(shared.refuse(refusal)),
        };
        // This fails only if the client has disconnected.
        let _ = answers.send(last).await;
    });
    Answers::new(reader, Some(slot))
}

/// Pushes points until the subscription ends. Returns the last status to send, if any.
async fn push(
    mut subscription: Subscription,
    options: Result<SubscriptionOptions, Refusal>,
    mut updates: Streaming<SubscriptionUpdate>,
    mut waiting: mpsc::UnboundedReceiver<(Uuid, Arc<Points>)>,
    answers: &mpsc::Sender<Answer>,
) -> Result<Option<Status>, Refusal> {
    let options = options?;
    let mut stopping = subscription.shared.stopping.clone();
    let layout = Layout::points(&[])?;
    let mut half_close = HalfClose::new(options.half_close);
    let mut is_open = true;
    while is_open || !subscription.streams.is_empty() {
        tokio::select! {
            // Updates that arrived before points are applied before the points are pushed.
            biased;
            () = answers.closed() => return Ok(None),
            () = async { let _ = stopping.wait_for(|stops| *stops).await; } => {
                return Ok(Some(Status::unavailable("the server is stopping")));
            }
            update = updates.message(), if is_open => match update {
                Ok(Some(update)) => {
                    let added;
                    (subscription, added) = subscription.update(update).await?;
                    half_close.updated(Instant::now());
                    for uuid in added.into_iter().filter(|_| options.announce) {
                        let none = Points::default();
                        if answers.send(answer(&layout, uuid, none)?).await.is_err() {
                            return Ok(None);
                        }
                    }
                }
                Ok(None) if half_close.ends(Instant::now()) => {
                    // Points that were inserted before are still pushed.
                    for _ in 0..waiting.len() {
                        let Ok(insert) = waiting.try_recv() else { break };
                        if forward(&subscription, answers, &layout, insert).await?.is_none() {
                            break;
                        }
                    }
                    return Ok(None);
                }
                Ok(None) => is_open = false,
                // The client has disconnected or sent an invalid update.
                Err(status) => return Ok(Some(status)),
            },
            Some(insert) = waiting.recv() => {
                if forward(&subscription, answers, &layout, insert).await?.is_none() {
                    return Ok(None);
                }
                half_close.pushed();
            }
        }
    }
    Ok(None)
}

/// Pushes a waiting insert. Returns `None` if the client has disconnected.
async fn forward(
    subscription: &Subscription,
    answers: &mpsc::Sender<Answer>,
    layout: &Layout,
    (uuid, points): (Uuid, Arc<Points>),
) -> Result<Option<()>, Refusal> {
    if subscription.queue.has_overflowed.load(Ordering::Relaxed) {
        return Err(overflow(subscription.queue.max_points));
    }
    // The stream may have been removed while the insert waited.
    if subscription.streams.contains_key(&uuid)
        && send(subscription, answers, layout, uuid, &points)
            .await?
            .is_none()
    {
        return Ok(None);
    }
    let weight = weight(&points);
    subscription
        .queue
        .waiting
        .fetch_sub(weight, Ordering::Relaxed);
    subscription.queue.hold.release(bytes(weight));
    Ok(Some(()))
}

/// Sends the points of an insert in messages of the usual length. Returns `None` if the client has
/// disconnected.
async fn send(
    subscription: &Subscription,
    answers: &mpsc::Sender<Answer>,
    layout: &Layout,
    uuid: Uuid,
    points: &Points,
) -> Result<Option<()>, Refusal> {
    let rows = layout.rows(subscription.shared.limits.rows_per_message)?;
    for (times, values) in points.times.chunks(rows).zip(points.values.chunks(rows)) {
        let part = Points {
            times: times.to_vec(),
            values: values.to_vec(),
        };
        if answers.send(answer(layout, uuid, part)?).await.is_err() {
            return Ok(None);
        }
        if subscription.queue.has_overflowed.load(Ordering::Relaxed) {
            return Err(overflow(subscription.queue.max_points));
        }
    }
    Ok(Some(()))
}

fn answer(layout: &Layout, uuid: Uuid, points: Points) -> Result<Answer, Refusal> {
    Ok(Ok(v5::SubscriptionResp {
        stat: None,
        uuid: uuid.into_bytes().to_vec().into(),
        arrow_bytes: encode_points(layout, points)?,
    }))
}

fn overflow(max: usize) -> Refusal {
    Refusal::new(
        Code::ResourceDepleted,
        format!(
            "the subscriber reads slower than points come in, more than {max} wait: subscribe \
             again, and read what is missing"
        ),
    )
}

#[cfg(test)]
mod tests {
    use pingthings_storage::{Engine, NewStream, Options, SystemClock};

    use super::*;
    use crate::Config;

    /// A subscription on a server with these streams.
    fn subscription(streams: &[Uuid]) -> Subscription {
        let engine = Engine::in_memory(Arc::new(SystemClock), Options::default()).unwrap();
        for uuid in streams {
            let tags = [("name".to_owned(), Some(uuid.to_string()))];
            let stream = NewStream {
                uuid: *uuid,
                collection: "tests".to_owned(),
                tags: tags.into(),
                annotations: [].into(),
            };
            engine.create(stream).unwrap();
        }
        let (guard, _idle) = mpsc::channel(1);
        let (_stop, stopping) = tokio::sync::watch::channel(false);
        let limits = Config::default().limits;
        let caller = Caller::for_tests(&limits);
        let shared = Shared::new(
            Arc::new(engine),
            limits,
            true,
            Arc::default(),
            stopping,
            guard,
        );
        let queue = InsertQueue {
            inserts: mpsc::unbounded_channel().0,
            hold: caller.answer,
            waiting: AtomicUsize::new(0),
            max_points: 100,
            has_overflowed: AtomicBool::new(false),
        };
        Subscription {
            shared: Arc::new(shared),
            account: caller.account,
            queue: Arc::new(queue),
            streams: HashMap::new(),
        }
    }

    fn update(op: Op, streams: &[Uuid]) -> SubscriptionUpdate {
        SubscriptionUpdate {
            op: op.into(),
            uuid: streams
                .iter()
                .map(|uuid| uuid.into_bytes().to_vec().into())
                .collect(),
        }
    }

    /// How many streams the engine watches for the queue.
    fn watch_count(queue: &Arc<InsertQueue>) -> usize {
        Arc::strong_count(queue) - 2
    }

    #[tokio::test]
    async fn a_removed_stream_is_not_watched() {
        let streams: Vec<Uuid> = (0..3).map(|_| Uuid::new_v4()).collect();
        let subscription = subscription(&streams);
        let queue = Arc::clone(&subscription.queue);
        let (subscription, added) = subscription
            .update(update(Op::AddUuids, &streams))
            .await
            .unwrap();
        assert_eq!(added, streams);
        // Adding a stream again has no effect.
        let (subscription, added) = subscription
            .update(update(Op::AddUuids, &streams))
            .await
            .unwrap();
        assert_eq!((added.len(), watch_count(&queue)), (0, 3));
        let removal = update(Op::RemoveUuids, &streams[..2]);
        let (subscription, _) = subscription.update(removal.clone()).await.unwrap();
        assert_eq!(watch_count(&queue), 1);
        let (subscription, _) = subscription.update(removal).await.unwrap();
        assert_eq!((subscription.streams.len(), watch_count(&queue)), (1, 1));
    }

    #[tokio::test]
    async fn no_stream_is_watched_after_the_end() {
        let streams: Vec<Uuid> = (0..3).map(|_| Uuid::new_v4()).collect();
        let subscription = subscription(&streams);
        let (queue, shared) = (
            Arc::clone(&subscription.queue),
            Arc::clone(&subscription.shared),
        );
        let open = || shared.metrics.subscriptions.load(Ordering::Relaxed);
        let before = open();
        let (subscription, _) = subscription
            .update(update(Op::AddUuids, &streams))
            .await
            .unwrap();
        assert_eq!(watch_count(&queue), 3);
        drop(subscription);
        // Only this test still has the queue.
        assert_eq!((Arc::strong_count(&queue), open()), (1, before - 1));
    }

    #[tokio::test]
    async fn no_stream_is_watched_after_a_failed_update() {
        let mut streams = vec![Uuid::new_v4()];
        let subscription = subscription(&streams);
        let queue = Arc::clone(&subscription.queue);
        streams.push(Uuid::nil());
        let failed = subscription.update(update(Op::AddUuids, &streams)).await;
        assert_eq!(failed.err().unwrap().code, Code::NoSuchStream);
        assert_eq!(Arc::strong_count(&queue), 1);
    }

    #[test]
    fn waiting_points_are_counted_and_one_insert_is_always_accepted() {
        let subscription = subscription(&[]);
        let queue = &subscription.queue;
        let insert = |count: usize| {
            let points = Points {
                times: (0_i64..).take(count).collect(),
                values: vec![0.0; count],
            };
            queue.inserted(Uuid::nil(), &Arc::new(points));
        };
        insert(1_000);
        assert!(!queue.has_overflowed.load(Ordering::Relaxed));
        assert_eq!(
            queue.waiting.load(Ordering::Relaxed),
            1_000 + POINTS_PER_INSERT
        );
        assert_eq!(
            subscription.account.held(),
            bytes(1_000 + POINTS_PER_INSERT)
        );
        insert(1);
        assert!(queue.has_overflowed.load(Ordering::Relaxed));
    }
}
