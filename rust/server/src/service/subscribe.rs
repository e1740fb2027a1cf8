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
use super::answers::{Answers, place};
use super::half_close::{Asked, HalfClose};
use super::request::uuid;
use crate::arrow::{Layout, encode_points};
use crate::budget::Hold;
use crate::caller::Caller;
use crate::owner::Owner;
use crate::status::Refusal;

type Answer = Result<v5::SubscriptionResp, Status>;

/// Answers made ahead of a reader.
const AHEAD: usize = 2;
/// An insert counts as so many points more than it has: small ones take room as well.
const PER_INSERT: usize = 16;

/// What a subscriber wants that others do not, by the words of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// To be answered with an empty table once a stream is heard of.
    announce: bool,
    half_close: Option<Asked>,
}

impl Wishes {
    /// Words with commas between.
    const HEADER: &str = "pingthings-subscription";

    pub(super) fn of(headers: &MetadataMap) -> Result<Self, Refusal> {
        let mut wishes = Self::default();
        for header in headers.get_all(Self::HEADER) {
            for word in header.to_str().unwrap_or("?").split(',') {
                match word.trim() {
                    "announce" => wishes.announce = true,
                    "stay" => wishes.half_close = Some(Asked::Stay),
                    "end" => wishes.half_close = Some(Asked::End),
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
        Ok(wishes)
    }
}

/// What waits for a subscriber.
struct Queue {
    inserts: mpsc::UnboundedSender<(Uuid, Arc<Points>)>,
    hold: Arc<Hold>,
    /// Points that wait, inserts included.
    waiting: AtomicUsize,
    most: usize,
    has_lagged: AtomicBool,
}

fn weight(points: &Points) -> usize {
    points.len() + PER_INSERT
}

/// What so many points take in memory.
fn bytes(weight: usize) -> usize {
    weight * size_of::<RawPoint>()
}

impl Watcher for Queue {
    fn inserted(&self, uuid: Uuid, points: &Arc<Points>) {
        if self.has_lagged.load(Ordering::Relaxed) {
            return;
        }
        let weight = weight(points);
        let before = self.waiting.fetch_add(weight, Ordering::Relaxed);
        // A single insert is never too much: nothing waits before it.
        if before > 0 && before + weight > self.most || self.hold.take(bytes(weight)).is_err() {
            self.has_lagged.store(true, Ordering::Relaxed);
        }
        // What is sent last wakes a reader that has caught up meanwhile and finds it lagged.
        let _ = self.inserts.send((uuid, Arc::clone(points)));
    }
}

/// The streams a subscriber hears of; it hears of none once this is dropped.
struct Heard {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    queue: Arc<Queue>,
    streams: HashMap<Uuid, u64>,
}

impl Heard {
    /// Adds or removes streams, on a thread that may wait for the catalog; gives those added.
    async fn update(mut self, update: SubscriptionUpdate) -> Result<(Self, Vec<Uuid>), Refusal> {
        let turn = self.shared.gate.enter(&self.owner.calls).await?;
        spawn_blocking(move || {
            let _turn = turn;
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

impl Drop for Heard {
    fn drop(&mut self) {
        for (uuid, number) in self.streams.drain() {
            self.shared.engine.unwatch(uuid, number);
        }
        let open = &self.shared.metrics.subscriptions;
        open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Pushes points until the subscriber goes away, lags, closes its side, or has none of its streams
/// left and will add no more.
pub(super) fn subscribe(
    shared: Arc<Shared>,
    caller: Caller,
    wishes: Result<Wishes, Refusal>,
    updates: Streaming<SubscriptionUpdate>,
) -> Answers<v5::SubscriptionResp> {
    let place = match place(&shared, &caller) {
        Ok(place) => place,
        Err(refused) => return refused,
    };
    let (answers, reader) = mpsc::channel(AHEAD);
    shared.metrics.subscriptions.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(async move {
        let (inserts, waiting) = mpsc::unbounded_channel();
        let queue = Arc::new(Queue {
            inserts,
            hold: caller.answer,
            waiting: AtomicUsize::new(0),
            most: shared.limits.points_per_subscriber,
            has_lagged: AtomicBool::new(false),
        });
        let heard = Heard {
            shared: Arc::clone(&shared),
            owner: caller.owner,
            queue,
            streams: HashMap::new(),
        };
        let last = match push(heard, wishes, updates, waiting, &answers).await {
            Ok(None) => return,
            Ok(Some(status)) => Err(status),
            Err(refusal) => Ok(shared.refuse(refusal)),
        };
        // If this fails, nobody is left to tell.
        let _ = answers.send(last).await;
    });
    Answers::new(reader, Some(place))
}

/// Ends with what the subscriber is told last, if anything.
async fn push(
    mut heard: Heard,
    wishes: Result<Wishes, Refusal>,
    mut updates: Streaming<SubscriptionUpdate>,
    mut waiting: mpsc::UnboundedReceiver<(Uuid, Arc<Points>)>,
    answers: &mpsc::Sender<Answer>,
) -> Result<Option<Status>, Refusal> {
    let wishes = wishes?;
    let mut stopping = heard.shared.stopping.clone();
    let layout = Layout::points(&[])?;
    let mut half_close = HalfClose::new(wishes.half_close);
    let mut wants_more = true;
    while wants_more || !heard.streams.is_empty() {
        tokio::select! {
            // What the subscriber said before points came is heard before they are pushed.
            biased;
            () = answers.closed() => return Ok(None),
            () = async { let _ = stopping.wait_for(|stops| *stops).await; } => {
                return Ok(Some(Status::unavailable("the server is stopping")));
            }
            update = updates.message(), if wants_more => match update {
                Ok(Some(update)) => {
                    let added;
                    (heard, added) = heard.update(update).await?;
                    half_close.updated(Instant::now());
                    for uuid in added.into_iter().filter(|_| wishes.announce) {
                        let none = Points::default();
                        if answers.send(answer(&layout, uuid, none)?).await.is_err() {
                            return Ok(None);
                        }
                    }
                }
                Ok(None) if half_close.ends(Instant::now()) => {
                    // What was inserted until now is pushed still.
                    for _ in 0..waiting.len() {
                        let Ok(insert) = waiting.try_recv() else { break };
                        if pass_on(&heard, answers, &layout, insert).await?.is_none() {
                            break;
                        }
                    }
                    return Ok(None);
                }
                Ok(None) => wants_more = false,
                // It went away, or sent what is no update.
                Err(status) => return Ok(Some(status)),
            },
            Some(insert) = waiting.recv() => {
                if pass_on(&heard, answers, &layout, insert).await?.is_none() {
                    return Ok(None);
                }
                half_close.pushed();
            }
        }
    }
    Ok(None)
}

/// Pushes an insert that waited; `None` if nobody reads.
async fn pass_on(
    heard: &Heard,
    answers: &mpsc::Sender<Answer>,
    layout: &Layout,
    (uuid, points): (Uuid, Arc<Points>),
) -> Result<Option<()>, Refusal> {
    if heard.queue.has_lagged.load(Ordering::Relaxed) {
        return Err(lagged(heard.queue.most));
    }
    // One that was removed meanwhile may still have waited.
    if heard.streams.contains_key(&uuid)
        && send(heard, answers, layout, uuid, &points).await?.is_none()
    {
        return Ok(None);
    }
    let weight = weight(&points);
    heard.queue.waiting.fetch_sub(weight, Ordering::Relaxed);
    heard.queue.hold.give(bytes(weight));
    Ok(Some(()))
}

/// Sends the points of an insert in messages of the usual length; `None` if nobody reads.
async fn send(
    heard: &Heard,
    answers: &mpsc::Sender<Answer>,
    layout: &Layout,
    uuid: Uuid,
    points: &Points,
) -> Result<Option<()>, Refusal> {
    let rows = layout.rows(heard.shared.limits.rows_per_message)?;
    for (times, values) in points.times.chunks(rows).zip(points.values.chunks(rows)) {
        let part = Points {
            times: times.to_vec(),
            values: values.to_vec(),
        };
        if answers.send(answer(layout, uuid, part)?).await.is_err() {
            return Ok(None);
        }
        if heard.queue.has_lagged.load(Ordering::Relaxed) {
            return Err(lagged(heard.queue.most));
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

fn lagged(most: usize) -> Refusal {
    Refusal::new(
        Code::ResourceDepleted,
        format!(
            "the subscriber reads slower than points come in, more than {most} wait: subscribe \
             again, and read what is missing"
        ),
    )
}

#[cfg(test)]
mod tests {
    use pingthings_storage::{Engine, NewStream, Options, SystemClock};

    use super::*;
    use crate::Config;

    /// A subscriber of a server with so many streams.
    fn heard(streams: &[Uuid]) -> Heard {
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
        let (working, _idle) = mpsc::channel(1);
        let (_stop, stopping) = tokio::sync::watch::channel(false);
        let limits = Config::default().limits;
        let caller = Caller::of_nobody(&limits);
        let shared = Shared::new(
            Arc::new(engine),
            limits,
            true,
            Arc::default(),
            stopping,
            working,
        );
        let queue = Queue {
            inserts: mpsc::unbounded_channel().0,
            hold: caller.answer,
            waiting: AtomicUsize::new(0),
            most: 100,
            has_lagged: AtomicBool::new(false),
        };
        Heard {
            shared: Arc::new(shared),
            owner: caller.owner,
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

    /// The engine holds the queue once for each stream that is watched for it.
    fn watched(queue: &Arc<Queue>) -> usize {
        Arc::strong_count(queue) - 2
    }

    #[tokio::test]
    async fn the_engine_tells_nobody_of_a_stream_that_was_removed() {
        let streams: Vec<Uuid> = (0..3).map(|_| Uuid::new_v4()).collect();
        let heard = heard(&streams);
        let queue = Arc::clone(&heard.queue);
        let (heard, added) = heard.update(update(Op::AddUuids, &streams)).await.unwrap();
        assert_eq!(added, streams);
        // Twice is once.
        let (heard, added) = heard.update(update(Op::AddUuids, &streams)).await.unwrap();
        assert_eq!((added.len(), watched(&queue)), (0, 3));
        let removal = update(Op::RemoveUuids, &streams[..2]);
        let (heard, _) = heard.update(removal.clone()).await.unwrap();
        assert_eq!(watched(&queue), 1);
        let (heard, _) = heard.update(removal).await.unwrap();
        assert_eq!((heard.streams.len(), watched(&queue)), (1, 1));
    }

    #[tokio::test]
    async fn the_engine_tells_nobody_once_a_subscription_has_ended() {
        let streams: Vec<Uuid> = (0..3).map(|_| Uuid::new_v4()).collect();
        let heard = heard(&streams);
        let (queue, shared) = (Arc::clone(&heard.queue), Arc::clone(&heard.shared));
        let open = || shared.metrics.subscriptions.load(Ordering::Relaxed);
        let before = open();
        let (heard, _) = heard.update(update(Op::AddUuids, &streams)).await.unwrap();
        assert_eq!(watched(&queue), 3);
        drop(heard);
        // Nobody but this test.
        assert_eq!((Arc::strong_count(&queue), open()), (1, before - 1));
    }

    #[tokio::test]
    async fn the_engine_tells_nobody_after_an_update_that_failed_half_way() {
        let mut streams = vec![Uuid::new_v4()];
        let heard = heard(&streams);
        let queue = Arc::clone(&heard.queue);
        streams.push(Uuid::nil());
        let failed = heard.update(update(Op::AddUuids, &streams)).await;
        assert_eq!(failed.err().unwrap().code, Code::NoSuchStream);
        assert_eq!(Arc::strong_count(&queue), 1);
    }

    #[test]
    fn what_waits_is_counted_and_one_insert_is_never_too_much() {
        let heard = heard(&[]);
        let queue = &heard.queue;
        let insert = |count: usize| {
            let points = Points {
                times: (0_i64..).take(count).collect(),
                values: vec![0.0; count],
            };
            queue.inserted(Uuid::nil(), &Arc::new(points));
        };
        insert(1_000);
        assert!(!queue.has_lagged.load(Ordering::Relaxed));
        assert_eq!(queue.waiting.load(Ordering::Relaxed), 1_000 + PER_INSERT);
        assert_eq!(heard.owner.held(), bytes(1_000 + PER_INSERT));
        insert(1);
        assert!(queue.has_lagged.load(Ordering::Relaxed));
    }
}
