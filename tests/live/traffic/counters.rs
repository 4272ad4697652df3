//! Live connections are counted exactly, however they end.

use std::process::Command;

use wabe_testkit::TestMesh;
use wabe_tests::{
    eventually,
    facts::{Facts, until_all, until_nothing_lives},
};

use super::CALLER;

pub(super) fn exactly_zero_after_10_000_mixed_connections(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    let workload = |name: &str, port: u16| format!("{}:{port}", facts.addresses(name)[0]);
    let service = |name: &str| format!("[{}]:80", facts.service(name)[1]);
    let burst = |target: &str, count: &str, options: &[&str]| {
        let args =
            [&["connect", target, "--count", count, "--parallel", "50", "--summary"], options].concat();
        mesh.testbox(CALLER, &args).success().json()
    };
    let in_order = burst(&service("s/weighted"), "2500", &[]);
    assert_eq!(in_order["by_errno"], serde_json::json!({}));
    // Closing with the answer unread resets.
    let reset = burst(&service("s/web"), "2000", &["--no-read"]);
    assert_eq!(reset["by_errno"], serde_json::json!({}));
    let nobody_listens = burst(&workload("s/web", 79), "1000", &[]);
    assert_eq!(nobody_listens["by_errno"]["ECONNREFUSED"], 1000);
    let refused = burst(&service("s/closed"), "1000", &[]);
    assert_eq!(refused["by_errno"]["EPERM"], 1000);
    frozen(mesh, &facts, &burst);
    killed_callers(mesh, &workload("s/killed", 8080));
    killed_server(mesh, &facts, &workload("s/killed", 8080));
    until_nothing_lives(mesh);
}

/// A server that does not run answers until its queue is full, then lets callers time out.
fn frozen(mesh: &TestMesh, facts: &Facts, burst: &impl Fn(&str, &str, &[&str]) -> serde_json::Value) {
    let pid = facts.pid("s/frozen");
    let target = format!("{}:8080", facts.addresses("s/frozen")[0]);
    signal("-STOP", pid);
    let summary = burst(&target, "1500", &["--no-read", "--timeout", "300"]);
    signal("-CONT", pid);
    assert!(summary["by_errno"]["timeout"].as_u64().is_some_and(|it| it > 0), "nobody timed out: {summary}");
    until_all(mesh, "s/frozen", true);
}

/// 1000 connections of a process that is killed.
fn killed_callers(mesh: &TestMesh, target: &str) {
    let script = format!("echo $$; exec $0 hold {target} --count 1000");
    let testbox = wabe_testkit::testbox();
    let command = ["sh", "-c", &script, testbox.to_str().expect("a path in UTF-8")];
    let mut hold = mesh.start_exec(CALLER, &command);
    let pid = hold.next_line().parse().expect("a process id");
    assert_eq!(hold.next_json()["open"], 1000);
    let live: Vec<_> = Facts::of(mesh).live().into_iter().filter(|it| it.0.contains("s/killed")).collect();
    assert_eq!(live[0].1, 1000, "they are counted while they live");
    signal("-KILL", pid);
    let status = hold.finish();
    assert!(!status.success(), "the exit status is passed on: {status}");
}

/// 1000 connections to a process that is killed; it is started again.
fn killed_server(mesh: &TestMesh, facts: &Facts, target: &str) {
    let mut hold = mesh.start_testbox(CALLER, &["hold", target, "--count", "1000"]);
    assert_eq!(hold.next_json()["open"], 1000);
    signal("-KILL", facts.pid("s/killed"));
    let mut alive = serde_json::Value::Null;
    eventually("all connections to a killed server end", || {
        hold.send("count");
        alive = hold.next_json()["alive"].clone();
        (alive == 0).then_some(())
    });
    let _ = hold.finish();
    until_all(mesh, "s/killed", true);
}

fn signal(name: &str, pid: u64) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status().expect("kill(1) is there");
    assert!(status.success(), "kill {name} {pid}: {status}");
}
