//! The server of all measures: nginx with one worker and an answer of 64 bytes.

/// Its configuration, bound to a core. `pid` is where it writes its process id.
pub(crate) fn nginx(core: usize, pid: &str) -> String {
    let mask = format!("1{}", "0".repeat(core));
    let answer = "w".repeat(64);
    format!(
        "daemon off;
worker_processes 1;
worker_cpu_affinity {mask};
error_log stderr crit;
pid {pid};
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path /tmp/wabe-bench-body;
    proxy_temp_path /tmp/wabe-bench-proxy;
    fastcgi_temp_path /tmp/wabe-bench-fastcgi;
    uwsgi_temp_path /tmp/wabe-bench-uwsgi;
    scgi_temp_path /tmp/wabe-bench-scgi;
    server {{
        listen 8080 backlog=4096;
        location / {{ default_type text/plain; return 200 \"{answer}\"; }}
    }}
}}
"
    )
}
