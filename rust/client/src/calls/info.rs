//! Who the server is, and what it can do.

use pingthings_proto::v5api;

use crate::{
    answer::rpc::Rpc,
    error::{Error, ErrorKind},
    method::{Method, Repeat},
    session::client::Client,
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

impl Client {
    /// Who the server is.
    pub async fn info(&self) -> Result<Info, Error> {
        self.ask(Repeat::Always).await
    }

    pub(crate) async fn ask(&self, repeat: Repeat) -> Result<Info, Error> {
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
                Method::Info,
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
