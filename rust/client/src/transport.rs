//! Connections to servers: sockets, names, proxies, TLS, and which connection a call takes.

pub(crate) mod dial;
pub(crate) mod life;
pub(crate) mod pool;
pub(crate) mod socket;
pub(crate) mod tls;
