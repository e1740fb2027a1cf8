//! What a server is started with.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pingthings_storage::{Clock, Durability, SystemClock};

use crate::{Error, Fault, Role};

/// What a server is started with; the default is an open server in memory on a free loopback port.
#[derive(Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one, see [`Server::addr`](crate::Server::addr).
    pub listen: SocketAddr,
    /// Where the data are.
    pub storage: Storage,
    /// When an insert is answered.
    pub durability: Durability,
    /// Whether to open what is whole of a directory of which something is missing or damaged, and
    /// which is refused otherwise; [`Server::missing`](crate::Server::missing) says what.
    pub salvage: bool,
    /// Keys that may do everything. They are kept hashed once the server runs.
    pub api_keys: Vec<String>,
    /// A file of hashed keys with a role each, as `pingthings key` writes it. It is looked at every
    /// second, and what changed in it counts from then on.
    pub key_file: Option<PathBuf>,
    /// Whether callers without a key are served too.
    ///
    /// With neither keys nor a key file they are served in any case and may do everything, but
    /// then the server listens only on a loopback address unless this is set.
    pub anonymous: bool,
    /// What callers without a key may do beside those with one.
    pub anonymous_role: Role,
    /// What to prove the server's identity with; without it, connections are in clear.
    pub tls: Option<Tls>,
    /// Whether the server speaks Arrow. Without it, it passes for one of before version 5.30.
    pub arrow: bool,
    /// How much a caller may ask for.
    pub limits: Limits,
    /// Where to answer Prometheus, by plain HTTP and to anybody; port 0 takes a free one.
    pub metrics: Option<SocketAddr>,
    /// What to do wrong, so that others can test what they do then.
    pub fault: Option<Fault>,
    /// How long [`Server::stop`](crate::Server::stop) waits for calls to end before it cuts their
    /// connections.
    pub grace: Duration,
    /// Where the time of day comes from.
    pub clock: Arc<dyn Clock>,
}

/// Where the data of a server are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In memory: gone when the server stops.
    Memory,
    /// In this directory, which is created where needed and belongs to one server at a time.
    Directory(PathBuf),
}

/// A certificate and its private key, both in PEM.
#[derive(Clone)]
pub enum Tls {
    /// Given here.
    Pem {
        /// The certificate, followed by those that lead to one that clients trust.
        certificate: Vec<u8>,
        /// The private key of the certificate.
        key: Vec<u8>,
    },
    /// In files, which are looked at every second: what changed in them counts for the next
    /// connection.
    Files {
        /// The certificate, followed by those that lead to one that clients trust.
        certificate: PathBuf,
        /// The private key of the certificate.
        key: PathBuf,
    },
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem { .. } => f.debug_struct("Pem").finish_non_exhaustive(),
            Self::Files { certificate, key } => f
                .debug_struct("Files")
                .field("certificate", certificate)
                .field("key", key)
                .finish(),
        }
    }
}

/// How much a caller may ask for, and how answers are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest request in bytes, after decompression; beyond it gRPC answers `OUT_OF_RANGE`.
    pub message_bytes: usize,
    /// Most bytes of requests that are arriving or waiting and of answers that were made and not
    /// taken, of all callers together; one key, or one connection without a key, has three quarters
    /// of them at most. Beyond them status 426, for whoever holds the most for the longest.
    pub memory_bytes: usize,
    /// Most points in one insert; beyond them status 414.
    pub points_per_insert: usize,
    /// Calls that work in the engine at the same time. A call whose client is slow to read does
    /// not count while it waits for the client.
    pub concurrent_calls: usize,
    /// Calls that wait for their turn; beyond them status 426.
    pub waiting_calls: usize,
    /// Most points or windows in one message of an answer.
    pub rows_per_message: usize,
    /// Streamed answers, subscriptions included, that are open at the same time; beyond them status
    /// 426. One that nobody reads holds about 2 MB.
    pub open_answers: usize,
    /// Connections that are open at the same time; one more is closed at once.
    pub connections: usize,
    /// Most precise windows of one answer, empty ones included; beyond them status 413.
    pub windows: u64,
    /// Seconds that a SQL statement may run and deliver its rows; beyond them status 441.
    pub sql_seconds: u64,
    /// Most rows of a SQL statement; beyond them status 441.
    pub sql_rows: u64,
    /// Most bytes that a SQL statement may make the server take; beyond them status 441.
    pub sql_memory: usize,
    /// SQL statements that run at the same time. They take no turns of other calls.
    pub sql_statements: usize,
    /// SQL statements that wait for their turn; beyond them status 426.
    pub sql_waiting: usize,
    /// Points that wait for a slow subscriber; one more ends the subscription with status 426.
    pub points_per_subscriber: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            storage: Storage::Memory,
            durability: Durability::Synced,
            salvage: false,
            api_keys: Vec::new(),
            key_file: None,
            anonymous: false,
            anonymous_role: Role::Read,
            tls: None,
            arrow: true,
            limits: Limits::default(),
            metrics: None,
            fault: None,
            grace: Duration::from_secs(10),
            clock: Arc::new(SystemClock),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 256 << 20,
            memory_bytes: 512 << 20,
            points_per_insert: 1_000_000,
            // Many more than there are cores: inserts mostly wait for the same sync.
            concurrent_calls: 128,
            waiting_calls: 4_096,
            // 2 MB of windows, which peers with the usual limit of 4 MB still take.
            rows_per_message: 32_768,
            open_answers: 1_024,
            connections: 12_000,
            // A year of milliseconds, and more than any client can hold.
            windows: 1 << 35,
            sql_seconds: 30,
            sql_rows: 1_000_000,
            sql_memory: 64 << 20,
            sql_statements: 4,
            sql_waiting: 64,
            points_per_subscriber: 1 << 20,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("storage", &self.storage)
            .field("durability", &self.durability)
            .field("salvage", &self.salvage)
            .field("api_keys", &format_args!("{} keys", self.api_keys.len()))
            .field("key_file", &self.key_file)
            .field("anonymous", &self.anonymous)
            .field("anonymous_role", &self.anonymous_role)
            .field("tls", &self.tls)
            .field("arrow", &self.arrow)
            .field("limits", &self.limits)
            .field("metrics", &self.metrics)
            .field("fault", &self.fault)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Whether callers need one of some keys, be there any at the moment or not.
    pub(crate) fn has_keys(&self) -> bool {
        !self.api_keys.is_empty() || self.key_file.is_some()
    }

    /// Refuses what would leave the server open to strangers or unable to answer.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !self.has_keys() && !self.anonymous && !self.listen.ip().is_loopback() {
            return Err(Error::OpenToNetwork {
                listen: self.listen,
            });
        }
        if self.api_keys.iter().any(|key| key.trim().is_empty()) {
            return Err(Error::EmptyKey);
        }
        if let Some(fault) = &self.fault {
            fault.check()?;
        }
        if self.limits.rows_per_message == 0 {
            return Err(Error::NoRows);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_never_show() {
        let config = Config {
            api_keys: vec!["sesame".to_owned()],
            tls: Some(Tls::Pem {
                certificate: Vec::new(),
                key: b"sesame".to_vec(),
            }),
            ..Config::default()
        };
        let shown = format!("{config:?} {config:#?}");
        assert!(!shown.contains("sesame"), "{shown}");
        assert!(!shown.contains("115"), "{shown}");
        assert!(shown.contains("1 keys"), "{shown}");
    }

    #[test]
    fn an_open_server_stays_on_this_machine() {
        let everywhere = Config {
            listen: "0.0.0.0:0".parse().unwrap(),
            ..Config::default()
        };
        assert!(matches!(
            everywhere.check(),
            Err(Error::OpenToNetwork { .. })
        ));
        let keyed = Config {
            api_keys: vec!["sesame".to_owned()],
            ..everywhere.clone()
        };
        assert!(keyed.check().is_ok());
        let meant = Config {
            anonymous: true,
            ..everywhere
        };
        assert!(meant.check().is_ok());
        let here = Config {
            listen: "[::1]:0".parse().unwrap(),
            ..Config::default()
        };
        assert!(here.check().is_ok());
    }

    #[test]
    fn a_key_is_not_empty() {
        let config = Config {
            api_keys: vec![" ".to_owned()],
            ..Config::default()
        };
        assert!(matches!(config.check(), Err(Error::EmptyKey)));
    }
}
