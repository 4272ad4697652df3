//! nginx as a proxy. Pure: text out.

use std::fmt::Write as _;

use super::{
    GRPC_PORT, Peer, Setting, Way,
    peer::{FILES, IDENTITIES},
    route,
};
use crate::server;

/// A module that not every installation has.
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Connections to the server are kept, and none ends before the load does. It speaks HTTP/1.1 to the server whatever the
/// client speaks, but for gRPC: nginx has no other way.
pub(crate) fn config(setting: &Setting<'_>) -> String {
    let Setting { name, folder, server: address, routes } = setting;
    let folder = folder.display();
    let port = |way| Peer::Nginx.port(way);
    let pass = "proxy_pass http://http; proxy_http_version 1.1; proxy_set_header Connection \"\";";
    let introducing = format!(
        "server {{ listen {} backlog=4096; location / {{ {pass}
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Forwarded \"for=$remote_addr;by=$server_addr;proto=$scheme\";
        proxy_set_header X-Request-ID $request_id; proxy_set_header X-Forwarded-Client-Cert \"{IDENTITIES}\"; }} }}",
        Peer::Nginx.introducing_port()
    );
    let mut locations = format!("location / {{ {pass} }}\n");
    for number in 0..*routes {
        let _ = writeln!(locations, "        location {} {{ {pass} }}", route(number));
    }
    let upstream = |name: &str, port: u16| {
        format!(
            "upstream {name} {{ server {address}:{port}; keepalive 64; keepalive_requests 1000000000; keepalive_timeout 1h; }}"
        )
    };
    let (module, stream) = if std::path::Path::new(STREAM).exists() {
        let tcp = (port(Way::Tcp), server::PORT);
        (
            format!("load_module {STREAM};\n"),
            format!(
                "stream {{ server {{ listen {} backlog=4096; proxy_pass {address}:{}; }} }}\n",
                tcp.0, tcp.1
            ),
        )
    } else {
        (String::new(), String::new())
    };
    format!(
        "{module}user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile {FILES};
error_log stderr crit;
pid {folder}/{name}.pid;
events {{ worker_connections {FILES}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_header_timeout 1h;
    client_body_temp_path {folder}/{name}-body;
    proxy_temp_path {folder}/{name}-proxy;
    fastcgi_temp_path {folder}/{name}-fastcgi;
    uwsgi_temp_path {folder}/{name}-uwsgi;
    scgi_temp_path {folder}/{name}-scgi;
    {http}
    {grpc}
    server {{
        listen {} backlog=4096;
        {locations}    }}
    {introducing}
    server {{ listen {} http2 backlog=4096; location / {{ {pass} }} }}
    server {{ listen {} http2 backlog=4096; location / {{ grpc_pass grpc://grpc; }} }}
}}
{stream}",
        port(Way::Http),
        port(Way::Http2),
        port(Way::Grpc),
        http = upstream("http", server::PORT),
        grpc = upstream("grpc", GRPC_PORT),
    )
}
