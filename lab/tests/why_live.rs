//! A real load on loopback, looked at by the real profiler. Needs root, and fails without `perf`, `nginx` and `wrk`.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use wabe_lab::{
    check,
    results::{Core, Latency, Load, Machine},
    tools::{self, Tool, nginx},
    why::{self, Look, Role, Roles},
};

/// Longest wait for nginx to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// An nginx of the lab, ended with its owner.
struct Server {
    nginx: Child,
    port: u16,
    http2_port: u16,
    folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let tool = tool("nginx");
        let folder = tempfile::tempdir().expect("a folder");
        let bodies = folder.path().join("bytes");
        nginx::write_bodies(&bodies).expect("bodies");
        let (port, http2_port) = free_ports();
        let address = Ipv4Addr::LOCALHOST.into();
        let scratch = folder.path();
        let config = nginx::Nginx { core: 1, address, port, http2_port, bodies: &bodies, scratch };
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config.config()).expect("written");
        let mut command = Command::new(&tool.path);
        let nginx = command.args(["-e", "stderr", "-c"]).arg(&file).stdin(Stdio::null()).spawn();
        let server = Self { nginx: nginx.expect("nginx starts"), port, http2_port, folder };
        server.wait();
        server
    }

    fn wait(&self) {
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.http2_port)).is_err() {
            assert!(Instant::now() < end, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The master takes its worker with it on this signal only.
        let process = self.nginx.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &process]).status();
        let _ = self.nginx.wait();
    }
}

fn tool(name: &str) -> Tool {
    tools::find(name).unwrap_or_else(|missing| panic!("{missing}"))
}

fn free_ports() -> (u16, u16) {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let (one, other) = (listen(), listen());
    let port = |it: &TcpListener| it.local_addr().expect("bound").port();
    (port(&one), port(&other))
}

/// Looks while `wrk` loads.
fn looks(server: &Server, scratch: &Path) -> (Vec<Look>, Roles, f64) {
    let (perf, wrk) = (tool("perf"), tool("wrk"));
    let args = ["-t1", "-c8", "-d4s", &server.url("/get")].map(str::to_owned);
    let mut client = Command::new("taskset");
    let client = client.args(["-c", "0"]).arg(&wrk.path).args(args).stdout(Stdio::null()).spawn();
    let mut client = client.expect("wrk starts");
    std::thread::sleep(Duration::from_millis(300));
    let roles = Roles::with_children(&[(server.nginx.id(), Role::Server), (client.id(), Role::Client)]);
    let looks = why::profile(&perf, Duration::from_secs(1), &[0, 1], scratch);
    let calls = why::calls(&perf, &roles, Duration::from_millis(300));
    client.wait().expect("wrk ends");
    (looks.expect("looks"), roles, calls.expect("counted"))
}

#[test]
fn a_profile_of_a_load_shows_the_network_and_both_sides() {
    let server = Server::start();
    let (looks, roles, calls) = looks(&server, server.folder.path());
    let seen: Vec<&str> = looks.iter().map(|look| why::classify(look, &roles)).collect();
    for class in ["TCP/IP", "server", "client", "wake-ups and scheduling"] {
        assert!(seen.contains(&class), "{class} is not among {} looks", seen.len());
    }
    // Neither rules nor a mesh are on this way.
    let strange = seen.iter().filter(|it| ["TLS", "proxy in user space"].contains(it)).count();
    assert_eq!(strange, 0);
    assert!(calls > 100.0, "{calls} system calls a second");
    assert!(!server.folder.path().join("perf.data").exists());

    let core = Core { user: 0.4, system: 0.4, softirq: 0.2, ..Core::default() };
    let machine = Machine { client: core, server: core, switches: 500, ..Machine::default() };
    let told = why::breakdown("none", "p", &looks, &roles, &load(10_000), &machine).expect("a breakdown");
    let sum: f64 = told.shares.iter().map(|it| it.share).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    assert!((told.per_request - 200.0).abs() < 1e-9 && (told.switches - 0.05).abs() < 1e-9);
    println!("{told:#?}\n{}", why::could_be_saved(&told).sentence);
}

#[test]
fn wrk_and_h2load_are_believed_for_right_answers_only() {
    let server = Server::start();
    let (wrk, h2load) = (tool("wrk"), tool("h2load"));
    let second = Duration::from_secs(1);
    for path in ["/get", "/bytes/4096"] {
        assert!(check::wrk(&[], &wrk, &server.url(path), 4, second, 0).expect("right answers") > 100.0);
    }
    let http2 = format!("http://127.0.0.1:{}", server.http2_port);
    let rate = check::h2load(&["nice"], &h2load, &format!("{http2}/get"), 4, second, 0);
    assert!(rate.expect("right answers") > 100.0);

    let error = check::wrk(&[], &wrk, &server.url("/none"), 1, second, 0).expect_err("404");
    assert!(format!("{error:#}").contains("Non-2xx"), "{error:#}");
    let error = check::h2load(&[], &h2load, &format!("{http2}/none"), 1, second, 0).expect_err("404");
    assert!(format!("{error:#}").contains("failed"), "{error:#}");
    let nobody = format!("http://127.0.0.1:{}/get", free_ports().0);
    assert!(check::wrk(&[], &wrk, &nobody, 1, second, 0).is_err());
    assert!(check::h2load(&[], &h2load, &nobody, 1, second, 0).is_err());
}

fn load(answered: u64) -> Load {
    let latency = Latency {
        count: 0,
        mean: 0.0,
        deviation: 0.0,
        min: 0,
        p5: 0,
        p25: 0,
        p50: 0,
        p75: 0,
        p90: 0,
        p95: 0,
        p99: 0,
        p999: 0,
        max: 0,
        histogram: String::new(),
    };
    Load {
        intended_rate: None,
        sent: answered,
        answered,
        failed: std::collections::BTreeMap::new(),
        seconds: 1.0,
        bytes: 0,
        latency,
        lateness: None,
        set_up: None,
        user: 0.0,
        system: 0.0,
    }
}
