//! The connection: channels, the key, and what must be rebuilt after a fork.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

use crate::{
    config::Config,
    error::{Error, ErrorKind},
    limit::Limit,
};

/// Bytes a server may send ahead on one stream and on one connection. Large and fixed: an adaptive
/// window starts small and costs round trips on every large read.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 32 << 20;

/// A peer that answers no ping for this long is gone. Pings go out only while a call is in flight.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Counts the forks this process is the child of.
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// Tells every client of this process that it now lives in the child of a fork.
///
/// Channels belong to threads that did not come along, so each client opens new ones at its next
/// call. To be called in the child, before any other call.
pub fn forked() {
    EPOCH.fetch_add(1, Ordering::SeqCst);
}

/// Everything that belongs to the runtime it was made on.
#[derive(Debug)]
pub(crate) struct Session {
    epoch: u64,
    channels: Vec<Channel>,
    next: AtomicUsize,
    pub(crate) limit: Limit,
    pub(crate) closing: watch::Sender<bool>,
}

impl Session {
    /// Whether it was made before a fork that this process is the child of.
    fn is_foreign(&self) -> bool {
        self.epoch != EPOCH.load(Ordering::SeqCst)
    }

    pub(crate) fn channel(&self) -> Channel {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.channels.len();
        self.channels[turn].clone()
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) config: Config,
    target: tonic::transport::Endpoint,
    session: ArcSwapOption<Session>,
    concurrency_limit: AtomicUsize,
    /// How long an answer may take, in nanoseconds; 0 for any time.
    patience_ns: AtomicU64,
    closed: AtomicBool,
}

impl Connection {
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        check_limit(config.concurrency_limit)?;
        if config.require_tls && config.exposes_key() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "the API key would go to `{}` in clear text, and TLS is required: use port 4411 \
                     or an https:// endpoint",
                    config.endpoint
                ),
            ));
        }
        let target = target(&config)?;
        Ok(Self {
            target,
            session: ArcSwapOption::empty(),
            concurrency_limit: AtomicUsize::new(config.concurrency_limit),
            patience_ns: AtomicU64::new(0),
            closed: AtomicBool::new(false),
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
        let foreign = seen.as_ref().filter(|session| session.is_foreign());
        if seen.is_some() && foreign.is_none() {
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
        leak_if_foreign(seen.clone());
        if self.is_closed() {
            self.close();
            return Err(Error::closed());
        }
        Ok(fresh)
    }

    fn open(&self) -> Session {
        let channels = (0..self.config.channels.max(1))
            .map(|_| self.target.connect_lazy())
            .collect();
        Session {
            epoch: EPOCH.load(Ordering::SeqCst),
            channels,
            next: AtomicUsize::new(0),
            limit: Limit::new(self.concurrency_limit()),
            closing: watch::Sender::new(false),
        }
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

    /// How long an answer, or the next part of one, may take.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match self.patience_ns.load(Ordering::Relaxed) {
            0 => None,
            nanoseconds => Some(Duration::from_nanos(nanoseconds)),
        }
    }

    pub(crate) fn set_patience(&self, patience: Option<Duration>) {
        let nanoseconds = patience.map_or(0, |patience| {
            u64::try_from(patience.as_nanos())
                .unwrap_or(u64::MAX)
                .max(1)
        });
        self.patience_ns.store(nanoseconds, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Ends calls in flight with an error and lets the channels go.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(session) = self.own_session() {
            session.limit.close();
            session.closing.send_replace(true);
        }
        leak_if_foreign(self.session.swap(None));
    }

    /// The session, unless there is none or it is one of the parent's before a fork.
    fn own_session(&self) -> Option<Arc<Session>> {
        let session = self.session.load();
        session
            .as_ref()
            .filter(|session| !session.is_foreign())
            .map(Arc::clone)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        leak_if_foreign(self.session.swap(None));
    }
}

/// Channels of the parent wake threads that do not exist in the child when they are dropped.
fn leak_if_foreign(session: Option<Arc<Session>>) {
    if let Some(session) = session
        && session.is_foreign()
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

fn target(config: &Config) -> Result<tonic::transport::Endpoint, Error> {
    let invalid = |error: tonic::transport::Error| {
        Error::new(
            ErrorKind::InvalidArgument,
            format!("endpoint `{}` cannot be used: {error}", config.endpoint),
        )
        .with_source(error)
    };
    let mut target = tonic::transport::Endpoint::from_shared(config.endpoint.uri())
        .map_err(invalid)?
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(false)
        .user_agent(concat!("pingthings/", env!("CARGO_PKG_VERSION")))
        .map_err(invalid)?;
    if config.endpoint.is_tls() {
        target = target.tls_config(tls(config)?).map_err(|error| {
            Error::new(
                ErrorKind::Connect,
                format!("TLS cannot be set up for `{}`: {error}", config.endpoint),
            )
            .with_source(error)
        })?;
    }
    Ok(target)
}

/// A given bundle replaces the system's roots; without one the system's roots count, and where it
/// has none (a container without certificates) those that ship with this library.
fn tls(config: &Config) -> Result<ClientTlsConfig, Error> {
    let tls = ClientTlsConfig::new().assume_http2(true);
    if let Some(bundle) = &config.ca_bundle {
        if !bundle.windows(10).any(|w| w == b"-----BEGIN") {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "the CA bundle holds no PEM certificate: give a file with `-----BEGIN CERTIFICATE-----`",
            ));
        }
        return Ok(tls.ca_certificate(Certificate::from_pem(bundle)));
    }
    let native = rustls_native_certs::load_native_certs();
    if native.certs.is_empty() {
        Ok(tls.with_webpki_roots())
    } else {
        Ok(tls.with_native_roots())
    }
}
