//! Points pushed to subscribers as they are inserted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pingthings_proto::v5api::{self as v5, SubscriptionUpdate, SubscriptionUpdateOp as Op};
use pingthings_storage::Watcher;
use pingthings_types::{Code, Points};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::Shared;
use super::answers::{Answers, place};
use super::request::uuid;
use crate::arrow::{Layout, encode_points};
use crate::status::Refusal;

type Answer = Result<v5::SubscriptionResp, Status>;

/// Answers made ahead of a reader.
const AHEAD: usize = 2;
/// An insert counts as so many points more than it has: small ones take room as well.
const PER_INSERT: usize = 16;

/// What waits for a subscriber.
struct Queue {
    inserts: mpsc::UnboundedSender<(Uuid, Arc<Points>)>,
    /// Points that wait, inserts included.
    waiting: AtomicUsize,
    most: usize,
    has_lagged: AtomicBool,
}

fn weight(points: &Points) -> usize {
    points.len() + PER_INSERT
}

impl Watcher for Queue {
    fn inserted(&self, uuid: Uuid, points: &Arc<Points>) {
        if self.has_lagged.load(Ordering::Relaxed) {
            return;
        }
        let weight = weight(points);
        let before = self.waiting.fetch_add(weight, Ordering::Relaxed);
        // A single insert is never too much: nothing waits before it.
        if before > 0 && before + weight > self.most {
            self.has_lagged.store(true, Ordering::Relaxed);
        }
        // What is sent last wakes a reader that has caught up meanwhile and finds it lagged.
        let _ = self.inserts.send((uuid, Arc::clone(points)));
    }
}

/// The streams a subscriber hears of; it hears of none once this is dropped.
struct Heard {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    streams: HashMap<Uuid, u64>,
}

impl Heard {
    /// Adds or removes streams, on a thread that may wait for the catalog; gives those added.
    async fn update(mut self, update: SubscriptionUpdate) -> Result<(Self, Vec<Uuid>), Refusal> {
        let turn = self.shared.gate.enter().await?;
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

/// Answers each stream that is added with no points, so that the subscriber knows from when on it
/// hears of it, then pushes points until the subscriber goes away, lags, or wants no stream any more.
pub(super) fn subscribe(
    shared: Arc<Shared>,
    updates: Streaming<SubscriptionUpdate>,
) -> Answers<v5::SubscriptionResp> {
    let place = match place(&shared) {
        Ok(place) => place,
        Err(refused) => return refused,
    };
    let (answers, reader) = mpsc::channel(AHEAD);
    shared.metrics.subscriptions.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(async move {
        let (inserts, waiting) = mpsc::unbounded_channel();
        let queue = Arc::new(Queue {
            inserts,
            waiting: AtomicUsize::new(0),
            most: shared.limits.points_per_subscriber,
            has_lagged: AtomicBool::new(false),
        });
        let heard = Heard {
            shared: Arc::clone(&shared),
            queue,
            streams: HashMap::new(),
        };
        let last = match push(heard, updates, waiting, &answers).await {
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
    mut updates: Streaming<SubscriptionUpdate>,
    mut waiting: mpsc::UnboundedReceiver<(Uuid, Arc<Points>)>,
    answers: &mpsc::Sender<Answer>,
) -> Result<Option<Status>, Refusal> {
    let mut stopping = heard.shared.stopping.clone();
    let layout = Layout::points(&[])?;
    let mut wants_more = true;
    while wants_more || !heard.streams.is_empty() {
        tokio::select! {
            () = answers.closed() => return Ok(None),
            () = async { let _ = stopping.wait_for(|stops| *stops).await; } => {
                return Ok(Some(Status::unavailable("the server is stopping")));
            }
            update = updates.message(), if wants_more => match update {
                Ok(Some(update)) => {
                    let added;
                    (heard, added) = heard.update(update).await?;
                    for uuid in added {
                        let none = Points::default();
                        if answers.send(answer(&layout, uuid, none)?).await.is_err() {
                            return Ok(None);
                        }
                    }
                }
                Ok(None) => wants_more = false,
                // It went away, or sent what is no update.
                Err(status) => return Ok(Some(status)),
            },
            Some((uuid, points)) = waiting.recv() => {
                if heard.queue.has_lagged.load(Ordering::Relaxed) {
                    return Err(lagged(heard.queue.most));
                }
                // One that was removed meanwhile may still have waited.
                if heard.streams.contains_key(&uuid)
                    && send(&heard, answers, &layout, uuid, &points).await?.is_none()
                {
                    return Ok(None);
                }
                heard.queue.waiting.fetch_sub(weight(&points), Ordering::Relaxed);
            }
        }
    }
    Ok(None)
}

/// Sends the points of an insert in messages of the usual length; `None` if nobody reads.
async fn send(
    heard: &Heard,
    answers: &mpsc::Sender<Answer>,
    layout: &Layout,
    uuid: Uuid,
    points: &Points,
) -> Result<Option<()>, Refusal> {
    let rows = heard.shared.limits.rows_per_message;
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
