//! Information about the server, and its capabilities.

use pingthings_proto::v5api;

use crate::{
    answer::rpc::Rpc,
    error::{Error, ErrorKind},
    method::{Method, RetryPolicy},
    session::client::Client,
    stats::CallKind,
};

/// The major version of the protocol that this client implements.
const MAJOR: u32 = 5;

/// The first minor version with Arrow.
const FIRST_MINOR_WITH_ARROW: u32 = 30;

/// Information about a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The major version of its protocol.
    pub major_version: u32,
    /// The minor version of its protocol.
    pub minor_version: u32,
    /// The name of its build.
    pub build: String,
    /// Addresses of the proxies in front of it.
    pub proxy_endpoints: Vec<String>,
}

impl Client {
    /// Requests information about the server.
    pub async fn info(&self) -> Result<Info, Error> {
        self.request_info(RetryPolicy::Always).await
    }

    pub(crate) async fn request_info(&self, policy: RetryPolicy) -> Result<Info, Error> {
        let call = self.count_call(CallKind::Info);
        let outcome = self.request_info_once(policy).await;
        call.end(&outcome);
        outcome
    }

    async fn request_info_once(&self, policy: RetryPolicy) -> Result<Info, Error> {
        let request = v5api::InfoParams {};
        let answer: v5api::InfoResponse = self
            .unary_with(
                policy,
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
            self.capabilities.mark_without_arrow();
        }
        Ok(info)
    }
}
