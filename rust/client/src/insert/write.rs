//! Insert and flush.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arrow_array::{
    RecordBatch,
    cast::AsArray,
    types::{Float64Type, TimestampNanosecondType},
};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use pingthings_proto::v5api;
use pingthings_types::{Code, MergePolicy, Version};
use uuid::Uuid;

use crate::{
    answer::rpc::Rpc,
    error::{Error, ErrorKind, FailedInsert},
    insert::{
        arrow_insert::{ArrowInsert, BORROW_ENDED, InsertRpc},
        borrow::MemoryBorrow,
        points::{Insert, Owner},
        progress::InsertProgress,
    },
    method::{Method, RetryPolicy},
    session::{call::uuid_bytes, client::Client},
    stats::CallKind,
};

/// Maximum number of parts of one insert in flight, if their order makes no difference.
const PARTS_IN_FLIGHT: usize = 4;

/// The state of a running insert.
struct InsertState {
    uuid: Uuid,
    policy: MergePolicy,
    /// The number of acknowledged points, and the newest version in the acknowledgements.
    total: Mutex<(usize, Version)>,
    progress: Option<Arc<InsertProgress>>,
    borrow: Arc<MemoryBorrow>,
    owner: Option<Owner>,
}

impl InsertState {
    fn acknowledged(&self, points: usize, now: Version) {
        let mut total = self.total.lock();
        total.0 += points;
        let version = &mut total.1;
        if (now.major, now.minor) > (version.major, version.minor) {
            *version = now;
        }
        drop(total);
        if let Some(progress) = &self.progress {
            progress.add(points);
        }
    }

    /// Whether the caller has stopped the insert.
    fn is_stopped(&self) -> bool {
        self.progress
            .as_ref()
            .is_some_and(|progress| progress.is_stopped())
    }
}

impl Client {
    /// Inserts the points. Returns when they are durable.
    ///
    /// Many points need several calls, so another client may read some of them before the rest. If
    /// a call fails, no further one starts, those in flight are awaited, and the error says how
    /// many points were acknowledged. The same happens, without an error, if the caller stops the
    /// insert through its [`InsertProgress`].
    pub async fn insert(&self, insert: Insert, policy: MergePolicy) -> Result<Version, Error> {
        let call = self.count_call(CallKind::Insert);
        let outcome = self.insert_parts(insert, policy).await;
        call.end(&outcome);
        outcome
    }

    async fn insert_parts(&self, insert: Insert, policy: MergePolicy) -> Result<Version, Error> {
        let in_flight = if insert.is_ordered() {
            PARTS_IN_FLIGHT
        } else {
            1
        };
        let times = insert.time_range();
        let points = insert.points();
        // Locals are dropped in reverse order, so the owner of the memory is dropped after all
        // parts.
        let Insert {
            uuid,
            parts,
            progress,
            borrow,
            owner,
            ..
        } = insert;
        let state = InsertState {
            uuid,
            policy,
            total: Mutex::default(),
            progress,
            borrow,
            owner,
        };
        let failed = AtomicBool::new(false);
        let mut calls = stream::iter(parts)
            .map(|part| async {
                if failed.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let outcome = self.insert_rows(part.rows, &state).await;
                failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
                outcome
            })
            .buffered(in_flight);
        let mut failure: Option<Error> = None;
        while let Some(outcome) = calls.next().await {
            match outcome {
                // If several calls fail, an error that leaves the outcome open is reported rather
                // than others.
                Err(error) if failure.is_none() || error.is_ambiguous() => failure = Some(error),
                Ok(()) | Err(_) => {}
            }
        }
        drop(calls);
        let (done, version) = *state.total.lock();
        let Some(error) = failure else {
            return Ok(version);
        };
        let in_doubt = !policy.is_idempotent() && error.is_ambiguous();
        let error = error.on_stream(uuid).with_insert(FailedInsert {
            in_doubt,
            times,
            version: (done > 0).then_some(version.major),
        });
        Err(match (done, in_doubt) {
            (0, false) => error,
            _ => error.with_context(&format!(
                "{done} of {points} points were acknowledged{}",
                if in_doubt {
                    ", and more may have been stored"
                } else {
                    ""
                }
            )),
        })
    }

    /// Inserts a part in as many calls as the server needs. A server that accepts fewer points
    /// refuses the call, and the following calls have fewer.
    async fn insert_rows(&self, part: RecordBatch, state: &InsertState) -> Result<(), Error> {
        let mut from = 0;
        while !state.is_stopped() {
            let left = part.num_rows() - from;
            let count = left.min(self.capabilities.max_points_per_call());
            let piece = part.slice(from, count);
            match self.insert_part(piece, state).await {
                Err(error) if error.is_code(Code::InsertTooBig) && count > 1 => {
                    self.capabilities.lower_max_points_per_call(count / 2);
                }
                Err(error) => return Err(error),
                Ok(now) => {
                    state.acknowledged(count, now);
                    self.counters().points_inserted.add(count as u64);
                    from += count;
                    if from >= part.num_rows() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    async fn insert_part(&self, part: RecordBatch, state: &InsertState) -> Result<Version, Error> {
        let (uuid, policy) = (state.uuid, state.policy);
        let retry_policy = if policy.is_idempotent() {
            RetryPolicy::Always
        } else {
            RetryPolicy::IfRefused
        };
        if self.capabilities.supports_arrow() {
            let request = ArrowInsert {
                request: v5api::ArrowInsertParams {
                    uuid: uuid_bytes(uuid),
                    sync: true,
                    merge_policy: policy.to_wire(),
                    ..Default::default()
                },
                rows: part.clone(),
                borrow: Arc::clone(&state.borrow),
                owner: state.owner.clone(),
            };
            let answer = self
                .unary_with(
                    retry_policy,
                    Some(uuid),
                    Method::ArrowInsert,
                    request,
                    |rpc: InsertRpc, q| async move { rpc.insert(q).await },
                )
                .await;
            match answer {
                Err(error) if error.is_unimplemented() => self.capabilities.mark_without_arrow(),
                done => return done.map(|answer| version(&answer)),
            }
        }
        let request = v5api::InsertParams {
            uuid: uuid_bytes(uuid),
            sync: true,
            values: points(&part),
            merge_policy: policy.to_wire(),
            rounding: None,
        };
        // The points were copied before this check.
        if state.borrow.is_ended() {
            return Err(Error::new(ErrorKind::Closed, BORROW_ENDED));
        }
        let answer = self
            .unary_with(
                retry_policy,
                Some(uuid),
                Method::Insert,
                request,
                |mut rpc: Rpc, q| async move { rpc.insert(q).await },
            )
            .await?;
        Ok(version(&answer))
    }

    /// Commits the buffer of a stream and returns the new version.
    pub async fn flush(&self, uuid: Uuid) -> Result<Version, Error> {
        let request = v5api::FlushParams {
            uuid: uuid_bytes(uuid),
        };
        let answer: v5api::FlushResponse = self
            .unary(Method::Flush, request, |mut rpc: Rpc, q| async move {
                rpc.flush(q).await
            })
            .await
            .map_err(|error: Error| error.on_stream(uuid))?;
        Ok(Version {
            major: answer.version_major,
            minor: answer.version_minor,
        })
    }
}

const fn version(answer: &v5api::InsertResponse) -> Version {
    Version {
        major: answer.version_major,
        minor: answer.version_minor,
    }
}

fn points(part: &RecordBatch) -> Vec<v5api::RawPoint> {
    let times = part
        .column(0)
        .as_primitive::<TimestampNanosecondType>()
        .values();
    let values = part.column(1).as_primitive::<Float64Type>().values();
    times
        .iter()
        .zip(values)
        .map(|(&time, &value)| v5api::RawPoint { time, value })
        .collect()
}
