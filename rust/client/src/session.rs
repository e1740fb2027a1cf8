//! The state that all calls of a client share, and the part of it that is created again after a
//! fork.

pub(crate) mod call;
pub(crate) mod capabilities;
pub(crate) mod client;
pub(crate) mod concurrency_limit;
pub(crate) mod fanout;
pub(crate) mod pending_writes;
pub(crate) mod retry;
pub(crate) mod time_limits;
pub(crate) mod trace;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use arc_swap::ArcSwapOption;

use crate::{
    answer::budget::Budget,
    config::Config,
    error::{Error, ErrorKind},
    fork::epoch,
    session::{concurrency_limit::ConcurrencyLimit, pending_writes::PendingWrites},
    stats::{Counters, Stats},
    transport::{
        pool::{Pool, Routes},
        socket_state::Interrupt,
    },
};

/// The smallest memory limit.
const MIN_MEMORY: u64 = 16 << 20;

/// The fraction of the memory limit that servers may fill through the receive windows of HTTP/2,
/// before anything reads it.
const WINDOW_DIVISOR: u64 = 8;

/// The memory for answers. The receive windows take one fraction. Another one is kept for tables
/// that were just handed to the caller and are not read yet.
const fn answer_memory(memory: u64) -> u64 {
    memory - 2 * (memory / WINDOW_DIVISOR)
}

/// The state that belongs to the runtime on which it was created.
#[derive(Debug)]
pub(crate) struct Session {
    epoch: u64,
    pub(crate) pool: Arc<Pool>,
    pub(crate) limit: ConcurrencyLimit,
    pub(crate) budget: Arc<Budget>,
    pub(crate) interrupt: Arc<Interrupt>,
    pub(crate) pending_writes: Arc<PendingWrites>,
}

impl Session {
    /// Whether it was created by a parent process, before a fork.
    fn is_from_parent(&self) -> bool {
        self.epoch != epoch()
    }
}

/// The state that all clones of a client share.
#[derive(Debug)]
pub(crate) struct ClientState {
    pub(crate) config: Config,
    routes: Arc<Routes>,
    session: ArcSwapOption<Session>,
    concurrency_limit: AtomicUsize,
    memory_limit: AtomicU64,
    closed: AtomicBool,
    pub(crate) counters: Arc<Counters>,
}

impl ClientState {
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        check_limit(config.concurrency_limit)?;
        check_memory(config.memory_limit)?;
        if config.require_tls && config.exposes_key() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "the API key would go to `{}` in clear text, and TLS is required: use port 4411 \
                     or an https:// endpoint",
                    config.endpoint_names()
                ),
            ));
        }
        let counters = Arc::default();
        Ok(Self {
            routes: Arc::new(Routes::new(&config, &counters)?),
            session: ArcSwapOption::empty(),
            concurrency_limit: AtomicUsize::new(config.concurrency_limit),
            memory_limit: AtomicU64::new(config.memory_limit),
            closed: AtomicBool::new(false),
            counters,
            config,
        })
    }

    /// The session of this process, which is created when it is first used. Must be called on the
    /// runtime.
    pub(crate) fn session(&self) -> Result<Arc<Session>, Error> {
        if let Some(session) = self.current_session() {
            return Ok(session);
        }
        if self.is_closed() {
            return Err(Error::closed());
        }
        let fresh = Arc::new(self.open());
        let seen = self.session.load();
        let from_parent = seen.as_ref().filter(|session| session.is_from_parent());
        if seen.is_some() && from_parent.is_none() {
            // Another call has created the session first; use that one.
            return self.session();
        }
        let previous = self
            .session
            .compare_and_swap(&*seen, Some(Arc::clone(&fresh)));
        let replaced = match (&*previous, &*seen) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        if !replaced {
            return self.session();
        }
        if seen.is_some() {
            self.counters.reset();
        }
        leak_if_from_parent(seen.clone());
        if self.is_closed() {
            self.close();
            return Err(Error::closed());
        }
        Ok(fresh)
    }

    fn open(&self) -> Session {
        let memory = self.memory_limit();
        let interrupt = Arc::default();
        Session {
            epoch: epoch(),
            pool: Arc::new(Pool::new(
                Arc::clone(&self.routes),
                self.config.channels,
                memory / WINDOW_DIVISOR,
                Arc::clone(&interrupt),
            )),
            limit: ConcurrencyLimit::new(self.concurrency_limit()),
            budget: Arc::new(Budget::new(
                answer_memory(memory),
                memory,
                Arc::clone(&self.counters),
            )),
            interrupt,
            pending_writes: Arc::new(PendingWrites::new()),
        }
    }

    /// The statistics of this process.
    pub(crate) fn stats(&self) -> Stats {
        let session = self.session.load();
        if session
            .as_ref()
            .is_some_and(|session| session.is_from_parent())
        {
            return Counters::default().stats();
        }
        self.counters.stats()
    }

    pub(crate) fn endpoints(&self) -> usize {
        self.routes.len()
    }

    pub(crate) fn concurrency_limit(&self) -> usize {
        self.concurrency_limit.load(Ordering::SeqCst)
    }

    pub(crate) fn set_concurrency_limit(&self, limit: usize) -> Result<(), Error> {
        check_limit(limit)?;
        self.concurrency_limit.store(limit, Ordering::SeqCst);
        if let Some(session) = self.current_session() {
            session.limit.resize(limit);
        }
        Ok(())
    }

    pub(crate) fn memory_limit(&self) -> u64 {
        self.memory_limit.load(Ordering::SeqCst)
    }

    pub(crate) fn set_memory_limit(&self, limit: u64) -> Result<(), Error> {
        check_memory(limit)?;
        self.memory_limit.store(limit, Ordering::SeqCst);
        if let Some(session) = self.current_session() {
            session.budget.resize(answer_memory(limit), limit);
        }
        Ok(())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Ends calls in flight with an error and closes the connections.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(session) = self.current_session() {
            session.limit.close();
            session.interrupt.close();
        }
        leak_if_from_parent(self.session.swap(None));
    }

    /// The session of this process, if it has been created.
    fn current_session(&self) -> Option<Arc<Session>> {
        let session = self.session.load();
        session
            .as_ref()
            .filter(|session| !session.is_from_parent())
            .map(Arc::clone)
    }
}

impl Drop for ClientState {
    fn drop(&mut self) {
        leak_if_from_parent(self.session.swap(None));
    }
}

/// Leaks a session of the parent process. Dropping its connections would wake threads that do not
/// exist in the child.
fn leak_if_from_parent(session: Option<Arc<Session>>) {
    if let Some(session) = session
        && session.is_from_parent()
    {
        std::mem::forget(session);
    }
}

fn check_limit(limit: usize) -> Result<(), Error> {
    if (1..=tokio::sync::Semaphore::MAX_PERMITS).contains(&limit) {
        Ok(())
    } else {
        Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("a concurrency limit of {limit}: it must be a whole number of at least 1"),
        ))
    }
}

fn check_memory(limit: u64) -> Result<(), Error> {
    if limit >= MIN_MEMORY {
        Ok(())
    } else {
        Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("a memory limit of {limit} bytes: it must be at least {MIN_MEMORY}"),
        ))
    }
}
