//! What all calls of a client share, and what of it must be made anew after a fork.

pub(crate) mod call;
pub(crate) mod client;
pub(crate) mod deadline;
pub(crate) mod fanout;
pub(crate) mod limit;
pub(crate) mod order;
pub(crate) mod retry;
pub(crate) mod server;
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
    session::{limit::Limit, order::Order},
    stats::{Counters, Stats},
    transport::{
        life::Alarm,
        pool::{Pool, Routes},
    },
};

/// The least that can be read with.
const LEAST_MEMORY: u64 = 16 << 20;

/// The part of the memory that servers may fill ahead of the reads.
const SHARE_OF_WINDOWS: u64 = 8;

/// What is left for answers: as much again as for the windows goes to those that were just handed
/// over, and that nobody has looked at yet.
const fn for_answers(memory: u64) -> u64 {
    memory - 2 * (memory / SHARE_OF_WINDOWS)
}

/// Everything that belongs to the runtime it was made on.
#[derive(Debug)]
pub(crate) struct Session {
    epoch: u64,
    pub(crate) pool: Arc<Pool>,
    pub(crate) limit: Limit,
    pub(crate) budget: Arc<Budget>,
    pub(crate) alarm: Arc<Alarm>,
    pub(crate) order: Arc<Order>,
}

impl Session {
    /// Whether it was made before a fork that this process is the child of.
    fn is_of_parent(&self) -> bool {
        self.epoch != epoch()
    }
}

/// What all clones of a client share.
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

    /// The session of this process, made on first use; must be called on the runtime.
    pub(crate) fn session(&self) -> Result<Arc<Session>, Error> {
        if let Some(session) = self.own_session() {
            return Ok(session);
        }
        if self.is_closed() {
            return Err(Error::closed());
        }
        let fresh = Arc::new(self.open());
        let seen = self.session.load();
        let of_parent = seen.as_ref().filter(|session| session.is_of_parent());
        if seen.is_some() && of_parent.is_none() {
            // Another call was quicker; its session is the one.
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
        leak_if_of_parent(seen.clone());
        if self.is_closed() {
            self.close();
            return Err(Error::closed());
        }
        Ok(fresh)
    }

    fn open(&self) -> Session {
        let memory = self.memory_limit();
        let alarm = Arc::default();
        Session {
            epoch: epoch(),
            pool: Arc::new(Pool::new(
                Arc::clone(&self.routes),
                self.config.channels,
                memory / SHARE_OF_WINDOWS,
                Arc::clone(&alarm),
            )),
            limit: Limit::new(self.concurrency_limit()),
            budget: Arc::new(Budget::new(
                for_answers(memory),
                memory,
                Arc::clone(&self.counters),
            )),
            alarm,
            order: Arc::new(Order::new()),
        }
    }

    /// What was done so far, by this process.
    pub(crate) fn stats(&self) -> Stats {
        let session = self.session.load();
        if session
            .as_ref()
            .is_some_and(|session| session.is_of_parent())
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
        if let Some(session) = self.own_session() {
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
        if let Some(session) = self.own_session() {
            session.budget.resize(for_answers(limit), limit);
        }
        Ok(())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Ends calls in flight with an error and lets the connections go.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(session) = self.own_session() {
            session.limit.close();
            session.alarm.close();
        }
        leak_if_of_parent(self.session.swap(None));
    }

    /// The session, unless there is none or it is one of the parent's before a fork.
    fn own_session(&self) -> Option<Arc<Session>> {
        let session = self.session.load();
        session
            .as_ref()
            .filter(|session| !session.is_of_parent())
            .map(Arc::clone)
    }
}

impl Drop for ClientState {
    fn drop(&mut self) {
        leak_if_of_parent(self.session.swap(None));
    }
}

/// Connections of the parent, when they are dropped, wake threads that do not exist in the child.
fn leak_if_of_parent(session: Option<Arc<Session>>) {
    if let Some(session) = session
        && session.is_of_parent()
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
    if limit >= LEAST_MEMORY {
        Ok(())
    } else {
        Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("a memory limit of {limit} bytes: it must be at least {LEAST_MEMORY}"),
        ))
    }
}
