//! The short cut: packets between workloads pass from interface to interface, and whatever can't be passed so goes
//! through the node's stack instead of being lost.

use std::{net::SocketAddr, process::Command, time::Duration};

use serde_json::{Value, json};
use wabe_testkit::{Finished, TestMesh, testbox};
use wabe_tests::{
    facts::{Facts, call},
    manifest::{Service, Workload, all},
    steps,
};

const CALLER: &str = "a/caller";
const SERVER: &str = "s/server";

#[test]
fn shortcut() {
    let mesh = TestMesh::up(&all(&[
        &Workload::idle(CALLER),
        &Workload::server(SERVER),
        &Workload::new("s/tcp", &["$TESTBOX", "tcp-semantics", "serve", "--listen", "[::]:80"])
            .with("readiness", json!({ "tcp": { "port": 80 } })),
        &Service::new("s/tcp")
            .with("selector", json!({ "app": "tcp" }))
            .with("ports", json!([{ "port": 80 }])),
    ]));
    steps::run(
        &mesh,
        &wabe_tests::steps![
            packets_pass_the_node_by_in_both_families_and_directions,
            nothing_of_the_mesh_comes_in_from_the_host,
            what_is_too_large_for_the_way_gets_through,
            switched_off_at_once_and_on_again,
            tcp_is_the_same_without_it,
            a_vanished_interface_is_an_error_and_no_silence,
        ],
    );
    mesh.down();
}

fn packets_pass_the_node_by_in_both_families_and_directions(mesh: &TestMesh) {
    let before = [CALLER, SERVER].map(|it| delivered_by_the_node(mesh, it));
    for address in Facts::of(mesh).addresses(SERVER) {
        let target = SocketAddr::from((address, 8080)).to_string();
        let called = mesh.testbox(CALLER, &["connect", &target, "--count", "50", "--summary"]).success();
        assert_eq!(called.json_lines()[0]["by_answer"]["server/0"], 50, "{called}");
        assert_eq!(explained(mesh, (address, 8080).into()), json!(true));
    }
    let after = [CALLER, SERVER].map(|it| delivered_by_the_node(mesh, it));
    // A hundred connections have hundreds of packets each way; a kernel says little by itself, about multicast groups.
    for (before, after) in before.into_iter().zip(after) {
        assert!(after - before < 10, "the node's stack delivered {} packets", after - before);
    }
}

fn nothing_of_the_mesh_comes_in_from_the_host(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    for (caller, server) in facts.addresses(CALLER).into_iter().zip(facts.addresses(SERVER)) {
        let before = Facts::of(mesh).refusals("forged_source");
        let mut command = Command::new(testbox());
        command.args(["spoof", &caller.to_string(), &server.to_string(), "8080"]);
        let sent = mesh.machine().run(command).success();
        assert!(sent.json_lines().iter().any(|it| it["ok"] == true), "root may send anything: {sent}");
        let after = Facts::of(mesh).refusals("forged_source");
        assert!(after > before, "a packet as {caller} from the host went on");
    }
}

fn what_is_too_large_for_the_way_gets_through(mesh: &TestMesh) {
    let target = format!("{}:80", Facts::of(mesh).addresses("s/tcp")[0]);
    let interface = interface(mesh, "s/tcp");
    // One segment each, so that packets are as large as the sender thinks the way can take: too large for it now.
    let segments = |most: &str| {
        let set = ["ip", "link", "set", "eth0", "gso_max_segs", most];
        let _ = in_namespace_of(mesh, Facts::of(mesh).pid(CALLER), &set).success();
    };
    segments("1");
    set_link(mesh, &interface, &["mtu", "1300"]);
    check_tcp(mesh, &target, &["--count", "8", "--bytes", "200000"]);
    set_link(mesh, &interface, &["mtu", "1500"]);
    segments("65535");
}

fn switched_off_at_once_and_on_again(mesh: &TestMesh) {
    let server = (Facts::of(mesh).addresses(SERVER)[0], 8080).into();
    switch(mesh, false);
    assert_eq!(explained(mesh, server), json!(false));
    let before = delivered_by_the_node(mesh, SERVER);
    assert_eq!(call(mesh, CALLER, server), "server/0");
    let through_the_stack = delivered_by_the_node(mesh, SERVER);
    assert!(through_the_stack > before, "the node's stack delivered nothing");
    switch(mesh, true);
    assert_eq!(call(mesh, CALLER, server), "server/0");
    assert_eq!(delivered_by_the_node(mesh, SERVER), through_the_stack);
}

fn tcp_is_the_same_without_it(mesh: &TestMesh) {
    switch(mesh, false);
    for address in Facts::of(mesh).service("s/tcp") {
        let target = SocketAddr::from((address, 80)).to_string();
        check_tcp(mesh, &target, &["--count", "32", "--bytes", "65536"]);
    }
    switch(mesh, true);
}

/// Last: the server's interface does not come back.
fn a_vanished_interface_is_an_error_and_no_silence(mesh: &TestMesh) {
    let server = Facts::of(mesh).addresses(SERVER);
    let delete = ["ip", "link", "delete", &interface(mesh, SERVER)];
    let _ = in_namespace_of(mesh, agent(mesh), &delete).success();
    for address in server {
        let gone = call(mesh, CALLER, (address, 8080));
        assert!(["EHOSTUNREACH", "ENETUNREACH"].contains(&gone.as_str()), "no interface: {gone}");
    }
}

/// What `explain` says of the way.
fn explained(mesh: &TestMesh, target: SocketAddr) -> Value {
    mesh.json(&["explain", CALLER, &target.to_string()])["shortCut"].clone()
}

fn switch(mesh: &TestMesh, on: bool) {
    let config = format!(
        "apiVersion: mesh.wabe.dev/v1alpha1\nkind: MeshConfig\nmetadata: {{name: mesh}}\nspec: {{shortCut: {on}}}\n"
    );
    let _ = mesh.apply(&config).success();
}

/// Packets that the node's stack sent to a workload: those of the short cut are not counted at its interface.
fn delivered_by_the_node(mesh: &TestMesh, workload: &str) -> u64 {
    let show = ["ip", "-json", "-statistics", "link", "show", &interface(mesh, workload)];
    let shown = in_namespace_of(mesh, agent(mesh), &show).success().json();
    shown[0]["stats64"]["tx"]["packets"].as_u64().expect("a number")
}

/// The node's end of a workload's pair of interfaces.
fn interface(mesh: &TestMesh, workload: &str) -> String {
    format!("w{}", Facts::of(mesh).instances(workload)[0]["id"])
}

fn set_link(mesh: &TestMesh, interface: &str, what: &[&str]) {
    let command = [&["ip", "link", "set", interface], what].concat();
    let _ = in_namespace_of(mesh, agent(mesh), &command).success();
}

/// The agent runs in the node's network namespace.
fn agent(mesh: &TestMesh) -> u64 {
    mesh.json(&["status"])["agent"].as_u64().expect("a process id")
}

fn in_namespace_of(mesh: &TestMesh, pid: u64, words: &[&str]) -> Finished {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{pid}/ns/net")).args(words);
    mesh.machine().run(command)
}

fn check_tcp(mesh: &TestMesh, target: &str, options: &[&str]) {
    let testbox = testbox();
    let testbox = testbox.to_str().expect("a path in UTF-8");
    let words = [&["exec", CALLER, "--", testbox, "tcp-semantics", "check", target], options].concat();
    let finished = mesh.machine().run_within(mesh.machine().wabe_command(&words), Duration::from_secs(240));
    for line in finished.success().json_lines() {
        assert_eq!(line["ok"], true, "{line}");
    }
}
