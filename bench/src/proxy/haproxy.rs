//! HAProxy. Pure: text out.

use std::{fmt::Write as _, path::Path};

use super::{GRPC_PORT, HTTP2_PORT, Peer, Setting, Way, peer::IDENTITIES, route};
use crate::server;

/// Connections at once: each may take two files of [`super::peer::FILES`].
const CONNECTIONS: u32 = 9_500;
/// To splice with, two files each; by default so many that it does not start with that limit of files.
const PIPES: u32 = 100;
/// Percent of its files up to which it keeps connections to the server. By default a quarter: with 9 000 idle clients it then
/// connects anew for each request, which made 0.36 of the rate.
const KEEPING: u32 = 95;

/// What [`config`] looks prefixes up in: its manual's advice for many of them.
pub(crate) fn map(setting: &Setting<'_>) -> String {
    (0..setting.routes).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "{} route", route(number));
        text
    })
}

/// Connections to the server are kept and shared; bytes are spliced where it passes them only.
pub(crate) fn config(setting: &Setting<'_>, map: &Path) -> String {
    let address = setting.server;
    let port = |way| Peer::HaProxy.port(way);
    let rule = if setting.routes == 0 {
        String::new()
    } else {
        format!("    use_backend %[path,map_beg({},http)]\n", map.display())
    };
    let passes = |name: &str, options: &str, at: u16, to: u16| {
        format!(
            "listen {name}\n    bind :{at} backlog 4096{options}\n    server server {address}:{to}{options}\n"
        )
    };
    let introducing = format!(
        "{}    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header Forwarded for=%[src];by=%[dst];proto=http
    http-request set-header X-Request-ID %[uuid()]
    http-request set-header X-Forwarded-Client-Cert {IDENTITIES}
",
        passes("introducing", "", Peer::HaProxy.introducing_port(), server::PORT)
    );
    let http2 = passes("http2", " proto h2", port(Way::Http2), HTTP2_PORT);
    let grpc = passes("grpc", " proto h2", port(Way::Grpc), GRPC_PORT);
    let tcp = passes("tcp", "", port(Way::Tcp), server::PORT);
    format!(
        "global
    nbthread 1
    maxconn {CONNECTIONS}
    maxpipes {PIPES}
    tune.pool-low-fd-ratio {KEEPING}
    tune.pool-high-fd-ratio {KEEPING}
defaults
    mode http
    http-reuse always
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
    timeout http-request 1h
frontend http
    bind :{} backlog 4096
{rule}    default_backend http
backend http
    server server {address}:{to}
backend route
    server server {address}:{to}
{introducing}{http2}{grpc}{tcp}    mode tcp
    option splice-auto
",
        port(Way::Http),
        to = server::PORT,
    )
}
