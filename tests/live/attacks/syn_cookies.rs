//! A flood makes the kernel answer SYNs by cookies: then the receiver is asked twice about each connection, and the
//! ticket must be there both times.

use std::{net::SocketAddr, process::Command};

use serde_json::json;
use wabe_testkit::TestMesh;
use wabe_tests::{
    eventually,
    facts::{Facts, answer, in_network_of, until_nothing_lives},
};

use super::{ATTACKER, FRIEND, VICTIM};

pub(super) fn identities_survive_syn_cookies(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    let pid = facts.pid(VICTIM);
    let sent = || counter(mesh, pid, "SyncookiesSent");
    // 2: cookies for every SYN, flood or not. In the victim's namespace only.
    set(mesh, pid, "2");
    let before = sent();
    for address in facts.addresses(VICTIM) {
        let target = SocketAddr::from((address, 8080)).to_string();
        let args = ["connect", &target, "--count", "1000", "--parallel", "8", "--summary"];
        let summary = mesh.testbox(FRIEND, &args).success().json();
        assert_eq!(summary["by_answer"], json!({ "victim/0": 1000 }), "{summary}");
        let refused = mesh.testbox(ATTACKER, &args).success().json();
        assert_eq!(refused["by_errno"], json!({ "EPERM": 1000 }), "{refused}");
        let stranger = in_network_of(mesh, facts.pid(FRIEND), &["connect", &target, "--timeout", "3000"]);
        assert_eq!(answer(&stranger), "ECONNREFUSED");
    }
    assert!(sent() - before >= 2000, "cookies were not used");
    set(mesh, pid, "1");
    eventually("the flows name the friend", || {
        let lines = mesh.wabe(&["flows", "-o", "json"]).success().json_lines();
        let mut accepted = lines.iter().filter(|it| {
            it["kind"] == "opened"
                && it["to"]["workload"] == VICTIM
                && it["reporters"].as_array().is_some_and(|it| it.contains(&json!("destination")))
        });
        let first = accepted.next()?;
        assert_eq!(first["from"]["workload"], FRIEND, "{first}");
        accepted.all(|it| it["from"]["workload"] == FRIEND).then_some(())
    });
    // No ticket is left behind by the second look-up.
    until_nothing_lives(mesh);
}

fn set(mesh: &TestMesh, pid: u64, value: &str) {
    let script = format!("echo {value} > /proc/sys/net/ipv4/tcp_syncookies");
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{pid}/ns/net")).args(["sh", "-c", &script]);
    let _ = mesh.machine().run(command).success();
}

/// A counter of TCP's in the namespace of that process.
fn counter(mesh: &TestMesh, pid: u64, name: &str) -> u64 {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{pid}/ns/net")).args(["cat", "/proc/thread-self/net/netstat"]);
    let text = mesh.machine().run(command).success().stdout;
    let mut tcp = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (tcp.next().expect("names"), tcp.next().expect("values"));
    let at = names.split(' ').position(|it| it == name).expect("a known counter");
    values.split(' ').nth(at).expect("a value").parse().expect("a number")
}
