//! Who has no stamp has no identity, wherever its packets come from.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    process::{Command, Stdio},
};

use wabe_testkit::{TestMesh, testbox};
use wabe_tests::{
    eventually,
    facts::{Facts, answer, call, call_from_host, in_network_of},
};

use super::{ATTACKER, FRIEND, OPEN, VICTIM};

pub(super) fn the_friend_is_admitted_and_nobody_else(mesh: &TestMesh) {
    for address in Facts::of(mesh).addresses(VICTIM) {
        assert_eq!(call(mesh, FRIEND, (address, 8080)), "victim/0");
        assert_eq!(call(mesh, ATTACKER, (address, 8080)), "EPERM");
        assert_eq!(call(mesh, super::RAW, (address, 8080)), "EPERM");
    }
    told(mesh, "policy_no_match", |line| line["from"]["workload"] == ATTACKER);
}

pub(super) fn a_process_on_the_host_has_no_identity(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    let before = facts.refusals("stranger");
    for workload in [VICTIM, OPEN] {
        for address in facts.addresses(workload) {
            assert_eq!(call_from_host(mesh, (address, 8080)), "ECONNREFUSED", "{workload}");
        }
    }
    assert!(Facts::of(mesh).refusals("stranger") >= before + 4, "each is counted");
    told(mesh, "stranger", |line| {
        line["to"]["workload"] == OPEN && line["reporters"] == serde_json::json!(["destination"])
    });
}

pub(super) fn entering_a_namespace_gives_no_identity(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    for workload in [VICTIM, OPEN] {
        for address in facts.addresses(workload) {
            let target = SocketAddr::from((address, 8080)).to_string();
            let finished = in_network_of(mesh, facts.pid(FRIEND), &["connect", &target, "--timeout", "3000"]);
            assert_eq!(answer(&finished), "ECONNREFUSED", "{workload} with the friend's address");
        }
    }
    // A workload's virtual addresses mean nothing outside of its cgroup.
    let target = format!("{}:80", facts.service(VICTIM)[0]);
    let finished = in_network_of(mesh, facts.pid(FRIEND), &["connect", &target, "--timeout", "3000"]);
    assert_ne!(answer(&finished), "victim/0");
}

pub(super) fn another_cgroup_in_the_friends_namespace_is_a_forgery(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    let before = facts.refusals("forged_source");
    let cgroup = cgroup_of(facts.pid(ATTACKER));
    let namespace = format!("--net=/proc/{}/ns/net", facts.pid(FRIEND));
    let connect = |address: IpAddr| {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > $0/cgroup.procs && exec nsenter $1 $2 connect $3 --timeout 3000"]);
        command.args([&cgroup, &namespace]).arg(testbox()).arg(SocketAddr::from((address, 8080)).to_string());
        answer(&mesh.machine().run(command))
    };
    for family in [0, 1] {
        // The stamp is the attacker's: policy knows it for what it is.
        assert_eq!(connect(facts.addresses(VICTIM)[family]), "EPERM");
        // Where everybody is admitted, the ticket shows the attacker and the packet the friend.
        assert_eq!(connect(facts.addresses(OPEN)[family]), "ECONNREFUSED");
    }
    assert!(Facts::of(mesh).refusals("forged_source") >= before + 2, "told as a forgery");
    told(mesh, "forged_source", |line| line["from"]["workload"] == ATTACKER);
}

pub(super) fn a_socket_made_outside_has_no_identity(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    // Made by root in the friend's namespace but outside of its cgroup, then handed to the friend as stdin.
    let friends = wabe_testkit::NetworkNamespace::of_process(facts.pid(FRIEND)).expect("it runs");
    for address in facts.addresses(VICTIM).into_iter().chain(facts.addresses(OPEN)) {
        let socket = friends.run(|| socket_for(address));
        let mut command = mesh.machine().wabe_command(&["exec", FRIEND, "--"]);
        command.arg(testbox()).args(["inherited", &SocketAddr::from((address, 8080)).to_string()]);
        let finished = mesh.machine().run_with_stdin(command, Stdio::from(socket));
        let got = answer(&finished);
        assert!(["EPERM", "ECONNREFUSED"].contains(&got.as_str()), "{address}: {got}");
    }
}

/// A TCP socket that has done nothing yet.
fn socket_for(address: IpAddr) -> std::os::fd::OwnedFd {
    let domain =
        if address.is_ipv6() { rustix::net::AddressFamily::INET6 } else { rustix::net::AddressFamily::INET };
    rustix::net::socket(domain, rustix::net::SocketType::STREAM, None).expect("a socket")
}

pub(super) fn a_listener_made_outside_is_guarded_all_the_same(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{}/ns/net", facts.pid(VICTIM))).arg(testbox());
    command.args(["id", "--listen", "[::]:9999"]).env("WABE_WORKLOAD", "outside").env("WABE_REPLICA", "0");
    let mut listener = mesh.machine().start(command);
    let _ = listener.next_json();
    for address in facts.addresses(VICTIM) {
        assert_eq!(call(mesh, FRIEND, (address, 9999)), "outside/0");
        assert_eq!(call(mesh, ATTACKER, (address, 9999)), "EPERM");
        assert_eq!(call_from_host(mesh, (address, 9999)), "ECONNREFUSED");
    }
}

/// Waits for a line of `wabe flows` that tells this refusal.
fn told(mesh: &TestMesh, reason: &str, fits: impl Fn(&serde_json::Value) -> bool) {
    eventually(&format!("a refusal for {reason}"), || {
        let lines = mesh.wabe(&["flows", "-o", "json"]).success().json_lines();
        lines.iter().any(|line| line["reason"] == reason && fits(line)).then_some(())
    });
}

/// The folder of a process's cgroup.
fn cgroup_of(pid: u64) -> String {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let path =
        groups.lines().find_map(|line| line.strip_prefix("0::")).expect("it is in a cgroup of version 2");
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).expect("it is mounted");
    format!("{}{path}", mount.split(' ').nth(1).expect("a mount has a place"))
}
