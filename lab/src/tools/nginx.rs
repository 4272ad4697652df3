//! The server of all arms: nginx with one worker, HTTP/1.1 at one port and HTTP/2 without TLS at another.
//!
//! Started as `nginx -e stderr -c FILE`: it then writes nowhere but into the folder that it is told. It runs as root, as
//! anybody else, in a network namespace, and in a workload of a mesh.

use std::{fs, io, net::IpAddr, os::unix::fs::PermissionsExt as _, path::Path};

/// Sizes of the bodies at `/bytes/N` and `/get?size=N`.
pub const SIZES: [usize; 8] = [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
/// Bytes of the body at `/get`, which comes from memory.
const GET: usize = 64;

/// What an nginx of the lab does.
#[derive(Clone, Copy, Debug)]
pub struct Nginx<'a> {
    /// The core that its worker runs on.
    pub core: u32,
    /// Where it listens.
    pub address: IpAddr,
    /// For HTTP/1.1.
    pub port: u16,
    /// For HTTP/2 without TLS, by prior knowledge.
    pub http2_port: u16,
    /// What [`write_bodies`] wrote to.
    pub bodies: &'a Path,
    /// Its own folder: process number and temporary files. Whoever it runs as must be able to write there. There may be
    /// several nginx if each has another one.
    pub scratch: &'a Path,
}

/// Writes the files of `/bytes/N`. Anybody may read them: the server may be anybody.
///
/// # Errors
/// The folder can't be made or written.
pub fn write_bodies(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for size in SIZES {
        let file = folder.join(size.to_string());
        fs::write(&file, "w".repeat(size))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

impl Nginx<'_> {
    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> String {
        let Self { core, address, port, http2_port, bodies, scratch } = self;
        let address = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let (bodies, scratch) = (bodies.display(), scratch.display());
        let mask = format!("1{}", "0".repeat(*core as usize));
        let body = "w".repeat(GET);
        // As root the worker stays root: it can then read what root gave it, and needs no right to change itself. For
        // anybody else nginx ignores that line.
        format!(
            "user root;
daemon off;
worker_processes 1;
worker_cpu_affinity {mask};
worker_rlimit_nofile 20000;
error_log stderr crit;
pid {scratch}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_header_timeout 1h;
    tcp_nodelay on;
    sendfile on;
    open_file_cache max=64 inactive=1h;
    open_file_cache_valid 1h;
    default_type text/plain;
    client_body_temp_path {scratch}/body;
    proxy_temp_path {scratch}/proxy;
    fastcgi_temp_path {scratch}/fastcgi;
    uwsgi_temp_path {scratch}/uwsgi;
    scgi_temp_path {scratch}/scgi;
    server {{
        listen {address}:{port} backlog=4096;
        listen {address}:{http2_port} http2 backlog=4096;
        location = /get {{
            if ($arg_size) {{ rewrite ^ /bytes/$arg_size? last; }}
            return 200 \"{body}\";
        }}
        location /bytes/ {{ alias {bodies}/; }}
        location / {{ return 404; }}
    }}
}}
"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(address: &str, core: u32) -> String {
        let (bodies, scratch) = (Path::new("/b"), Path::new("/s"));
        let address = address.parse().expect("an address");
        Nginx { core, address, port: 8080, http2_port: 8081, bodies, scratch }.config()
    }

    #[test]
    fn it_listens_where_it_is_told_on_its_core() {
        let v6 = config("::1", 1);
        assert!(v6.contains("listen [::1]:8080 backlog") && v6.contains("listen [::1]:8081 http2 backlog"));
        assert!(v6.contains("worker_cpu_affinity 10;"));
        assert!(config("10.0.0.1", 0).contains("worker_cpu_affinity 1;"));
    }
}
