//! The client: the state that its clones share, and the state of each clone.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::{
    error::Error,
    method::Method,
    session::{
        ClientState,
        capabilities::Capabilities,
        time_limits::{Deadline, TimeLimits},
        trace::Trace,
    },
    stats::{CallGuard, CallKind, Counters, Stats},
};

/// A client of a server. Clones are cheap and share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) state: Arc<ClientState>,
    pub(crate) capabilities: Arc<Capabilities>,
    pub(crate) time_limits: Arc<TimeLimits>,
    /// The deadline of the call that this clone is used for.
    pub(crate) deadline: Option<Deadline>,
    /// The tracing headers of that call.
    pub(crate) trace: Option<Arc<Trace>>,
}

impl Client {
    /// Maximum number of calls in flight.
    pub fn concurrency_limit(&self) -> usize {
        self.state.concurrency_limit()
    }

    /// Changes the maximum number of calls in flight. It applies at once, also to calls that wait.
    pub fn set_concurrency_limit(&self, limit: usize) -> Result<(), Error> {
        self.state.set_concurrency_limit(limit)
    }

    /// Maximum memory for received answers that the caller does not have yet, in bytes.
    pub fn memory_limit(&self) -> u64 {
        self.state.memory_limit()
    }

    /// Changes the memory limit. It applies at once, also to running reads.
    pub fn set_memory_limit(&self, limit: u64) -> Result<(), Error> {
        self.state.set_memory_limit(limit)
    }

    /// The endpoints as `host:port`, separated by commas.
    pub fn endpoint(&self) -> String {
        self.state.config.endpoint_names()
    }

    /// Whether the API key is sent to another machine without TLS.
    pub fn exposes_key(&self) -> bool {
        self.state.config.exposes_key()
    }

    /// Whether the client was closed.
    pub fn is_closed(&self) -> bool {
        self.state.is_closed()
    }

    /// Closes the client. Calls in flight and all later calls fail. Closing it again has no effect.
    pub fn close(&self) {
        self.state.close();
    }

    // --- time limits -----------------------------------------------------------------------------

    /// How long the server may take for an answer or for the next part of one; `None` for no limit.
    pub fn timeout(&self) -> Option<Duration> {
        self.time_limits.timeout.get()
    }

    /// Changes the timeout, for calls that start from now on.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.time_limits.timeout.set(timeout);
    }

    /// How long a whole call may take, including retries; `None` for no limit.
    pub fn deadline(&self) -> Option<Duration> {
        self.time_limits.deadline.get()
    }

    /// Changes the deadline, for calls that start from now on.
    pub fn set_deadline(&self, deadline: Option<Duration>) {
        self.time_limits.deadline.set(deadline);
    }

    /// A clone with its own time limits, which are initially equal.
    #[must_use]
    pub fn with_own_time_limits(&self) -> Self {
        let limits = TimeLimits::default();
        limits.timeout.set(self.timeout());
        limits.deadline.set(self.deadline());
        Self {
            time_limits: limits.into(),
            ..self.clone()
        }
    }

    /// A clone for one call. Its deadline starts now.
    #[must_use]
    pub fn for_call(&self) -> Self {
        let deadline = self.deadline().and_then(|limit| {
            let at = Instant::now().checked_add(limit)?;
            Some(Deadline { at, limit })
        });
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// Awaits `work`. Fails when the deadline of the call has passed.
    pub(crate) async fn within_deadline<T>(
        &self,
        method: Method,
        work: impl Future<Output = T> + Send,
    ) -> Result<T, Error> {
        match self.deadline {
            None => Ok(work.await),
            Some(Deadline { at, limit }) => timeout_at(at, work)
                .await
                .map_err(|_| Error::deadline(method.name(), limit)),
        }
    }

    // --- statistics and tracing ------------------------------------------------------------------

    /// The statistics of this client and all its clones.
    pub fn stats(&self) -> Stats {
        self.state.stats()
    }

    /// Counts a call of this kind.
    pub(crate) fn count_call(&self, kind: CallKind) -> CallGuard {
        CallGuard::begin(self.counters(), kind)
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.state.counters
    }

    /// A clone whose requests carry the headers of this trace.
    #[must_use]
    pub fn traced(&self, trace: Arc<Trace>) -> Self {
        Self {
            trace: Some(trace),
            ..self.clone()
        }
    }

    pub(crate) fn count_retry(&self) {
        self.counters().retries.add(1);
        if let Some(trace) = &self.trace {
            trace.retries.add(1);
        }
    }
}
