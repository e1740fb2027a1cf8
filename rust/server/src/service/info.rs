//! What the server is.

use pingthings_proto::v5api::{FaultInjectResponse, InfoResponse, ProxyInfo};
use pingthings_types::Code;

use crate::status::{Refusal, Refuse};

const MAJOR: u32 = 5;
/// The first minor version whose clients and servers speak Arrow is 30.
const MINOR: u32 = 34;
const MINOR_BEFORE_ARROW: u32 = 29;
const BUILD: &str = concat!("pingthings-server ", env!("CARGO_PKG_VERSION"));

/// What the server is and speaks.
pub(super) fn info(arrow: bool) -> InfoResponse {
    InfoResponse {
        stat: None,
        mash: None,
        major_version: MAJOR,
        minor_version: if arrow { MINOR } else { MINOR_BEFORE_ARROW },
        build: BUILD.to_owned(),
        // Present but empty: clients need no map of a cluster.
        proxy: Some(ProxyInfo::default()),
    }
}

/// Faults are injected by tests, below the engine, and by nobody else.
pub(super) fn fault_inject() -> FaultInjectResponse {
    FaultInjectResponse::refuse(Refusal::new(
        Code::FaultInjectionDisabled,
        "this server injects no faults",
    ))
}
