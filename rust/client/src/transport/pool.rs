//! The pool of connections: which connection a call uses, and when a connection is replaced.
//!
//! A connection of tonic reconnects only after a call has failed on it, and until then fails every
//! call. Here a connection on which a call failed is replaced at once: the next call, or the retry
//! of the same one, uses another connection. Other calls that run on it may finish.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::{
    config::{self, Config},
    error::{Error, ErrorKind},
    method::ConnectionClass,
    stats::Counters,
    transport::{
        dial::Target,
        socket_state::{Interrupt, SocketState},
        tls::tls,
    },
};

/// Receive windows: the bytes that a server may send before they are read, on one stream and on one
/// connection. They are large and fixed, because an adaptive window starts small and costs round
/// trips on every large read.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 32 << 20;

/// Maximum size of an HTTP/2 frame. The default, a quarter of this, needs twice as many system
/// calls for a large answer. With larger frames, less of an answer stays in the CPU caches.
const FRAME_BYTES: u32 = 64 << 10;

/// The receive windows for answers that iterators read, once there are many of them.
const NARROW_STREAM_WINDOW: u32 = 256 << 10;
const NARROW_CONNECTION_WINDOW: u32 = 16 << 20;

/// Number of iterator connections with large windows.
const WIDE_CONNECTIONS: usize = 8;

/// HTTP/2 pings: a peer that answers no ping within the timeout is gone. Pings are sent only while
/// a call is in flight. They become less frequent after a server has closed a connection because of
/// them; gRPC servers in Go accept one in five minutes.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_PING_INTERVAL: Duration = Duration::from_mins(5);

/// How often a name is resolved again, because its servers may have been replaced.
const LOOK_UP_INTERVAL: Duration = Duration::from_mins(1);

/// Additional time for the TLS handshake, which follows the connection of the socket. The socket
/// has its own limit, which must report first.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Number of cancelled calls after which a connection is replaced. A server may still send data for
/// cancelled calls; the transport treats it as a protocol error once it has forgotten them, and
/// closes the connection after too many errors.
const MAX_CANCELLED: usize = 256;

/// Number of connections for calls that cannot be retried.
const NON_RETRYABLE_CONNECTIONS: usize = 2;

/// One connection, which is opened by its first call.
#[derive(Debug)]
pub(crate) struct Connection {
    channel: Channel,
    /// The index of its endpoint.
    route: usize,
    peer: Arc<ArcSwapOption<SocketAddr>>,
    socket_state: Arc<SocketState>,
    looked_up: Mutex<Instant>,
    is_looking_up: AtomicBool,
    cancelled: AtomicUsize,
    /// Number of unfinished answers that iterators read, and its maximum.
    open_answers: AtomicUsize,
    max_open_answers: usize,
}

/// The use of a connection by one call.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: Arc<Connection>,
    pool: Arc<Pool>,
    class: ConnectionClass,
}

impl Lease {
    pub(crate) fn channel(&self) -> Channel {
        self.connection.channel.clone()
    }

    /// Reports that the call failed on this connection, after the server had sent nothing for
    /// `silence`. No other call uses the connection afterwards.
    pub(crate) fn report_failure(&self, error: &Error, silence: Duration) {
        self.pool.handle_failure(&self.connection, error, silence);
    }

    /// Reports that the call was cancelled.
    pub(crate) fn report_cancellation(&self) {
        if self.connection.cancelled.fetch_add(1, Ordering::Relaxed) == MAX_CANCELLED {
            self.pool.replace(&self.connection);
        }
    }

    /// Waits until the client is closed, or the connection is lost and has had time to report that
    /// to its calls.
    pub(crate) async fn wait_until_lost(&self) {
        self.connection.socket_state.wait_until_lost().await;
    }

    /// The server, as `host:port`.
    pub(crate) fn endpoint(&self) -> &str {
        &self.pool.routes.0[self.connection.route].name
    }

    /// A description of the trusted authorities.
    pub(crate) fn trusted_roots(&self) -> &str {
        &self.pool.routes.0[self.connection.route].trusted
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.class == ConnectionClass::Iterator {
            self.pool.release_iterator(&self.connection);
        }
    }
}

/// The settings of connections to one endpoint.
#[derive(Debug)]
struct EndpointRoute {
    name: String,
    endpoint: Endpoint,
    target: Target,
    trusted: String,
}

impl EndpointRoute {
    fn to(
        endpoint: &config::Endpoint,
        config: &Config,
        counters: &Arc<Counters>,
    ) -> Result<Self, Error> {
        let invalid = |error: tonic::transport::Error| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("endpoint `{endpoint}` cannot be used: {error}"),
            )
            .with_source(error)
        };
        let mut channel = Endpoint::from_shared(endpoint.uri())
            .map_err(invalid)?
            .connect_timeout(config.connect_timeout.saturating_add(HANDSHAKE_TIMEOUT))
            .max_frame_size(FRAME_BYTES)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(false)
            .user_agent(concat!("pingthings/", env!("CARGO_PKG_VERSION")))
            .map_err(invalid)?;
        let mut trusted = String::new();
        if endpoint.is_tls() {
            let (tls, roots) = tls(config)?;
            trusted = roots;
            channel = channel.tls_config(tls).map_err(|error| {
                Error::new(
                    ErrorKind::Connect,
                    format!("TLS cannot be set up for `{endpoint}`: {error}"),
                )
                .with_source(error)
            })?;
        }
        Ok(Self {
            name: endpoint.to_string(),
            endpoint: channel,
            target: Target::to(endpoint, &config.proxies, config.connect_timeout, counters)?,
            trusted,
        })
    }
}

/// The endpoints of a client.
#[derive(Debug)]
pub(crate) struct Routes(Vec<EndpointRoute>);

impl Routes {
    pub(crate) fn new(config: &Config, counters: &Arc<Counters>) -> Result<Self, Error> {
        let routes = config.endpoints.iter();
        let routes: Vec<_> = routes
            .map(|endpoint| EndpointRoute::to(endpoint, config, counters))
            .collect::<Result<_, _>>()?;
        if routes.is_empty() {
            let message = "no endpoint is given: name at least one";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(Self(routes))
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }
}

/// All connections of a client.
#[derive(Debug)]
pub(crate) struct Pool {
    routes: Arc<Routes>,
    /// The index of the endpoint for new connections.
    preferred: AtomicUsize,
    retryable: Vec<ArcSwap<Connection>>,
    non_retryable: Vec<ArcSwap<Connection>>,
    iterators: Mutex<Vec<Arc<Connection>>>,
    next: AtomicUsize,
    /// The interval of pings, in nanoseconds.
    ping_ns: AtomicU64,
    /// The receive window of each shared connection in bytes, before it is clamped.
    window_memory: u64,
    /// Wakes waiting calls when a socket is closed.
    interrupt: Arc<Interrupt>,
}

impl Pool {
    /// Creates the pool without opening a connection. Must be called on the runtime.
    pub(crate) fn new(
        routes: Arc<Routes>,
        count: usize,
        window_memory: u64,
        interrupt: Arc<Interrupt>,
    ) -> Self {
        let count = count.max(1);
        let mut pool = Self {
            routes,
            preferred: AtomicUsize::new(0),
            retryable: Vec::new(),
            non_retryable: Vec::new(),
            iterators: Mutex::default(),
            next: AtomicUsize::new(0),
            ping_ns: AtomicU64::new(nanoseconds(PING_INTERVAL)),
            window_memory: window_memory / u64::try_from(count).unwrap_or(u64::MAX),
            interrupt,
        };
        let connections = |count| {
            let fresh = (0..count).map(|_| ArcSwap::from_pointee(pool.shared_connection()));
            fresh.collect::<Vec<_>>()
        };
        let (retryable, non_retryable) =
            (connections(count), connections(NON_RETRYABLE_CONNECTIONS));
        pool.retryable = retryable;
        pool.non_retryable = non_retryable;
        pool
    }

    /// Takes a connection for a call.
    pub(crate) fn lease(self: &Arc<Self>, class: ConnectionClass) -> Lease {
        let in_turn = |connections: &[ArcSwap<Connection>]| {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % connections.len();
            connections[turn].load_full()
        };
        let connection = match class {
            ConnectionClass::Retryable => in_turn(&self.retryable),
            ConnectionClass::NonRetryable => in_turn(&self.non_retryable),
            ConnectionClass::Iterator => self.iterator_connection(),
        };
        self.refresh_address(&connection);
        Lease {
            connection,
            pool: Arc::clone(self),
            class,
        }
    }

    fn shared_connection(&self) -> Connection {
        let window = u32::try_from(self.window_memory).unwrap_or(u32::MAX);
        let window = window.clamp(1 << 20, CONNECTION_WINDOW);
        self.connection(STREAM_WINDOW.min(window), window, usize::MAX)
    }

    fn connection(
        &self,
        stream_window: u32,
        connection_window: u32,
        max_open_answers: usize,
    ) -> Connection {
        let index = self.preferred.load(Ordering::Relaxed);
        let route = &self.routes.0[index];
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let dialer = route.target.dialer(turn, &self.interrupt);
        let (peer, socket_state) = (dialer.peer(), dialer.socket_state());
        let channel = route
            .endpoint
            .clone()
            .initial_stream_window_size(stream_window)
            .initial_connection_window_size(connection_window)
            .http2_keep_alive_interval(Duration::from_nanos(self.ping_ns.load(Ordering::Relaxed)))
            .connect_with_connector_lazy(dialer);
        Connection {
            channel,
            route: index,
            peer,
            socket_state,
            looked_up: Mutex::new(Instant::now()),
            is_looking_up: AtomicBool::new(false),
            cancelled: AtomicUsize::new(0),
            open_answers: AtomicUsize::new(0),
            max_open_answers,
        }
    }

    // --- iterators -------------------------------------------------------------------------------

    /// A connection with room for one more answer that may stay unread. Its part of the
    /// connection's window is reserved, so that unread answers never block others.
    fn iterator_connection(&self) -> Arc<Connection> {
        let mut connections = self.iterators.lock();
        let has_room = |connection: &&Arc<Connection>| {
            connection.open_answers.load(Ordering::Relaxed) < connection.max_open_answers
        };
        let connection = connections.iter().find(has_room).map(Arc::clone);
        let connection = connection.unwrap_or_else(|| {
            let (stream_window, window) = if connections.len() < WIDE_CONNECTIONS {
                (STREAM_WINDOW, CONNECTION_WINDOW)
            } else {
                (NARROW_STREAM_WINDOW, NARROW_CONNECTION_WINDOW)
            };
            let max_open_answers = usize::try_from(window / stream_window).unwrap_or(1);
            let fresh = Arc::new(self.connection(stream_window, window, max_open_answers));
            connections.push(Arc::clone(&fresh));
            fresh
        });
        connection.open_answers.fetch_add(1, Ordering::Relaxed);
        connection
    }

    fn release_iterator(&self, connection: &Arc<Connection>) {
        let mut connections = self.iterators.lock();
        let left = connection.open_answers.fetch_sub(1, Ordering::Relaxed) - 1;
        // One connection is kept, because another iterator is likely to follow.
        if left == 0 && connections.len() > 1 {
            connections.retain(|other| !Arc::ptr_eq(other, connection));
        }
    }

    // --- replacement -----------------------------------------------------------------------------

    fn handle_failure(&self, connection: &Arc<Connection>, error: &Error, silence: Duration) {
        let interval = self.ping_ns.load(Ordering::Relaxed);
        // A server closes a connection with too many pings without telling the calls why. So a
        // connection that was closed while only pings were sent counts as such a case. A single
        // ping is always accepted.
        if error.is_closed_by_peer() && nanoseconds(silence) >= interval.saturating_mul(2) {
            let longer = interval
                .saturating_mul(2)
                .min(nanoseconds(MAX_PING_INTERVAL));
            self.ping_ns.store(longer, Ordering::Relaxed);
            tracing::debug!(
                interval = ?Duration::from_nanos(longer),
                "the server closed a connection because of pings: they are sent less often"
            );
        }
        if error.needs_other_endpoint() {
            self.leave_endpoint(connection.route);
        }
        self.replace(connection);
    }

    /// Switches to the endpoint after the preferred one.
    pub(crate) fn leave_preferred_endpoint(&self) {
        self.leave_endpoint(self.preferred.load(Ordering::Relaxed));
    }

    /// Switches to the next endpoint, if this one is preferred.
    fn leave_endpoint(&self, route: usize) {
        let next = (route + 1) % self.routes.len();
        let turned =
            self.preferred
                .compare_exchange(route, next, Ordering::Relaxed, Ordering::Relaxed);
        if turned.is_ok() && next != route {
            let (from, to) = (&self.routes.0[route].name, &self.routes.0[next].name);
            tracing::info!(from, to, "switching to another endpoint");
            for slot in self.retryable.iter().chain(&self.non_retryable) {
                if slot.load().route == route {
                    slot.store(Arc::new(self.shared_connection()));
                    self.routes.0[route].target.count_replaced();
                }
            }
            let mut connections = self.iterators.lock();
            connections.retain(|connection| connection.route != route);
        }
    }

    fn replace(&self, connection: &Arc<Connection>) {
        let mut connections = self.iterators.lock();
        let before = connections.len();
        connections.retain(|other| !Arc::ptr_eq(other, connection));
        let mut is_replaced = connections.len() < before;
        drop(connections);
        for slot in self.retryable.iter().chain(&self.non_retryable) {
            let current = slot.load();
            if Arc::ptr_eq(&current, connection) {
                let fresh = Arc::new(self.shared_connection());
                slot.compare_and_swap(&*current, fresh);
                is_replaced = true;
            }
        }
        if is_replaced {
            self.routes.0[connection.route].target.count_replaced();
        }
    }

    /// Replaces a connection if its server is no longer among the addresses of its name.
    fn refresh_address(self: &Arc<Self>, connection: &Arc<Connection>) {
        if connection.looked_up.lock().elapsed() < LOOK_UP_INTERVAL
            || connection.is_looking_up.swap(true, Ordering::Relaxed)
        {
            return;
        }
        let (pool, connection) = (Arc::clone(self), Arc::clone(connection));
        tokio::spawn(async move {
            let addresses = pool.routes.0[connection.route].target.addresses().await;
            if let (Some(addresses), Some(peer)) = (addresses, connection.peer.load_full())
                && !addresses.contains(&peer)
            {
                tracing::debug!(%peer, "the address of the server's name has changed");
                pool.replace(&connection);
            }
            *connection.looked_up.lock() = Instant::now();
            connection.is_looking_up.store(false, Ordering::Relaxed);
        });
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{ClientState, client::Client};

    fn pool(endpoints: &[&str]) -> Arc<Pool> {
        let endpoint = |text: &&str| config::Endpoint::parse(text, None).unwrap();
        let config = Config {
            endpoints: endpoints.iter().map(endpoint).collect(),
            ..Config::new(endpoint(&endpoints[0]))
        };
        let routes = Routes::new(&config, &Arc::default()).unwrap();
        Arc::new(Pool::new(Arc::new(routes), 4, 1 << 30, Arc::default()))
    }

    #[tokio::test]
    async fn a_failed_connection_is_not_used_again() {
        let pool = pool(&["127.0.0.1:1"]);
        let first = pool.lease(ConnectionClass::Retryable);
        first.report_failure(&Error::new(ErrorKind::Connect, "broken"), Duration::ZERO);
        for _ in 0..8 {
            let other = pool.lease(ConnectionClass::Retryable);
            assert!(!Arc::ptr_eq(&first.connection, &other.connection));
        }
    }

    #[tokio::test]
    async fn endpoints_are_tried_one_after_another() {
        let pool = pool(&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
        let unreachable = Error::new(ErrorKind::Connect, "refused").unsent();
        let mut seen = Vec::new();
        for _ in 0..4 {
            let leases: Vec<_> = (0..4)
                .map(|_| pool.lease(ConnectionClass::Retryable))
                .collect();
            seen.push(leases[0].endpoint().to_owned());
            for lease in leases {
                lease.report_failure(&unreachable, Duration::ZERO);
            }
        }
        let expected = [1, 2, 3, 1].map(|port| format!("127.0.0.1:{port}"));
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn a_lost_connection_is_replaced_by_one_to_the_same_server() {
        let pool = pool(&["127.0.0.1:1", "127.0.0.1:2"]);
        let lease = pool.lease(ConnectionClass::Retryable);
        lease.report_failure(&Error::new(ErrorKind::Connect, "reset"), Duration::ZERO);
        for _ in 0..4 {
            assert_eq!(
                pool.lease(ConnectionClass::Retryable).endpoint(),
                "127.0.0.1:1"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_replaced_when_its_address_no_longer_belongs_to_the_name() {
        let pool = pool(&["localhost:4410"]);
        let first = pool.lease(ConnectionClass::Retryable);
        let elsewhere = SocketAddr::from(([127, 9, 9, 9], 4410));
        first.connection.peer.store(Some(Arc::new(elsewhere)));
        tokio::time::advance(LOOK_UP_INTERVAL * 2).await;
        let is_kept = || {
            let mut slots = pool.retryable.iter();
            slots.any(|slot| Arc::ptr_eq(&slot.load(), &first.connection))
        };
        pool.refresh_address(&first.connection);
        while is_kept() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_server_that_closes_connections_because_of_pings_gets_fewer() {
        let interval = Duration::from_millis(20);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                let call = connection.accept().await;
                tokio::time::sleep(interval * 4).await;
                connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
                // Until the remaining data has been sent.
                while connection.accept().await.is_some() {}
                drop(call);
            }
        });
        let config = Config {
            retry_for: Duration::ZERO,
            ..Config::new(config::Endpoint::parse(&endpoint, None).unwrap())
        };
        let client = Client {
            state: Arc::new(ClientState::new(config).unwrap()),
            capabilities: Arc::default(),
            time_limits: Arc::default(),
            deadline: None,
            trace: None,
        };
        let pool = &client.state.session().unwrap().pool;
        pool.ping_ns.store(nanoseconds(interval), Ordering::Relaxed);
        let error = client.info().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
        let now = Duration::from_nanos(pool.ping_ns.load(Ordering::Relaxed));
        assert_eq!(now, interval * 2, "{error:?}");
    }

    #[tokio::test]
    async fn unread_answers_never_fill_a_connection() {
        let pool = pool(&["127.0.0.1:1"]);
        let leases: Vec<_> = (0..200)
            .map(|_| pool.lease(ConnectionClass::Iterator))
            .collect();
        for lease in &leases {
            assert!(
                lease.connection.open_answers.load(Ordering::Relaxed)
                    <= lease.connection.max_open_answers
            );
        }
        let connections = pool.iterators.lock().len();
        assert!(connections > WIDE_CONNECTIONS, "{connections}");
        drop(leases);
        assert_eq!(pool.iterators.lock().len(), 1);
    }
}
