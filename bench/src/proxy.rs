//! Proxies to compare: Wabe's, and others between a client's and a server's namespace. One core is the proxy's alone, client
//! and server share the other, so that every proxy has the same and nothing besides.

mod chain;
mod envoy;
mod haproxy;
mod mesh;
mod nginx;
mod peer;

pub(crate) use chain::{Chain, Side};
pub(crate) use mesh::{UNREAD, add, up};
pub(crate) use peer::{Peer, Setting, Way};

/// The core of the proxy that is measured.
pub(crate) const PROXY_CORE: usize = 1;
/// The core of everything else.
pub(crate) const END_CORE: usize = 0;

/// Where servers answer, besides [`crate::server::PORT`].
pub(crate) const HTTP2_PORT: u16 = 8081;
pub(crate) const GRPC_PORT: u16 = 8082;

/// A path that only the last of so many routes has: `/route-0999/`. All are of one length, so that precedence by length
/// decides nothing.
pub(crate) fn route(number: usize) -> String {
    format!("/route-{number:04}")
}
