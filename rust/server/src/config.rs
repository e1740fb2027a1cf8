//! The configuration of a server.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pingthings_storage::{Clock, Durability, SystemClock};

use crate::{Error, Fault, Role};

/// The configuration of a server. The default is a server without keys, in memory, on a free port
/// of the loopback address.
#[derive(Clone)]
pub struct Config {
    /// The address to listen on. Port 0 takes a free port, see
    /// [`Server::addr`](crate::Server::addr).
    pub listen: SocketAddr,
    /// Where the data are stored.
    pub storage: Storage,
    /// When an insert is acknowledged.
    pub durability: Durability,
    /// Whether to open a damaged directory with everything that is intact. Otherwise it is refused.
    /// [`Server::missing`](crate::Server::missing) lists what was missing.
    pub salvage: bool,
    /// Keys with the role `admin`. The running server stores only their hashes.
    pub api_keys: Vec<String>,
    /// A file of hashed keys with their roles, as `pingthings key` writes it. It is checked for
    /// changes every second.
    pub key_file: Option<PathBuf>,
    /// Whether callers without a key are served besides those with one.
    ///
    /// Without keys and a key file all callers are served with the role `admin`. The server then
    /// listens only on a loopback address, unless this is set.
    pub anonymous: bool,
    /// The role of callers without a key if the server has keys.
    pub anonymous_role: Role,
    /// The certificate of the server. Without it connections are not encrypted.
    pub tls: Option<Tls>,
    /// Whether the server has the calls with Arrow. Without them it behaves like a server before
    /// version 5.30.
    pub arrow: bool,
    /// Limits on calls.
    pub limits: Limits,
    /// The address of the metrics for Prometheus, by plain HTTP and without a key. Port 0 takes a
    /// free port.
    pub metrics: Option<SocketAddr>,
    /// A fault to inject, so that users can test how their programs react.
    pub fault: Option<Fault>,
    /// How long [`Server::stop`](crate::Server::stop) waits for calls before it closes their
    /// connections.
    pub grace: Duration,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
}

/// Where the data of a server are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In memory. They are lost when the server stops.
    Memory,
    /// In this directory, which is created if needed. Only one server at a time can use it.
    Directory(PathBuf),
}

/// A certificate and its private key, both in PEM.
#[derive(Clone)]
pub enum Tls {
    /// In memory.
    Pem {
        /// The certificate, followed by its intermediate certificates.
        certificate: Vec<u8>,
        /// The private key of the certificate.
        key: Vec<u8>,
    },
    /// In files, which are checked for changes every second. New connections use the changed files.
    Files {
        /// The certificate, followed by its intermediate certificates.
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

/// Limits on calls, and the length of messages in answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The maximum length of a request in bytes, after decompression. A longer one is answered with
    /// gRPC status `OUT_OF_RANGE`.
    pub message_bytes: usize,
    /// The maximum memory in bytes for requests that arrive or wait and for answers that are not
    /// yet read, of all callers together. One key, or one connection without a key, gets at most
    /// three quarters. Beyond the limit, the call with the largest product of bytes and time
    /// without progress ends, with status 426 if it is a request.
    pub memory_bytes: usize,
    /// The maximum number of points in one insert. Status 414 beyond it.
    pub points_per_insert: usize,
    /// The maximum number of calls that run in the engine at the same time. A call does not count
    /// while it waits for a slow client.
    pub concurrent_calls: usize,
    /// The maximum number of calls that wait for a permit. Status 426 beyond it.
    pub waiting_calls: usize,
    /// The maximum number of points or windows in one message of an answer.
    pub rows_per_message: usize,
    /// The maximum number of open streamed answers, including subscriptions. Status 426 beyond it.
    /// An answer that is not read takes about 2 MB.
    pub open_answers: usize,
    /// The maximum number of open connections. If no unauthorized one can be closed instead, one
    /// more is closed at once.
    pub connections: usize,
    /// The maximum number of precise windows in one answer, including empty ones. Status 413 beyond
    /// it.
    pub windows: u64,
    /// The time limit in seconds for a SQL statement, including the delivery of its rows. Status
    /// 441 beyond it.
    pub sql_seconds: u64,
    /// The maximum number of rows of a SQL statement. Status 441 beyond it.
    pub sql_rows: u64,
    /// The maximum memory in bytes of a SQL statement. Status 441 beyond it.
    pub sql_memory: usize,
    /// The maximum number of SQL statements that run at the same time. Other calls have their own
    /// permits.
    pub sql_statements: usize,
    /// The maximum number of SQL statements that wait for a permit. Status 426 beyond it.
    pub sql_waiting: usize,
    /// The maximum number of points that wait for a slow subscriber. One more ends the subscription
    /// with status 426.
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
            // Many more than cores, because inserts mostly wait for the same sync.
            concurrent_calls: 128,
            waiting_calls: 4_096,
            // 2 MB of windows. Peers with the default limit of 4 MiB can read them.
            rows_per_message: 32_768,
            open_answers: 1_024,
            connections: 12_000,
            // A year of windows of one millisecond, which is more than any client can store.
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
    /// Whether keys are configured. A key file counts even if it is empty.
    pub(crate) fn has_keys(&self) -> bool {
        !self.api_keys.is_empty() || self.key_file.is_some()
    }

    /// Refuses a configuration that is open to the network without a key, or that cannot work.
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
    fn debug_output_contains_no_keys() {
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
    fn a_server_without_keys_listens_only_on_loopback() {
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
