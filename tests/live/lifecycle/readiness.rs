//! Readiness probes: only what they find ready gets connections.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use wabe_tests::{
    eventually,
    manifest::{Service, Workload, all},
    status::{until_endpoints, workload},
    testkit::testbox,
};

use super::mesh;

/// A file by which a test tells a workload whether to be ready, removed when dropped.
struct Switch(PathBuf);

impl Switch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("{}-{name}", mesh().name())))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }

    fn on(&self) {
        fs::write(&self.0, "").expect("a temporary file");
    }

    fn off(&self) {
        fs::remove_file(&self.0).expect("our own file");
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// Applies a server with this probe, checks that it has no connections until `on`, has them, and none after `off`.
fn follows_the_probe(name: &str, command: &[&str], probe: Value, on: impl FnOnce(), off: impl FnOnce()) {
    let server = Workload::new(name, command)
        .with("ports", json!([{ "name": "main", "port": 8080 }]))
        .with("readiness", probe);
    let _ = mesh().apply(&all(&[&server, &Service::new(name)])).success();
    let (namespace, service) = name.split_once('/').expect("a name");
    let target = format!("{service}.{namespace}:80");
    let connect = || mesh().testbox("shop/caller", &["connect", &target, "--no-read"]).success().json();
    eventually("it says why it is not ready", || {
        workload(mesh(), name)["instances"][0]["trouble"].is_string().then_some(())
    });
    assert_eq!(connect()["errno"], "EHOSTUNREACH");
    on();
    until_endpoints(mesh(), name, 1);
    assert_eq!(connect()["ok"], true);
    off();
    until_endpoints(mesh(), name, 0);
    assert_eq!(connect()["errno"], "EHOSTUNREACH");
}

fn fast(mut probe: Value) -> Value {
    probe["period"] = json!("100ms");
    probe["failureThreshold"] = json!(2);
    probe
}

#[test]
fn by_a_command() {
    let switch = Switch::new("exec");
    let probe = fast(json!({ "exec": { "command": ["test", "-e", switch.path()] } }));
    let server = ["$TESTBOX", "id", "--listen", "[::]:8080"];
    follows_the_probe("ready/exec", &server, probe, || switch.on(), || switch.off());
}

#[test]
fn by_http() {
    let switch = Switch::new("http");
    let script = format!(
        "import http.server, os, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == '/ready' and os.path.exists('{}') else 503)
        self.end_headers()
    def log_message(self, *args):
        pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(('::', 8080), Handler).serve_forever()",
        switch.path()
    );
    let probe = fast(json!({ "http": { "port": "main", "path": "/ready" } }));
    let server = ["/usr/bin/python3", "-c", &script];
    follows_the_probe("ready/http", &server, probe, || switch.on(), || switch.off());
}

#[test]
fn by_a_tcp_connection() {
    let testbox = testbox();
    let listen = [testbox.to_str().expect("UTF-8"), "id", "--listen", "[::]:8080"];
    let server = std::cell::RefCell::new(None);
    let on = || *server.borrow_mut() = Some(mesh().start_exec("ready/tcp", &listen));
    let off = || *server.borrow_mut() = None;
    let probe = fast(json!({ "tcp": { "port": 8080 } }));
    follows_the_probe("ready/tcp", &["sleep", "infinity"], probe, on, off);
}
