//! Dialling: host names, sockets, and tunnels through proxies.

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use http::Uri;
use hyper_util::{
    client::{
        legacy::connect::{HttpConnector, dns::Name, proxy::Tunnel},
        proxy::matcher::Matcher,
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::{
    config::{Endpoint, Proxies},
    error::{Error, ErrorKind},
    stats::Counters,
    transport::{
        socket::Socket,
        socket_state::{Interrupt, SocketState},
    },
};

/// TCP keepalive: the idle time before the first probe, the time between probes, and their number.
/// Unlike an HTTP/2 ping, a probe costs the server nothing.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const TCP_KEEPALIVE_RETRIES: u32 = 3;

/// How long sent data may stay unacknowledged by the peer's system. Without this limit, Linux
/// retransmits for about 15 minutes.
#[cfg(target_os = "linux")]
const TCP_USER_TIMEOUT: Duration = Duration::from_mins(1);

/// The default port of a proxy.
const HTTP_PORT: u16 = 80;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How connections to one endpoint are made.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    host: String,
    port: u16,
    proxy: Option<Proxy>,
    limit: Duration,
    counters: Arc<Counters>,
}

/// An HTTP proxy for tunnels.
#[derive(Clone)]
struct Proxy {
    uri: Uri,
    authorization: Option<http::HeaderValue>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("host", &self.uri.host())
            .finish_non_exhaustive()
    }
}

impl Target {
    /// The target for an endpoint. Fails if its proxy is invalid.
    pub(crate) fn to(
        endpoint: &Endpoint,
        proxies: &Proxies,
        limit: Duration,
        counters: &Arc<Counters>,
    ) -> Result<Self, Error> {
        Ok(Self {
            host: endpoint.host().to_owned(),
            port: endpoint.port(),
            proxy: Proxy::for_endpoint(endpoint, proxies)?,
            limit,
            counters: Arc::clone(counters),
        })
    }

    /// Counts a connection to this target that was replaced.
    pub(crate) fn count_replaced(&self) {
        self.counters.connections_replaced.add(1);
    }

    /// The current addresses of the endpoint's name. `None` if the host is an address or a proxy
    /// resolves the name.
    pub(crate) async fn addresses(&self) -> Option<Vec<SocketAddr>> {
        if self.proxy.is_some() || self.host.parse::<IpAddr>().is_ok() {
            return None;
        }
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        found.ok().map(Iterator::collect)
    }

    /// Makes connections. `offset` selects the first of several addresses to try.
    pub(crate) fn dialer(&self, offset: usize, interrupt: &Arc<Interrupt>) -> Dialer {
        let mut sockets = HttpConnector::new_with_resolver(Resolver { offset });
        sockets.enforce_http(false);
        sockets.set_nodelay(true);
        sockets.set_keepalive(Some(TCP_KEEPALIVE));
        sockets.set_keepalive_interval(Some(TCP_KEEPALIVE_INTERVAL));
        sockets.set_keepalive_retries(Some(TCP_KEEPALIVE_RETRIES));
        #[cfg(target_os = "linux")]
        sockets.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
        Dialer {
            sockets,
            proxy: self.proxy.clone(),
            limit: self.limit,
            peer: Arc::default(),
            socket_state: Arc::new(SocketState::new(Arc::clone(interrupt))),
            counters: Arc::clone(&self.counters),
        }
    }
}

/// How an endpoint is reached, without connecting to it.
#[derive(Clone, Debug)]
pub struct Route(Option<Proxy>);

impl Route {
    /// Finds the route. Fails for the same reasons as [`crate::Client::connect`].
    pub fn to(endpoint: &Endpoint, proxies: &Proxies) -> Result<Self, Error> {
        Proxy::for_endpoint(endpoint, proxies).map(Self)
    }

    /// Host, port and `Proxy-Authorization` header of the proxy, if one is used.
    pub fn proxy(&self) -> Option<(&str, u16, Option<&str>)> {
        let proxy = self.0.as_ref()?;
        let authorization = proxy.authorization.as_ref();
        Some((
            proxy.uri.host().unwrap_or_default(),
            proxy.uri.port_u16().unwrap_or(HTTP_PORT),
            authorization.and_then(|value| value.to_str().ok()),
        ))
    }
}

impl Proxy {
    fn for_endpoint(endpoint: &Endpoint, proxies: &Proxies) -> Result<Option<Self>, Error> {
        // A proxy is never used for this machine.
        if endpoint.is_loopback() {
            return Ok(None);
        }
        proxies.check()?;
        let matcher = Matcher::builder()
            .all(proxies.all.clone())
            .http(proxies.http.clone())
            .https(proxies.https.clone())
            .no(proxies.no.clone())
            .build();
        let uri: Uri = endpoint.uri().parse().map_err(|error| {
            let message = format!("endpoint `{endpoint}` cannot be used: {error}");
            Error::new(ErrorKind::InvalidArgument, message)
        })?;
        Ok(matcher.intercept(&uri).map(|found| Self {
            uri: found.uri().clone(),
            authorization: found.basic_auth().cloned(),
        }))
    }
}

/// Makes the connections to one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    sockets: HttpConnector<Resolver>,
    proxy: Option<Proxy>,
    limit: Duration,
    peer: Arc<ArcSwapOption<SocketAddr>>,
    socket_state: Arc<SocketState>,
    counters: Arc<Counters>,
}

impl Dialer {
    async fn dial(self, uri: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let mut sockets = self.sockets;
        let Some(proxy) = self.proxy else {
            return Ok(sockets.call(uri).await?);
        };
        let host = proxy.uri.host().unwrap_or_default().to_owned();
        let mut tunnel = Tunnel::new(proxy.uri, sockets);
        if let Some(authorization) = proxy.authorization {
            tunnel = tunnel.with_auth(authorization);
        }
        let socket = tunnel.call(uri).await;
        socket.map_err(|error| format!("proxy `{host}`: {error}").into())
    }

    /// The address of the peer of the last socket, once there is one.
    pub(crate) fn peer(&self) -> Arc<ArcSwapOption<SocketAddr>> {
        Arc::clone(&self.peer)
    }

    /// The state of the last socket.
    pub(crate) fn socket_state(&self) -> Arc<SocketState> {
        Arc::clone(&self.socket_state)
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Socket>;
    type Error = BoxError;
    type Future = BoxFuture<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.sockets.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (dialer, peer, limit) = (self.clone(), Arc::clone(&self.peer), self.limit);
        let (counters, socket_state) = (Arc::clone(&self.counters), Arc::clone(&self.socket_state));
        Box::pin(async move {
            let number = socket_state.record_request();
            let socket = tokio::time::timeout(limit, dialer.dial(uri)).await;
            let socket = socket.map_err(|_| format!("no connection within {limit:?}"))??;
            peer.store(socket.inner().peer_addr().ok().map(Arc::new));
            let socket = Socket::new(socket.into_inner(), counters, socket_state, number);
            Ok(TokioIo::new(socket))
        })
    }
}

/// Resolves the name again for every connection, and starts with a different address each time.
/// This distributes connections over several servers with one name.
#[derive(Clone, Debug)]
struct Resolver {
    offset: usize,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let offset = self.offset;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(rotated(found.collect(), offset).into_iter())
        })
    }
}

fn rotated(mut addresses: Vec<SocketAddr>, offset: usize) -> Vec<SocketAddr> {
    if let Some(first) = offset.checked_rem(addresses.len()) {
        addresses.rotate_left(first);
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(endpoint: &str, proxies: &Proxies) -> Option<String> {
        let endpoint = Endpoint::parse(endpoint, None).unwrap();
        let target = Target::to(&endpoint, proxies, Duration::MAX, &Arc::default()).unwrap();
        target.proxy.map(|proxy| proxy.uri.to_string())
    }

    #[test]
    fn proxies_are_chosen_by_scheme_and_exceptions() {
        let proxies = Proxies {
            https: "http://me:secret@secure.example:3128".to_owned(),
            http: "plain.example:3128".to_owned(),
            no: "internal.example, 10.0.0.0/8".to_owned(),
            ..Proxies::default()
        };
        let chosen = |endpoint| proxied(endpoint, &proxies);
        let secure = chosen("grid.example:4411").unwrap();
        assert!(secure.contains("secure.example:3128") && !secure.contains("secret"));
        assert!(
            chosen("grid.example:4410")
                .unwrap()
                .contains("plain.example")
        );
        for direct in [
            "a.internal.example:4411",
            "10.1.2.3:4411",
            "127.0.0.1:4411",
            "localhost:1",
        ] {
            assert_eq!(chosen(direct), None, "{direct}");
        }
        assert!(!format!("{proxies:?}").contains("secret"));
    }

    #[test]
    fn proxies_that_cannot_be_used_are_errors() {
        for wrong in ["socks5://proxy:1080", "https://proxy:443", "http://", "a b"] {
            let proxies = Proxies {
                all: wrong.to_owned(),
                ..Proxies::default()
            };
            let endpoint = Endpoint::parse("grid.example:4411", None).unwrap();
            let error =
                Target::to(&endpoint, &proxies, Duration::MAX, &Arc::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{wrong}");
            assert!(error.to_string().contains("proxy"), "{error}");
        }
    }

    #[test]
    fn every_connection_starts_with_another_address() {
        let address = |last| SocketAddr::from(([10, 0, 0, last], 1));
        let all = vec![address(1), address(2), address(3)];
        let firsts: Vec<_> = (0..4)
            .map(|offset| rotated(all.clone(), offset)[0])
            .collect();
        assert_eq!(firsts, [address(1), address(2), address(3), address(1)]);
        assert!(rotated(Vec::new(), 5).is_empty());
    }

    /// Even without pings, a machine that is gone is detected within a minute.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_system_detects_machines_that_are_gone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let endpoint = Endpoint::parse(&address, None).unwrap();
        let limit = Duration::from_secs(10);
        let target = Target::to(&endpoint, &Proxies::default(), limit, &Arc::default()).unwrap();
        let uri = endpoint.uri().parse().unwrap();
        let socket = target.dialer(0, &Arc::default()).dial(uri).await.unwrap();
        let socket = socket2::SockRef::from(socket.inner());
        assert!(socket.keepalive().unwrap());
        let idle = socket.tcp_keepalive_time().unwrap();
        let interval = socket.tcp_keepalive_interval().unwrap();
        let detected = idle + interval * socket.tcp_keepalive_retries().unwrap();
        assert!(detected <= Duration::from_mins(1), "{detected:?}");
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(TCP_USER_TIMEOUT));
    }
}
