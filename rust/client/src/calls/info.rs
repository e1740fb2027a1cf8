//! Who the server is, and what it can do.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pingthings_proto::v5api;

use crate::{
    Client,
    error::{Error, ErrorKind},
    session::{call::Rpc, retry::Repeat},
    stats::Kind,
};

/// The major version of the protocol this client speaks.
const MAJOR: u32 = 5;

/// The minor version from which servers answer in Arrow.
const FIRST_MINOR_WITH_ARROW: u32 = 30;

/// Who the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Major version of its protocol.
    pub major_version: u32,
    /// Minor version of its protocol.
    pub minor_version: u32,
    /// What it calls its build.
    pub build: String,
    /// Addresses of the proxies in front of it.
    pub proxy_endpoints: Vec<String>,
}

/// What is known about the server so far.
#[derive(Debug)]
pub(crate) struct Server {
    lacks_arrow: AtomicBool,
    points_per_call: AtomicUsize,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            lacks_arrow: AtomicBool::new(false),
            points_per_call: AtomicUsize::new(usize::MAX),
        }
    }
}

impl Server {
    pub(crate) fn has_arrow(&self) -> bool {
        !self.lacks_arrow.load(Ordering::Relaxed)
    }

    /// The most points it is known to take in one insert.
    pub(crate) fn points_per_call(&self) -> usize {
        self.points_per_call.load(Ordering::Relaxed)
    }

    /// Remembers that it refused more.
    pub(crate) fn lower_points_per_call(&self, points: usize) {
        self.points_per_call.fetch_min(points, Ordering::Relaxed);
    }

    /// Remembers that the server answers in points only.
    pub(crate) fn forgo_arrow(&self) {
        self.lacks_arrow.store(true, Ordering::Relaxed);
    }
}

impl Client {
    /// Who the server is.
    pub async fn info(&self) -> Result<Info, Error> {
        self.ask(Repeat::Always).await
    }

    /// The same, of each endpoint once: who mistypes an address wants to know soon.
    pub(crate) async fn first_info(&self) -> Result<Info, Error> {
        let limit = self.connection.config.connect_timeout;
        let mut attempts = self.connection.endpoints();
        loop {
            let answer = tokio::time::timeout(limit, self.ask(Repeat::Never)).await;
            attempts -= 1;
            match answer {
                Ok(Err(error)) if attempts > 0 && error.is_of_connection() => {}
                Ok(done) => return done,
                Err(_) if attempts > 0 => self.connection.session()?.channels.turn_away(),
                Err(_) => return Err(Error::connect_timeout(&self.endpoint(), limit)),
            }
        }
    }

    async fn ask(&self, repeat: Repeat) -> Result<Info, Error> {
        let call = self.begin(Kind::Info);
        let outcome = self.ask_once(repeat).await;
        call.end(&outcome);
        outcome
    }

    async fn ask_once(&self, repeat: Repeat) -> Result<Info, Error> {
        let request = v5api::InfoParams {};
        let answer: v5api::InfoResponse = self
            .unary_as(
                repeat,
                None,
                "Info",
                request,
                |mut rpc: Rpc, q| async move { rpc.info(q).await },
            )
            .await?;
        let info = Info {
            major_version: answer.major_version,
            minor_version: answer.minor_version,
            build: answer.build,
            proxy_endpoints: answer
                .proxy
                .map(|proxy| proxy.proxy_endpoints)
                .unwrap_or_default(),
        };
        if info.major_version < MAJOR {
            return Err(Error::new(
                ErrorKind::NotSupported,
                format!(
                    "the server at `{}` speaks version {}.{} of the protocol, this client needs {MAJOR}.0 \
                     or later",
                    self.endpoint(),
                    info.major_version,
                    info.minor_version
                ),
            ));
        }
        if (info.major_version, info.minor_version) < (MAJOR, FIRST_MINOR_WITH_ARROW) {
            self.server.forgo_arrow();
        }
        Ok(info)
    }
}
