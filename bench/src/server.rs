//! The server of all measures: nginx with one worker and an answer of 64 bytes, by HTTP/1.1 and by HTTP/2 without TLS, and
//! one with many bytes.

use std::path::Path;

use crate::{place, proxy::HTTP2_PORT};

/// Where HTTP/1.1 is answered.
pub(crate) const PORT: u16 = 8080;

/// What is asked to see which headers came that [`HEADERS`] counts.
pub(crate) const INTRODUCED: &str = "/introduced";
/// How many a proxy adds that says who calls, as Wabe's does.
pub(crate) const HEADERS: usize = 5;

/// Its configuration, bound to a core. Whatever it writes it writes into `folder`, its process id into `NAME.pid` there.
pub(crate) fn nginx(core: usize, folder: &Path, name: &str) -> String {
    let mask = format!("1{}", "0".repeat(core));
    let folder = folder.display();
    let answer = "w".repeat(64);
    let many = place::MANY;
    let headers = ["for", "proto", "client_cert"].map(|it| format!("$http_x_forwarded_{it}"));
    let headers = headers.join(" ") + " $http_forwarded $http_x_request_id";
    format!(
        "daemon off;
worker_processes 1;
worker_cpu_affinity {mask};
error_log stderr crit;
pid {folder}/{name}.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    sendfile on;
    client_body_temp_path {folder}/{name}-body;
    proxy_temp_path {folder}/{name}-proxy;
    fastcgi_temp_path {folder}/{name}-fastcgi;
    uwsgi_temp_path {folder}/{name}-uwsgi;
    scgi_temp_path {folder}/{name}-scgi;
    server {{
        listen {PORT} backlog=4096;
        listen {HTTP2_PORT} http2 backlog=4096;
        location / {{ default_type text/plain; return 200 \"{answer}\"; }}
        location = /many {{ alias {many}; }}
        location = {INTRODUCED} {{ default_type text/plain; return 200 \"{headers}\"; }}
    }}
}}
"
    )
}
