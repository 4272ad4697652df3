//! An nginx of the lab, and two Envoys in one, on loopback.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use wabe_lab::tools::{self, Tool, nginx};

/// Longest wait for a program to listen.
const PATIENCE: Duration = Duration::from_secs(20);
/// As who a server runs that is not root: `nobody`.
pub const NOBODY: u32 = 65534;

/// A program that is ended with its owner.
pub struct Running {
    child: Child,
    /// The port for HTTP/1.1.
    pub port: u16,
    /// The port for HTTP/2.
    pub http2_port: u16,
    /// Its files.
    pub folder: tempfile::TempDir,
}

impl Running {
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn wait(self) -> Self {
        let end = Instant::now() + PATIENCE;
        for port in [self.port, self.http2_port] {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
                assert!(Instant::now() < end, "nothing listens at {port}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not SIGKILL: the master of nginx must take its worker with it.
        let process = self.process().to_string();
        let _ = Command::new("kill").args(["-TERM", &process]).status();
        let _ = self.child.wait();
    }
}

/// nginx as this user.
pub fn nginx(user: u32) -> Running {
    let tool = tool("nginx");
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("ours");
    let bodies = folder.path().join("bytes");
    nginx::write_bodies(&bodies).expect("bodies");
    let (port, http2_port) = free_ports();
    let (address, scratch) = (Ipv4Addr::LOCALHOST.into(), folder.path());
    let config = nginx::Nginx { core: 1, address, port, http2_port, bodies: &bodies, scratch };
    let file = folder.path().join("nginx.conf");
    fs::write(&file, config.config()).expect("written");
    let mut command = Command::new(&tool.path);
    command.args(["-e", "stderr", "-c"]).arg(&file).stdin(Stdio::null()).uid(user).gid(user);
    Running { child: command.spawn().expect("nginx starts"), port, http2_port, folder }.wait()
}

/// Envoy with two listeners, one in front of the other with TLS between them, in front of a server. It answers at `port`;
/// `http2_port` is that of the TLS listener.
pub fn envoys(tool: &Tool, server: &Running) -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    let (port, http2_port) = free_ports();
    let file = folder.path().join("envoy.json");
    fs::write(&file, config(folder.path(), [port, http2_port, server.port])).expect("written");
    let mut command = Command::new("taskset");
    command.args(["-c", "1"]).arg(&tool.path).arg("-c").arg(&file);
    command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "error"]).stdin(Stdio::null());
    Running { child: command.spawn().expect("Envoy starts"), port, http2_port, folder }.wait()
}

fn config(folder: &Path, [front, back, server]: [u16; 3]) -> String {
    const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";
    const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters";
    let own = rcgen::generate_simple_self_signed(["lab".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    fs::write(&certificate, pem("CERTIFICATE", own.cert.der())).expect("written");
    fs::write(&key, pem("PRIVATE KEY", own.signing_key.serialized_der())).expect("written");
    let address = |port| serde_json::json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let tls = |context: &str, common: serde_json::Value| {
        serde_json::json!({"name": "tls", "typed_config": {
            "@type": format!("{TLS}.{context}"), "common_tls_context": common}})
    };
    let listener = |port, cluster: &str, tls: Option<serde_json::Value>| {
        let router = serde_json::json!({"@type": format!("{FILTERS}.http.router.v3.Router")});
        let http = serde_json::json!({
            "@type": format!("{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": cluster,
            "http_filters": [{"name": "router", "typed_config": router}],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}]}]}});
        let filters = [serde_json::json!({"name": "http", "typed_config": http})];
        serde_json::json!({"address": address(port), "filter_chains": [{"transport_socket": tls, "filters": filters}]})
    };
    let cluster = |name: &str, port, tls: Option<serde_json::Value>| {
        serde_json::json!({"name": name, "type": "STATIC", "transport_socket": tls,
            "load_assignment": {"cluster_name": name, "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]}})
    };
    let files = serde_json::json!({"tls_certificates": [
        {"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}}]});
    let listeners =
        [listener(front, "back", None), listener(back, "server", Some(tls("DownstreamTlsContext", files)))];
    let to_back = Some(tls("UpstreamTlsContext", serde_json::json!({})));
    let clusters = [cluster("back", back, to_back), cluster("server", server, None)];
    serde_json::json!({"static_resources": {"listeners": listeners, "clusters": clusters}}).to_string()
}

/// RFC 7468.
fn pem(what: &str, bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (index, part) in bytes.chunks(3).enumerate() {
        let at = |index: usize| u32::from(part.get(index).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit > part.len() { '=' } else { DIGITS[value].into() });
        }
        if index % 16 == 15 {
            text.push('\n');
        }
    }
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", text.trim_end())
}

pub fn tool(name: &str) -> Tool {
    tools::find(name).unwrap_or_else(|missing| panic!("{missing}"))
}

pub fn free_ports() -> (u16, u16) {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let (one, other) = (listen(), listen());
    let port = |it: &TcpListener| it.local_addr().expect("bound").port();
    (port(&one), port(&other))
}
