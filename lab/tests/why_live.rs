//! Real loads on loopback, looked at by the real profiler, and our generator's peers. Needs root, and the network for Envoy,
//! once; fails without `perf`, `nginx`, `wrk` and `h2load`.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use wabe_lab::{
    check, tools,
    why::{self, Look, Role, Roles},
};

#[path = "why/server.rs"]
mod server;

use server::{NOBODY, Running, envoys, free_ports, nginx, tool};

const SECOND: Duration = Duration::from_secs(1);

/// Looks for a second while `wrk` loads; also system calls per second.
fn looks(url: &str, others: &[(u32, Role)], scratch: &Path) -> (Vec<Look>, Roles, f64) {
    let (perf, wrk) = (tool("perf"), tool("wrk"));
    let mut client = Command::new("taskset");
    let client = client.args(["-c", "0"]).arg(&wrk.path).args(["-t1", "-c8", "-d60s", url]);
    let mut client = client.stdout(Stdio::null()).spawn().expect("wrk starts");
    std::thread::sleep(SECOND / 3);
    let roles = Roles::with_children(&[others, &[(client.id(), Role::Client)]].concat());
    let looks = why::profile(&perf, SECOND, &[0, 1], scratch);
    let calls = why::calls(&perf, &roles, SECOND / 3);
    // It was to last longer than reading what perf saw, however busy the machine.
    client.kill().and_then(|()| client.wait()).expect("wrk ends");
    (looks.expect("looks"), roles, calls.expect("counted"))
}

/// How often each class was seen.
fn counts(looks: &[Look], roles: &Roles) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for look in looks {
        *counts.entry(why::classify(look, roles)).or_default() += 1;
    }
    println!("{counts:#?}");
    counts
}

#[test]
fn a_profile_of_a_load_shows_the_network_and_both_sides() {
    let server = nginx(0);
    let scratch = server.folder.path();
    let (looks, roles, calls) = looks(&server.url("/get"), &[(server.process(), Role::Server)], scratch);
    let seen = counts(&looks, &roles);
    for class in ["TCP/IP", "server", "client", "wake-ups and scheduling"] {
        assert!(seen.contains_key(class), "{class} is not among {} looks", looks.len());
    }
    // No proxy is on this way.
    assert!(!seen.contains_key("TLS") && !seen.contains_key("proxy in user space"));
    assert!(calls > 100.0, "{calls} system calls a second");
    assert!(!scratch.join("perf.data").exists());
}

#[test]
fn the_tls_of_the_pinned_envoy_is_told_apart_from_the_rest_of_it() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("envoy-for-why");
    let tool = tools::envoy(&folder).unwrap_or_else(|error| panic!("{error:#}"));
    let server = nginx(0);
    let proxy = envoys(&tool, &server);
    let others = [(server.process(), Role::Server), (proxy.process(), Role::Proxy)];
    // Large bodies: most of Envoy's own time is then spent on encryption.
    let (looks, mut roles, _) = looks(&proxy.url("/bytes/1048576"), &others, proxy.folder.path());
    assert!(roles.know_envoy(&tool));
    let seen = counts(&looks, &roles);
    let of = |class| seen.get(class).copied().unwrap_or_default();
    let (tls, rest) = (of("TLS"), of("proxy in user space"));
    assert!(rest > 0 && tls * 10 > tls + rest, "TLS {tls}, rest of the proxy {rest}");
}

#[test]
fn wrk_and_h2load_are_believed_for_right_answers_only() {
    // Not as root, as in a workload of a mesh.
    let server: Running = nginx(NOBODY);
    let (wrk, h2load) = (tool("wrk"), tool("h2load"));
    for path in ["/get", "/bytes/4096", "/bytes/1048576"] {
        assert!(check::wrk(&[], &wrk, &server.url(path), 4, SECOND, 0).expect("right answers") > 10.0);
    }
    let http2 = format!("http://127.0.0.1:{}", server.http2_port);
    let rate = check::h2load(&["nice"], &h2load, &format!("{http2}/get"), 4, SECOND, 0);
    assert!(rate.expect("right answers") > 10.0);

    let error = check::wrk(&[], &wrk, &server.url("/none"), 1, SECOND, 0).expect_err("404");
    assert!(format!("{error:#}").contains("Non-2xx"), "{error:#}");
    let error = check::h2load(&[], &h2load, &format!("{http2}/none"), 1, SECOND, 0).expect_err("404");
    assert!(format!("{error:#}").contains("failed"), "{error:#}");
    let nobody = format!("http://127.0.0.1:{}/get", free_ports().0);
    assert!(check::wrk(&[], &wrk, &nobody, 1, SECOND, 0).is_err());
    assert!(check::h2load(&[], &h2load, &nobody, 1, SECOND, 0).is_err());
}
