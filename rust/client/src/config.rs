//! Settings of a client: endpoints, credentials and limits.

use std::{fmt, net::IpAddr, time::Duration};

use tonic::metadata::{Ascii, MetadataValue};

use crate::error::{Error, ErrorKind};

/// The TLS port of PredictiveGrid clusters.
const TLS_PORT: u16 = 4411;

/// Settings of a client: endpoints, credentials and limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server, followed by others to use when it cannot be reached. The first one is preferred.
    pub endpoints: Vec<Endpoint>,
    /// Proxies between the client and the endpoints.
    pub proxies: Proxies,
    /// Sent with every call, if set.
    pub api_key: Option<ApiKey>,
    /// Whether to refuse to send the API key to another machine without TLS.
    pub require_tls: bool,
    /// PEM bundle of the trusted authorities. If set, the authorities of the system are not
    /// trusted.
    pub ca_bundle: Option<Vec<u8>>,
    /// Client certificate, for servers that request one.
    pub identity: Option<Identity>,
    /// Maximum number of calls in flight; at least 1.
    pub concurrency_limit: usize,
    /// Maximum memory for received answers that the caller does not have yet, in bytes.
    pub memory_limit: u64,
    /// Number of connections among which the calls are distributed.
    pub channels: usize,
    /// Time limit for connecting.
    pub connect_timeout: Duration,
    /// How long a call is retried after a failed connection, if a retry is safe.
    pub retry_for: Duration,
}

impl Default for Config {
    /// The defaults, without an endpoint.
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            proxies: Proxies::default(),
            api_key: None,
            require_tls: false,
            ca_bundle: None,
            identity: None,
            concurrency_limit: 32,
            memory_limit: 2 << 30,
            channels: 4,
            connect_timeout: Duration::from_secs(10),
            retry_for: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// The defaults, with one endpoint.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoints: vec![endpoint],
            ..Self::default()
        }
    }

    /// The endpoints, separated by commas.
    pub(crate) fn endpoint_names(&self) -> String {
        let names: Vec<_> = self.endpoints.iter().map(ToString::to_string).collect();
        names.join(",")
    }

    /// Whether the API key would be sent to another machine without TLS.
    pub fn exposes_key(&self) -> bool {
        let is_plain_text = |endpoint: &Endpoint| !endpoint.tls && !endpoint.is_loopback();
        self.api_key.is_some() && self.endpoints.iter().any(is_plain_text)
    }
}

/// HTTP proxies, used as tunnels (HTTP CONNECT). The fields correspond to the usual environment
/// variables. Each proxy is a URL such as `http://user:password@proxy:3128`, or empty for none.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For TLS endpoints.
    pub https: String,
    /// For endpoints without TLS.
    pub http: String,
    /// For endpoints for which no other proxy is set.
    pub all: String,
    /// Hosts, domains and networks that are reached without a proxy, separated by commas; `*` for
    /// all.
    pub no: String,
}

impl Proxies {
    /// Checks that each proxy is an HTTP proxy with a valid host.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for proxy in [&self.https, &self.http, &self.all] {
            let (scheme, rest) = proxy.split_once("://").unwrap_or(("http", proxy));
            // The message must not contain the password, so it names only the part after `@`.
            let host = rest.rsplit('@').next().unwrap_or_default();
            let wrong = |why: &str| {
                let message = format!(
                    "proxy `{scheme}://{host}` {why}: write `http://host:port`, or nothing for none"
                );
                Err(Error::new(ErrorKind::InvalidArgument, message))
            };
            if proxy.is_empty() {
                continue;
            }
            if !scheme.eq_ignore_ascii_case("http") {
                return wrong("has an unsupported scheme");
            }
            let host = host.split(['/', '?', '#']).next().unwrap_or_default();
            if host.parse::<http::uri::Authority>().is_err() {
                return wrong("has no valid host");
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").finish_non_exhaustive()
    }
}

/// A client certificate with its private key. `Debug` output never contains the key.
#[derive(Clone)]
pub struct Identity {
    /// Certificate chain, PEM.
    pub certificate: Vec<u8>,
    /// Private key, PEM.
    pub key: Vec<u8>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// The address of a server, and whether to use TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    tls: bool,
}

impl Endpoint {
    /// Parses `host:port`, `[IPv6 address]:port`, or an `http://` or `https://` URL of one of
    /// these. A trailing slash is allowed.
    ///
    /// TLS is used for `https://` and, without a scheme, for port 4411, unless `tls` says
    /// otherwise.
    pub fn parse(text: &str, tls: Option<bool>) -> Result<Self, Error> {
        let (scheme_tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(true), rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(false), rest),
            _ => (None, text),
        };
        let rest = rest.trim_end_matches('/');
        let bad = |why: &str| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("endpoint `{text}` {why}: write `host:port`, for example `localhost:4410`"),
            )
        };
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| bad("has no port"))?;
        let port: u16 = port.parse().map_err(|_| bad("has no valid port"))?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        if host.is_empty() || (host.contains(':') && bare.is_none()) {
            return Err(bad("has no valid host"));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        match bare {
            Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_err() => {
                return Err(bad("has no valid host"));
            }
            None if !host.chars().all(allowed) => return Err(bad("has no valid host")),
            _ => {}
        }
        let tls = tls.or(scheme_tls).unwrap_or(port == TLS_PORT);
        Ok(Self {
            host: host.to_owned(),
            port,
            tls,
        })
    }

    /// Whether TLS is used.
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether the host is this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// The host; an IPv6 address is without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn uri(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{self}")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// An API key. `Debug` output and errors never contain it.
#[derive(Clone)]
pub struct ApiKey(MetadataValue<Ascii>);

impl ApiKey {
    /// Checks that the key is valid as the value of a header.
    pub fn new(key: &str) -> Result<Self, Error> {
        let mut value = MetadataValue::try_from(format!("Bearer {key}")).map_err(|_| {
            Error::new(
                ErrorKind::InvalidArgument,
                "the API key holds characters that cannot be sent: check it for line breaks",
            )
        })?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    pub(crate) fn header(&self) -> MetadataValue<Ascii> {
        self.0.clone()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_parsed_as_documented() {
        let endpoint = |text| Endpoint::parse(text, None).unwrap();
        assert!(endpoint("grid.example.com:4411").is_tls());
        assert!(!endpoint("grid.example.com:4410").is_tls());
        assert!(endpoint("https://grid.example.com:443").is_tls());
        assert!(!endpoint("http://grid.example.com:4411").is_tls());
        assert!(Endpoint::parse("grid:4410", Some(true)).unwrap().is_tls());
        for text in ["HTTPS://grid:1", "https://grid:1/", "Https://grid:1//"] {
            assert_eq!(endpoint(text), endpoint("https://grid:1"), "{text}");
        }
        assert_eq!(endpoint("HTTP://grid:1"), endpoint("grid:1/"));
        assert_eq!(endpoint("[::1]:4410").uri(), "http://[::1]:4410");
        assert!(endpoint("[::1]:4410").is_loopback());
        assert!(endpoint("127.0.0.1:1").is_loopback());
        assert!(!endpoint("10.0.0.1:1").is_loopback());
    }

    #[test]
    fn bad_endpoints_are_refused_with_an_example() {
        for text in [
            "",
            "localhost",
            "localhost:",
            "localhost:http",
            ":4410",
            "a:b:4410",
            "a/b:1",
            "[x]:1",
            "h:70000",
            "h:1/path",
            "ftp://h:1",
            "/",
        ] {
            let error = Endpoint::parse(text, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
            assert!(error.to_string().contains("localhost:4410"), "{error}");
        }
    }

    #[test]
    fn the_path_of_a_proxy_url_is_ignored() {
        for text in [
            "http://proxy:3128",
            "HTTP://proxy:3128/",
            "http://user:pass%2Fword@proxy:3128/",
            "proxy:3128/",
        ] {
            let proxies = Proxies {
                all: text.to_owned(),
                ..Proxies::default()
            };
            assert!(proxies.check().is_ok(), "{text}");
        }
        for text in ["socks5://proxy:1080", "http://", "http://pro xy:1/"] {
            let proxies = Proxies {
                all: text.to_owned(),
                ..Proxies::default()
            };
            assert!(proxies.check().is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        let mut config = Config::new(Endpoint::parse("grid.example.com:4410", None).unwrap());
        config.api_key = Some(ApiKey::new("s3cret").unwrap());
        assert!(!format!("{config:?}").contains("s3cret"));
        assert!(config.exposes_key());
        assert!(
            ApiKey::new("s3\ncret")
                .unwrap_err()
                .to_string()
                .contains("API key")
        );
        assert!(
            !ApiKey::new("s3\ncret")
                .unwrap_err()
                .to_string()
                .contains("s3")
        );
    }
}
