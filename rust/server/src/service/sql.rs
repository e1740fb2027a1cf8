//! SQL statements over the catalog.
//!
//! Statements have their own permits, so that they never take those of reads and writes. A
//! statement has its permit until its last row is read, so the number of permits limits the memory
//! of all statements. One account gets three quarters of them.

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
use super::answers::{Answers, take_slot};
use crate::account::Account;
use crate::caller::Caller;
use crate::status::Refusal;

/// The maximum number of messages prepared ahead of the reader. The statement keeps its snapshot of
/// the catalog until its last row is prepared; with an engine in memory, writers wait for that.
const MESSAGES_AHEAD: usize = 8;
/// The target length of a message. A longer row gets its own message.
const TARGET_MESSAGE_BYTES: usize = 1 << 20;

type Reply = Result<v5::SqlQueryResponse, Status>;

/// Runs a statement and streams its rows.
///
/// The statement reads one snapshot of the catalog on its own thread. It ends if its rows are not
/// read within the time limit, or if the client disconnects.
pub(super) fn sql_query(
    shared: Arc<Shared>,
    caller: &Caller,
    params: v5::SqlQueryParams,
) -> Answers<v5::SqlQueryResponse> {
    let slot = match take_slot(&shared, caller) {
        Ok(slot) => slot,
        Err(refused) => return refused,
    };
    let (answers, reader) = mpsc::channel(1);
    let account = Arc::clone(&caller.account);
    tokio::spawn(async move {
        if let Err(refusal) = answer(&shared, &account, params, &answers).await {
            // This fails only if the client has disconnected.
            let _ = answers.send(Ok(shared.refuse(refusal))).await;
        }
    });
    Answers::new(reader, Some(slot))
}

async fn answer(
    shared: &Arc<Shared>,
    account: &Account,
    params: v5::SqlQueryParams,
    answers: &Sender<Reply>,
) -> Result<(), Refusal> {
    check_size(&params.query, &params.params)?;
    let waiting = GaugeGuard::new(&shared.metrics.statements_waiting);
    let permit = tokio::select! {
        permit = shared.statement_permits.acquire(&account.statements) => permit?,
        () = answers.closed() => return Ok(()),
    };
    drop(waiting);
    let _running = GaugeGuard::new(&shared.metrics.statements);
    let time = Duration::from_secs(shared.limits.sql_seconds);
    let deadline = Instant::now() + time;
    let (sender, rows) = mpsc::channel(MESSAGES_AHEAD);
    let cancel = Cancel::default();
    let statement = spawn_blocking({
        let (shared, cancel) = (Arc::clone(shared), cancel.clone());
        move || run(&shared, &params, &cancel, deadline, &sender)
    });
    let forwarded = forward(rows, answers, deadline).await;
    // If the statement still runs, its rows are not needed any more.
    cancel.cancel();
    let end = statement.await?;
    drop(permit);
    match forwarded {
        ForwardEnd::Complete => end,
        ForwardEnd::TimedOut => Err(timeout_refusal(time)),
        ForwardEnd::Disconnected => Ok(()),
    }
}

/// Increments a gauge until it is dropped.
struct GaugeGuard<'a>(&'a AtomicI64);

impl<'a> GaugeGuard<'a> {
    fn new(gauge: &'a AtomicI64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How forwarding of rows ended.
enum ForwardEnd {
    /// All rows were sent.
    Complete,
    /// The client did not read them in time.
    TimedOut,
    /// The client has disconnected.
    Disconnected,
}

/// Forwards rows to the client. Drops the rows prepared ahead when it returns.
async fn forward(
    mut rows: Receiver<Vec<Bytes>>,
    answers: &Sender<Reply>,
    deadline: Instant,
) -> ForwardEnd {
    loop {
        let rows = tokio::select! {
            rows = rows.recv() => rows,
            () = answers.closed() => return ForwardEnd::Disconnected,
        };
        let Some(sql_query_row) = rows else {
            return ForwardEnd::Complete;
        };
        let message = v5::SqlQueryResponse {
            stat: None,
            sql_query_row,
        };
        match timeout_at(deadline, answers.send(Ok(message))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return ForwardEnd::Disconnected,
            Err(_) => return ForwardEnd::TimedOut,
        }
    }
}

fn timeout_refusal(time: Duration) -> Refusal {
    Refusal::new(
        Code::BadSqlValue,
        format!(
            "the rows were not taken within {} s: read faster, or use `limit`",
            time.as_secs()
        ),
    )
}

/// Collects rows into messages and sends them.
struct Batches<'a> {
    rows: Vec<Bytes>,
    bytes: usize,
    sender: &'a Sender<Vec<Bytes>>,
    deadline: Instant,
    has_timed_out: bool,
}

impl Batches<'_> {
    fn push(&mut self, row: String) -> ControlFlow<()> {
        // A long row gets its own message.
        if self.bytes + row.len() > TARGET_MESSAGE_BYTES {
            self.send()?;
        }
        self.bytes += row.len();
        self.rows.push(row.into());
        ControlFlow::Continue(())
    }

    /// Sends the collected rows. Waits for the reader until the deadline.
    fn send(&mut self) -> ControlFlow<()> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return ControlFlow::Continue(());
        }
        let sending = timeout_at(self.deadline, self.sender.send(rows));
        match Handle::current().block_on(sending) {
            Ok(Ok(())) => ControlFlow::Continue(()),
            // The client has disconnected.
            Ok(Err(_)) => ControlFlow::Break(()),
            Err(_) => {
                self.has_timed_out = true;
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
    sender: &Sender<Vec<Bytes>>,
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
        sender,
        deadline,
        has_timed_out: false,
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
    // Rows before a failure are still sent.
    if !batches.has_timed_out {
        let _ = batches.send();
    }
    if batches.has_timed_out {
        return Err(timeout_refusal(time));
    }
    Ok(end?)
}
