//! The client: what its clones share, and what each of them has of its own.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::{
    error::Error,
    method::Method,
    session::{
        ClientState,
        deadline::{Deadline, TimeLimits},
        server::Server,
        trace::Trace,
    },
    stats::{Counted, Counters, Kind, Stats},
};

/// A connection to a server; cheap to clone, all clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) state: Arc<ClientState>,
    pub(crate) server: Arc<Server>,
    pub(crate) time_limits: Arc<TimeLimits>,
    /// When the call that this clone is for must have ended.
    pub(crate) deadline: Option<Deadline>,
    /// What that call takes along for whoever traces it.
    pub(crate) trace: Option<Arc<Trace>>,
}

impl Client {
    /// Most calls in flight at once.
    pub fn concurrency_limit(&self) -> usize {
        self.state.concurrency_limit()
    }

    /// Changes how many calls may be in flight at once, at once, also for calls that wait.
    pub fn set_concurrency_limit(&self, limit: usize) -> Result<(), Error> {
        self.state.set_concurrency_limit(limit)
    }

    /// Most bytes of answers that are here and not yet handed over.
    pub fn memory_limit(&self) -> u64 {
        self.state.memory_limit()
    }

    /// Changes that at once, also for reads under way.
    pub fn set_memory_limit(&self, limit: u64) -> Result<(), Error> {
        self.state.set_memory_limit(limit)
    }

    /// The servers this client talks to, as `host:port`, separated by commas.
    pub fn endpoint(&self) -> String {
        self.state.config.endpoint_names()
    }

    /// Whether an API key travels to another machine in clear text.
    pub fn exposes_key(&self) -> bool {
        self.state.config.exposes_key()
    }

    /// Whether the client was closed.
    pub fn is_closed(&self) -> bool {
        self.state.is_closed()
    }

    /// Closes the client: calls in flight fail, and so does every later one. Closing twice is
    /// fine.
    pub fn close(&self) {
        self.state.close();
    }

    // --- time limits -----------------------------------------------------------------------------

    /// How long an answer, or the next part of one, may take; `None` for any time.
    pub fn timeout(&self) -> Option<Duration> {
        self.time_limits.silence.get()
    }

    /// Changes that for calls that begin from now on.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.time_limits.silence.set(timeout);
    }

    /// How long a whole call may take, with everything that is repeated; `None` for any time.
    pub fn deadline(&self) -> Option<Duration> {
        self.time_limits.call.get()
    }

    /// Changes that for calls that begin from now on.
    pub fn set_deadline(&self, deadline: Option<Duration>) {
        self.time_limits.call.set(deadline);
    }

    /// The same client with time limits of its own, at first the same.
    #[must_use]
    pub fn with_own_time_limits(&self) -> Self {
        let limits = TimeLimits::default();
        limits.silence.set(self.timeout());
        limits.call.set(self.deadline());
        Self {
            time_limits: limits.into(),
            ..self.clone()
        }
    }

    /// The client as one call uses it: the time for that runs from now on.
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

    /// What comes of `work`, unless the time for the call is over first.
    pub(crate) async fn in_time<T>(
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

    // --- what is counted and traced --------------------------------------------------------------

    /// What the client, and every clone of it, has done so far.
    pub fn stats(&self) -> Stats {
        self.state.stats()
    }

    /// Begins a call of a kind.
    pub(crate) fn begin(&self, kind: Kind) -> Counted {
        Counted::begin(self.counters(), kind)
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.state.counters
    }

    /// The client whose calls are traced.
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
