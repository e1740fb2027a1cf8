//! Where to connect, as whom, and within which limits.

use std::{fmt, net::IpAddr, time::Duration};

use tonic::metadata::{Ascii, MetadataValue};

use crate::error::{Error, ErrorKind};

/// The port on which a PredictiveGrid cluster speaks TLS.
const TLS_PORT: u16 = 4411;

/// Where to connect, as whom, and within which limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server, and others to turn to when it cannot be reached; the first is preferred.
    pub endpoints: Vec<Endpoint>,
    /// Proxies on the way to them.
    pub proxies: Proxies,
    /// Sent with every call, if there is one.
    pub api_key: Option<ApiKey>,
    /// Refuse to send the key to another machine in clear text.
    pub require_tls: bool,
    /// PEM bundle of the only authorities to trust, instead of the system's.
    pub ca_bundle: Option<Vec<u8>>,
    /// Who we are, to servers that ask for a certificate.
    pub identity: Option<Identity>,
    /// Most calls in flight at once; at least one.
    pub concurrency_limit: usize,
    /// Most bytes of answers that are here and not yet handed over.
    pub memory_limit: u64,
    /// Connections to spread the calls over.
    pub channels: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// For how long calls that failed on the way are repeated, where that can do no harm.
    pub retry_for: Duration,
}

impl Default for Config {
    /// The defaults, without a server.
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
    /// The defaults for a server.
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

    /// Whether the key would leave this machine in clear text.
    pub fn exposes_key(&self) -> bool {
        let is_open = |endpoint: &Endpoint| !endpoint.tls && !endpoint.is_loopback();
        self.api_key.is_some() && self.endpoints.iter().any(is_open)
    }
}

/// Proxies that are asked for tunnels (HTTP CONNECT), as the usual variables name them: URLs such as
/// `http://user:password@proxy:3128`; empty for none.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For TLS endpoints.
    pub https: String,
    /// For endpoints without TLS.
    pub http: String,
    /// For both, where there is no other.
    pub all: String,
    /// Hosts, domains and networks to reach directly, separated by commas; `*` for all.
    pub no: String,
}

impl Proxies {
    /// Refuses what is no proxy of the kind that is understood.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for proxy in [&self.https, &self.http, &self.all] {
            let (scheme, rest) = proxy.split_once("://").unwrap_or(("http", proxy));
            // Of a URL with a password only the end may be told.
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
                return wrong("is of a kind that is not supported");
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

/// A certificate of one's own, with its key, which no `Debug` output ever shows.
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

/// A server's address and whether to speak TLS with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    tls: bool,
}

impl Endpoint {
    /// Reads `host:port`, `[v6 address]:port` or an `http://`, `https://` URL of these, also with a
    /// slash behind it.
    ///
    /// TLS is on for `https://` and for port 4411 without a scheme, unless `tls` says otherwise.
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

    /// Whether calls are encrypted.
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether the host is this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// The host, an address of version 6 without its brackets.
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

/// An API key, which no `Debug` output and no error ever shows.
#[derive(Clone)]
pub struct ApiKey(MetadataValue<Ascii>);

impl ApiKey {
    /// Checks that the key can travel in a header.
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
    fn endpoints_are_read_as_documented() {
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
    fn proxies_are_urls_whose_path_says_nothing() {
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
