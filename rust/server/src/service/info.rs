//! The version of the server.

use pingthings_proto::v5api::{FaultInjectResponse, InfoResponse, ProxyInfo};
use pingthings_types::Code;

use crate::status::{Refusal, Refuse};

const MAJOR: u32 = 5;
/// The first minor version whose clients and servers speak Arrow is 30.
const MINOR: u32 = 34;
const MINOR_BEFORE_ARROW: u32 = 29;
const BUILD: &str = concat!("pingthings-server ", env!("CARGO_PKG_VERSION"));

/// The version and build of the server.
pub(super) fn info(arrow: bool) -> InfoResponse {
    InfoResponse {
        stat: None,
        mash: None,
        major_version: MAJOR,
        minor_version: if arrow { MINOR } else { MINOR_BEFORE_ARROW },
        build: BUILD.to_owned(),
        // The field is present but empty: a single server has no cluster map.
        proxy: Some(ProxyInfo::default()),
    }
}

/// Refuses fault injection. Only tests inject faults, below the engine.
pub(super) fn fault_inject() -> FaultInjectResponse {
    FaultInjectResponse::refuse(Refusal::new(
        Code::FaultInjectionDisabled,
        "this server injects no faults",
    ))
}
