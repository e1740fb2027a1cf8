//! Statements over the catalog.
//!
//! They have turns of their own, so that they never take those of reads and writes, and hold one
//! from their first step until their last row is taken: what they may make the server hold is
//! bounded by the number of turns. One owner has three quarters of them, and so of that memory.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pingthings_proto::v5api as v5;
use pingthings_sql::{Cancel, Error, Limits, check_size};
use pingthings_types::Code;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::Shared;
use super::answers::{Answers, place};
use crate::caller::Caller;
use crate::owner::Owner;
use crate::status::Refusal;

/// Messages made ahead of a reader: the statement holds its state of the catalog until its last row
/// is taken from it, and in memory that keeps writers waiting.
const AHEAD: usize = 8;
/// About how many bytes of rows go into one message; a longer row has one of its own.
const MESSAGE_BYTES: usize = 1 << 20;

type Reply = Result<v5::SqlQueryResponse, Status>;

/// Runs a statement and answers its rows as they come.
///
/// The statement sees one state of the catalog from its first row to its last, and holds it on a
/// thread of its own: a reader who takes no rows until the time is up gets no more of them, and one
/// who goes away ends it.
pub(super) fn sql_query(
    shared: Arc<Shared>,
    caller: &Caller,
    params: v5::SqlQueryParams,
) -> Answers<v5::SqlQueryResponse> {
    let place = match place(&shared, caller) {
        Ok(place) => place,
        Err(refused) => return refused,
    };
    let (answers, reader) = mpsc::channel(1);
    let owner = Arc::clone(&caller.owner);
    tokio::spawn(async move {
        if let Err(refusal) = answer(&shared, &owner, params, &answers).await {
            // If this fails, nobody is left to tell.
            let _ = answers.send(Ok(shared.refuse(refusal))).await;
        }
    });
    Answers::new(reader, Some(place))
}

async fn answer(
    shared: &Arc<Shared>,
    owner: &Owner,
    params: v5::SqlQueryParams,
    answers: &Sender<Reply>,
) -> Result<(), Refusal> {
    check_size(&params.query, &params.params)?;
    let waits = Counted::new(&shared.metrics.statements_waiting);
    let turn = tokio::select! {
        turn = shared.statements.enter(&owner.statements) => turn?,
        () = answers.closed() => return Ok(()),
    };
    drop(waits);
    let _runs = Counted::new(&shared.metrics.statements);
    let time = Duration::from_secs(shared.limits.sql_seconds);
    let deadline = Instant::now() + time;
    let (steps, taken) = mpsc::channel(AHEAD);
    let cancel = Cancel::default();
    let statement = spawn_blocking({
        let (shared, cancel) = (Arc::clone(shared), cancel.clone());
        move || run(&shared, &params, &cancel, deadline, &steps)
    });
    let passed = pass(taken, answers, deadline).await;
    // Whether it has ended by itself or is of no use any more.
    cancel.cancel();
    let end = statement.await?;
    drop(turn);
    match passed {
        Passed::All => end,
        Passed::Late => Err(late(time)),
        Passed::Unread => Ok(()),
    }
}

/// One of those that a gauge shows, until it is dropped.
struct Counted<'a>(&'a AtomicI64);

impl<'a> Counted<'a> {
    fn new(gauge: &'a AtomicI64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How passing on rows ended.
enum Passed {
    All,
    /// The reader did not take them in time.
    Late,
    /// There is no reader any more.
    Unread,
}

/// Passes rows on, and drops what was made ahead when it returns.
async fn pass(
    mut taken: Receiver<Vec<Bytes>>,
    answers: &Sender<Reply>,
    deadline: Instant,
) -> Passed {
    loop {
        let rows = tokio::select! {
            rows = taken.recv() => rows,
            () = answers.closed() => return Passed::Unread,
        };
        let Some(sql_query_row) = rows else {
            return Passed::All;
        };
        let message = v5::SqlQueryResponse {
            stat: None,
            sql_query_row,
        };
        match timeout_at(deadline, answers.send(Ok(message))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Passed::Unread,
            Err(_) => return Passed::Late,
        }
    }
}

fn late(time: Duration) -> Refusal {
    Refusal::new(
        Code::BadSqlValue,
        format!(
            "the rows were not taken within {} s: read faster, or use `limit`",
            time.as_secs()
        ),
    )
}

/// Sends rows in messages of some size.
struct Batches<'a> {
    rows: Vec<Bytes>,
    bytes: usize,
    steps: &'a Sender<Vec<Bytes>>,
    deadline: Instant,
    is_late: bool,
}

impl Batches<'_> {
    fn push(&mut self, row: String) -> ControlFlow<()> {
        // A long row comes in a message of its own.
        if self.bytes + row.len() > MESSAGE_BYTES {
            self.send()?;
        }
        self.bytes += row.len();
        self.rows.push(row.into());
        ControlFlow::Continue(())
    }

    /// Waits for the reader, though not for ever.
    fn send(&mut self) -> ControlFlow<()> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return ControlFlow::Continue(());
        }
        let sending = timeout_at(self.deadline, self.steps.send(rows));
        match Handle::current().block_on(sending) {
            Ok(Ok(())) => ControlFlow::Continue(()),
            // Nobody reads any more.
            Ok(Err(_)) => ControlFlow::Break(()),
            Err(_) => {
                self.is_late = true;
                ControlFlow::Break(())
            }
        }
    }
}

fn run(
    shared: &Shared,
    params: &v5::SqlQueryParams,
    cancel: &Cancel,
    deadline: Instant,
    steps: &Sender<Vec<Bytes>>,
) -> Result<(), Refusal> {
    let time = Duration::from_secs(shared.limits.sql_seconds);
    let limits = Limits {
        time,
        rows: shared.limits.sql_rows,
        memory: shared.limits.sql_memory,
        now_ns: shared.clock.now_ns(),
    };
    let mut batches = Batches {
        rows: Vec::new(),
        bytes: 0,
        steps,
        deadline,
        is_late: false,
    };
    let end = shared
        .sql
        .query(&params.query, &params.params, &limits, cancel, |row| {
            batches.push(row)
        });
    if let Err(Error::Memory(_)) = end {
        let refused = &shared.metrics.statements_beyond_memory;
        refused.fetch_add(1, Ordering::Relaxed);
    }
    // What was given before a failure stays given.
    if !batches.is_late {
        let _read_or_not = batches.send();
    }
    if batches.is_late {
        return Err(late(time));
    }
    Ok(end?)
}
