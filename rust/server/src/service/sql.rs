//! Statements over the catalog.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use pingthings_proto::v5api as v5;
use pingthings_sql::{Database, Limits};
use pingthings_types::Code;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::answers::Messages;
use crate::status::Refusal;

/// Messages made ahead of a reader: the statement holds its state of the catalog until its last row
/// is taken from it, and in memory that keeps writers waiting.
const AHEAD: usize = 64;
/// About how many bytes of rows go into one message.
const MESSAGE_BYTES: usize = 1 << 20;

/// What the thread of a statement says.
enum Step {
    Rows(Vec<Bytes>),
    End(Result<(), Refusal>),
}

/// Runs a statement and answers its rows as they come.
///
/// The statement sees one state of the catalog from its first row to its last, and holds it on a
/// thread of its own: a reader who takes no rows until the time is up gets no more of them.
#[allow(
    clippy::unnecessary_wraps,
    reason = "the calls of the contract return what this returns"
)]
pub(super) fn sql_query(
    shared: &Shared,
    params: &v5::SqlQueryParams,
) -> Result<Messages<v5::SqlQueryResponse>, Refusal> {
    let time = Duration::from_secs(shared.limits.sql_seconds);
    let limits = Limits {
        time,
        rows: shared.limits.sql_rows,
        now_ns: shared.clock.now_ns(),
    };
    let (steps, mut taken) = mpsc::channel(AHEAD);
    let (database, params) = (std::sync::Arc::clone(&shared.sql), params.clone());
    spawn_blocking(move || {
        let deadline = Instant::now() + time;
        let end = run(&database, &params, &limits, deadline, &steps);
        // If this fails, nobody is left to tell.
        let _ = steps.blocking_send(Step::End(end));
    });
    let mut is_over = false;
    Ok(Box::new(std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        match taken.blocking_recv() {
            Some(Step::Rows(sql_query_row)) => Some(Ok(v5::SqlQueryResponse {
                stat: None,
                sql_query_row,
            })),
            Some(Step::End(end)) => {
                is_over = true;
                end.err().map(Err)
            }
            None => {
                is_over = true;
                Some(Err(Refusal::new(
                    Code::InvariantFailure,
                    "the server failed to run the statement; its log says why",
                )))
            }
        }
    })))
}

/// Sends rows in messages of some size.
struct Batches<'a> {
    rows: Vec<Bytes>,
    bytes: usize,
    steps: &'a Sender<Step>,
    deadline: Instant,
    is_late: bool,
}

impl Batches<'_> {
    fn push(&mut self, row: String) -> ControlFlow<()> {
        // A long row comes in a message of its own.
        if self.bytes > 0 && self.bytes + row.len() > MESSAGE_BYTES {
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
        let sending = timeout_at(self.deadline, self.steps.send(Step::Rows(rows)));
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
    database: &Database,
    params: &v5::SqlQueryParams,
    limits: &Limits,
    deadline: Instant,
    steps: &Sender<Step>,
) -> Result<(), Refusal> {
    let mut batches = Batches {
        rows: Vec::new(),
        bytes: 0,
        steps,
        deadline,
        is_late: false,
    };
    database.query(&params.query, &params.params, limits, |row| {
        batches.push(row)
    })?;
    if !batches.is_late && !batches.rows.is_empty() {
        let _read_or_not = batches.send();
    }
    if batches.is_late {
        return Err(Refusal::new(
            Code::BadSqlValue,
            format!(
                "the rows were not taken within {} s: read faster, or use `limit`",
                limits.time.as_secs()
            ),
        ));
    }
    Ok(())
}
