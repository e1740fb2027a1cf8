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
        acknowledged::Acknowledged,
        envelope::{Envelope, InsertRpc, TAKEN_BACK},
        loan::Loan,
        points::{Insert, Owner},
    },
    method::{Method, Repeat},
    session::{call::uuid_bytes, client::Client},
    stats::Kind,
};

/// Parts of one insert on their way at the same time, where their order does not matter.
const PARTS_IN_FLIGHT: usize = 4;

/// An insert that is under way.
struct Sending {
    uuid: Uuid,
    policy: MergePolicy,
    /// How many points were acknowledged, and the newest version they were answered with.
    total: Mutex<(usize, Version)>,
    told: Option<Arc<Acknowledged>>,
    loan: Arc<Loan>,
    owner: Option<Owner>,
}

impl Sending {
    fn acknowledged(&self, points: usize, now: Version) {
        let mut total = self.total.lock();
        total.0 += points;
        let version = &mut total.1;
        if (now.major, now.minor) > (version.major, version.minor) {
            *version = now;
        }
        drop(total);
        if let Some(told) = &self.told {
            told.add(points);
        }
    }

    /// Whether whoever is told wants no more to be sent.
    fn is_stopped(&self) -> bool {
        self.told.as_ref().is_some_and(|told| told.is_stopped())
    }
}

impl Client {
    /// Inserts the points and answers once they are durable.
    ///
    /// Many points take several calls, so another reader may see some before the rest. If a call
    /// fails, no further one begins, those under way are waited for, and the error says how many
    /// points were acknowledged. The same happens, without an error, if whoever is told stops it.
    pub async fn insert(&self, insert: Insert, policy: MergePolicy) -> Result<Version, Error> {
        let call = self.begin(Kind::Insert);
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
        // Locals are dropped in reverse: the owner of the memory goes after every part of it.
        let Insert {
            uuid,
            parts,
            told,
            loan,
            owner,
            ..
        } = insert;
        let sending = Sending {
            uuid,
            policy,
            total: Mutex::default(),
            told,
            loan,
            owner,
        };
        let failed = AtomicBool::new(false);
        let mut calls = stream::iter(parts)
            .map(|part| async {
                if failed.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let outcome = self.insert_rows(part.rows, &sending).await;
                failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
                outcome
            })
            .buffered(in_flight);
        let mut failure: Option<Error> = None;
        while let Some(outcome) = calls.next().await {
            match outcome {
                // The one that leaves most in the dark is the one to report.
                Err(error) if failure.is_none() || error.is_ambiguous() => failure = Some(error),
                Ok(()) | Err(_) => {}
            }
        }
        drop(calls);
        let (done, version) = *sending.total.lock();
        let Some(error) = failure else {
            return Ok(version);
        };
        let in_doubt = !policy.is_idempotent() && error.is_ambiguous();
        let error = error.on_stream(uuid).of_insert(FailedInsert {
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

    /// Inserts a part in as many calls as the server wants: one that takes fewer points says so,
    /// and from then on gets fewer.
    async fn insert_rows(&self, part: RecordBatch, sending: &Sending) -> Result<(), Error> {
        let mut from = 0;
        while !sending.is_stopped() {
            let left = part.num_rows() - from;
            let count = left.min(self.server.points_per_call());
            let piece = part.slice(from, count);
            match self.insert_part(piece, sending).await {
                Err(error) if error.is_code(Code::InsertTooBig) && count > 1 => {
                    self.server.lower_points_per_call(count / 2);
                }
                Err(error) => return Err(error),
                Ok(now) => {
                    sending.acknowledged(count, now);
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

    async fn insert_part(&self, part: RecordBatch, sending: &Sending) -> Result<Version, Error> {
        let (uuid, policy) = (sending.uuid, sending.policy);
        let repeat = if policy.is_idempotent() {
            Repeat::Always
        } else {
            Repeat::IfRefused
        };
        if self.server.has_arrow() {
            let request = Envelope {
                request: v5api::ArrowInsertParams {
                    uuid: uuid_bytes(uuid),
                    sync: true,
                    merge_policy: policy.to_wire(),
                    ..Default::default()
                },
                rows: part.clone(),
                loan: Arc::clone(&sending.loan),
                owner: sending.owner.clone(),
            };
            let answer = self
                .unary_as(
                    repeat,
                    Some(uuid),
                    Method::ArrowInsert,
                    request,
                    |rpc: InsertRpc, q| async move { rpc.insert(q).await },
                )
                .await;
            match answer {
                Err(error) if error.is_unimplemented() => self.server.forgo_arrow(),
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
        // They were copied before this is asked.
        if sending.loan.is_over() {
            return Err(Error::new(ErrorKind::Closed, TAKEN_BACK));
        }
        let answer = self
            .unary_as(
                repeat,
                Some(uuid),
                Method::Insert,
                request,
                |mut rpc: Rpc, q| async move { rpc.insert(q).await },
            )
            .await?;
        Ok(version(&answer))
    }

    /// Commits what is buffered, and answers with the version that holds it.
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
