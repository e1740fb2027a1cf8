//! Connections to servers: the pool, dialling, proxies, sockets and TLS.

pub(crate) mod dial;
pub(crate) mod pool;
pub(crate) mod socket;
pub(crate) mod socket_state;
pub(crate) mod tls;
