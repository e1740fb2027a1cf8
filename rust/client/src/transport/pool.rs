//! The pool of connections: which one a call takes, and when one is replaced.
//!
//! A connection of tonic mends itself only once a call has found it broken, and until then hands
//! its failure to every call. Here a connection that failed a call is given up at once: the next
//! call, and the same call when it is repeated, takes another. What still runs on it may end.

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
    method::Lane,
    stats::Counters,
    transport::{
        dial::Target,
        life::{Alarm, Life},
        tls::tls,
    },
};

/// Bytes a server may send ahead on one stream and on one connection. Large and fixed: an adaptive
/// window starts small and costs round trips on every large read.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 32 << 20;

/// How much a server may send in one piece. With what is usual, a quarter of this, twice as many
/// calls of the system are made for a large answer; with more, less of it stays in the caches.
const FRAME: u32 = 64 << 10;

/// The same as the windows above for answers that are read by iterators, once there are many of them.
const NARROW_STREAM_WINDOW: u32 = 256 << 10;
const NARROW_CONNECTION_WINDOW: u32 = 16 << 20;

/// Connections with large windows for answers that are read by iterators.
const WIDE_CONNECTIONS: usize = 8;

/// A peer that answers no ping for this long is gone. Pings go out only while a call is in flight,
/// and less often once a server has hung up on them; five minutes is what servers in Go allow.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const PING_AT_LEAST_EVERY: Duration = Duration::from_mins(5);

/// How often a name is looked up again: the servers behind it may have been exchanged.
const LOOK_UP_EVERY: Duration = Duration::from_mins(1);

/// A handshake of TLS comes after the socket, whose own limit must have its say first.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Calls cancelled on a connection before it is given up. What servers still send for them counts
/// as a fault once the transport has forgotten them, and it ends connections for too many of those.
const MOST_CANCELLED: usize = 256;

/// Connections for calls that must not be made twice.
const UNREPEATABLE_CONNECTIONS: usize = 2;

/// One connection, which begins with its first call.
#[derive(Debug)]
pub(crate) struct Connection {
    channel: Channel,
    /// Which of the endpoints it leads to.
    route: usize,
    peer: Arc<ArcSwapOption<SocketAddr>>,
    life: Arc<Life>,
    looked_up: Mutex<Instant>,
    is_looking_up: AtomicBool,
    cancelled: AtomicUsize,
    /// Answers that iterators read, and how many of them fit.
    open: AtomicUsize,
    places: usize,
}

/// The use of a connection for one call.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: Arc<Connection>,
    pool: Arc<Pool>,
    lane: Lane,
}

impl Lease {
    pub(crate) fn channel(&self) -> Channel {
        self.connection.channel.clone()
    }

    /// The call failed on the way, after the server had been silent for so long: nobody else is to
    /// take this connection.
    pub(crate) fn failed(&self, error: &Error, silence: Duration) {
        self.pool.give_up(&self.connection, error, silence);
    }

    /// The call is given up before its end.
    pub(crate) fn cancelled(&self) {
        if self.connection.cancelled.fetch_add(1, Ordering::Relaxed) == MOST_CANCELLED {
            self.pool.replace(&self.connection);
        }
    }

    /// Waits until the client is closed, or the connection is gone and had the time to tell its
    /// calls.
    pub(crate) async fn over(&self) {
        self.connection.life.over().await;
    }

    /// The server at the other end, as `host:port`.
    pub(crate) fn endpoint(&self) -> &str {
        &self.pool.routes.0[self.connection.route].name
    }

    /// Which authorities are trusted on the way.
    pub(crate) fn trusted(&self) -> &str {
        &self.pool.routes.0[self.connection.route].trusted
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.lane == Lane::Iterator {
            self.pool.free_place(&self.connection);
        }
    }
}

/// How to reach one of the endpoints.
#[derive(Debug)]
struct Route {
    name: String,
    endpoint: Endpoint,
    target: Target,
    trusted: String,
}

impl Route {
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
            .connect_timeout(config.connect_timeout.saturating_add(HANDSHAKE))
            .max_frame_size(FRAME)
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

/// Where the connections of a client lead.
#[derive(Debug)]
pub(crate) struct Routes(Vec<Route>);

impl Routes {
    pub(crate) fn new(config: &Config, counters: &Arc<Counters>) -> Result<Self, Error> {
        let routes = config.endpoints.iter();
        let routes: Vec<_> = routes
            .map(|endpoint| Route::to(endpoint, config, counters))
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
    /// The endpoint that new connections lead to.
    preferred: AtomicUsize,
    repeatable: Vec<ArcSwap<Connection>>,
    unrepeatable: Vec<ArcSwap<Connection>>,
    iterators: Mutex<Vec<Arc<Connection>>>,
    next: AtomicUsize,
    /// How often to ping, in nanoseconds.
    ping_ns: AtomicU64,
    /// Bytes all servers together may send ahead on the shared connections.
    windows: u64,
    /// What wakes the calls when a socket is gone.
    alarm: Arc<Alarm>,
}

impl Pool {
    /// None of them is opened yet. Must be called on the runtime.
    pub(crate) fn new(routes: Arc<Routes>, count: usize, windows: u64, alarm: Arc<Alarm>) -> Self {
        let count = count.max(1);
        let mut pool = Self {
            routes,
            preferred: AtomicUsize::new(0),
            repeatable: Vec::new(),
            unrepeatable: Vec::new(),
            iterators: Mutex::default(),
            next: AtomicUsize::new(0),
            ping_ns: AtomicU64::new(nanoseconds(PING_EVERY)),
            windows: windows / u64::try_from(count).unwrap_or(u64::MAX),
            alarm,
        };
        let connections = |count| {
            let fresh = (0..count).map(|_| ArcSwap::from_pointee(pool.shared_connection()));
            fresh.collect::<Vec<_>>()
        };
        let (repeatable, unrepeatable) =
            (connections(count), connections(UNREPEATABLE_CONNECTIONS));
        pool.repeatable = repeatable;
        pool.unrepeatable = unrepeatable;
        pool
    }

    /// A connection for a call.
    pub(crate) fn lease(self: &Arc<Self>, lane: Lane) -> Lease {
        let in_turn = |connections: &[ArcSwap<Connection>]| {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % connections.len();
            connections[turn].load_full()
        };
        let connection = match lane {
            Lane::Repeatable => in_turn(&self.repeatable),
            Lane::Unrepeatable => in_turn(&self.unrepeatable),
            Lane::Iterator => self.take_place(),
        };
        self.look_up_again(&connection);
        Lease {
            connection,
            pool: Arc::clone(self),
            lane,
        }
    }

    fn shared_connection(&self) -> Connection {
        let window = u32::try_from(self.windows).unwrap_or(u32::MAX);
        let window = window.clamp(1 << 20, CONNECTION_WINDOW);
        self.connection(STREAM_WINDOW.min(window), window, usize::MAX)
    }

    fn connection(&self, stream_window: u32, connection_window: u32, places: usize) -> Connection {
        let index = self.preferred.load(Ordering::Relaxed);
        let route = &self.routes.0[index];
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let dialer = route.target.dialer(turn, &self.alarm);
        let (peer, life) = (dialer.peer(), dialer.life());
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
            life,
            looked_up: Mutex::new(Instant::now()),
            is_looking_up: AtomicBool::new(false),
            cancelled: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            places,
        }
    }

    // --- answers that iterators read -------------------------------------------------------------

    /// A place for an answer that may stay unread: as much as it can take up of its connection is
    /// kept for it, so that unread answers never keep others waiting.
    fn take_place(&self) -> Arc<Connection> {
        let mut connections = self.iterators.lock();
        let has_room = |connection: &&Arc<Connection>| {
            connection.open.load(Ordering::Relaxed) < connection.places
        };
        let connection = connections.iter().find(has_room).map(Arc::clone);
        let connection = connection.unwrap_or_else(|| {
            let (stream_window, window) = if connections.len() < WIDE_CONNECTIONS {
                (STREAM_WINDOW, CONNECTION_WINDOW)
            } else {
                (NARROW_STREAM_WINDOW, NARROW_CONNECTION_WINDOW)
            };
            let places = usize::try_from(window / stream_window).unwrap_or(1);
            let fresh = Arc::new(self.connection(stream_window, window, places));
            connections.push(Arc::clone(&fresh));
            fresh
        });
        connection.open.fetch_add(1, Ordering::Relaxed);
        connection
    }

    fn free_place(&self, connection: &Arc<Connection>) {
        let mut connections = self.iterators.lock();
        let left = connection.open.fetch_sub(1, Ordering::Relaxed) - 1;
        // One is kept, since whoever read one answer will read another.
        if left == 0 && connections.len() > 1 {
            connections.retain(|other| !Arc::ptr_eq(other, connection));
        }
    }

    // --- replacing -------------------------------------------------------------------------------

    fn give_up(&self, connection: &Arc<Connection>, error: &Error, silence: Duration) {
        let interval = self.ping_ns.load(Ordering::Relaxed);
        // A server that is pinged too often ends the connection, and calls are not told why. So the
        // end of one on which there were pings and nothing else counts as a complaint. Nobody minds
        // the first one.
        if error.is_hang_up() && nanoseconds(silence) >= interval.saturating_mul(2) {
            let longer = interval
                .saturating_mul(2)
                .min(nanoseconds(PING_AT_LEAST_EVERY));
            self.ping_ns.store(longer, Ordering::Relaxed);
            tracing::debug!(
                interval = ?Duration::from_nanos(longer),
                "the server hung up on pings: they become rarer"
            );
        }
        if error.is_elsewhere() {
            self.turn_away_from(connection.route);
        }
        self.replace(connection);
    }

    /// Gives the endpoint up that is preferred now.
    pub(crate) fn turn_away(&self) {
        self.turn_away_from(self.preferred.load(Ordering::Relaxed));
    }

    /// Calls go to the next endpoint from now on, if they went to this one.
    fn turn_away_from(&self, route: usize) {
        let next = (route + 1) % self.routes.len();
        let turned =
            self.preferred
                .compare_exchange(route, next, Ordering::Relaxed, Ordering::Relaxed);
        if turned.is_ok() && next != route {
            let (from, to) = (&self.routes.0[route].name, &self.routes.0[next].name);
            tracing::info!(from, to, "turning to another endpoint");
            for slot in self.repeatable.iter().chain(&self.unrepeatable) {
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
        for slot in self.repeatable.iter().chain(&self.unrepeatable) {
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

    /// Gives a connection up whose server is no longer among those the name stands for.
    fn look_up_again(self: &Arc<Self>, connection: &Arc<Connection>) {
        if connection.looked_up.lock().elapsed() < LOOK_UP_EVERY
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
                tracing::debug!(%peer, "the name has another address now");
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
    async fn a_connection_that_failed_is_not_taken_again() {
        let pool = pool(&["127.0.0.1:1"]);
        let first = pool.lease(Lane::Repeatable);
        first.failed(&Error::new(ErrorKind::Connect, "broken"), Duration::ZERO);
        for _ in 0..8 {
            let other = pool.lease(Lane::Repeatable);
            assert!(!Arc::ptr_eq(&first.connection, &other.connection));
        }
    }

    #[tokio::test]
    async fn endpoints_are_turned_to_one_after_the_other() {
        let pool = pool(&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
        let unreachable = Error::new(ErrorKind::Connect, "refused").unsent();
        let mut seen = Vec::new();
        for _ in 0..4 {
            let leases: Vec<_> = (0..4).map(|_| pool.lease(Lane::Repeatable)).collect();
            seen.push(leases[0].endpoint().to_owned());
            for lease in leases {
                lease.failed(&unreachable, Duration::ZERO);
            }
        }
        let expected = [1, 2, 3, 1].map(|port| format!("127.0.0.1:{port}"));
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn a_connection_that_broke_is_made_again_to_the_same_server() {
        let pool = pool(&["127.0.0.1:1", "127.0.0.1:2"]);
        let lease = pool.lease(Lane::Repeatable);
        lease.failed(&Error::new(ErrorKind::Connect, "reset"), Duration::ZERO);
        for _ in 0..4 {
            assert_eq!(pool.lease(Lane::Repeatable).endpoint(), "127.0.0.1:1");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_to_an_address_that_is_no_longer_the_name_s_is_given_up() {
        let pool = pool(&["localhost:4410"]);
        let first = pool.lease(Lane::Repeatable);
        let elsewhere = SocketAddr::from(([127, 9, 9, 9], 4410));
        first.connection.peer.store(Some(Arc::new(elsewhere)));
        tokio::time::advance(LOOK_UP_EVERY * 2).await;
        let is_kept = || {
            let mut slots = pool.repeatable.iter();
            slots.any(|slot| Arc::ptr_eq(&slot.load(), &first.connection))
        };
        pool.look_up_again(&first.connection);
        while is_kept() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_server_that_hangs_up_on_pings_gets_fewer() {
        let interval = Duration::from_millis(20);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                let call = connection.accept().await;
                tokio::time::sleep(interval * 4).await;
                connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
                // Until what is left to send has been sent.
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
            server: Arc::default(),
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
    async fn unread_answers_never_take_up_a_whole_connection() {
        let pool = pool(&["127.0.0.1:1"]);
        let leases: Vec<_> = (0..200).map(|_| pool.lease(Lane::Iterator)).collect();
        for lease in &leases {
            assert!(lease.connection.open.load(Ordering::Relaxed) <= lease.connection.places);
        }
        let connections = pool.iterators.lock().len();
        assert!(connections > WIDE_CONNECTIONS, "{connections}");
        drop(leases);
        assert_eq!(pool.iterators.lock().len(), 1);
    }
}
