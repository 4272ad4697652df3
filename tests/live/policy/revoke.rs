//! Live connections follow policy: those that it no longer allows are closed, and no other one.

use std::time::{Duration, Instant};

use serde_json::json;
use wabe_testkit::{Running, TestMesh};
use wabe_tests::{
    facts::{Facts, until_nothing_lives},
    manifest::{Policy, Service, Workload, all},
};

const CALLERS: u64 = 10;
const EACH: u64 = 1000;
/// A hang must fail; how long it took is printed.
const HANG: Duration = Duration::from_secs(10);

/// Ten workloads call ten: half of the callers lose their right.
pub(super) fn twenty_workloads_with_10_000_connections() {
    let mesh = TestMesh::up(&manifests());
    let target = format!("{}:80", Facts::of(&mesh).service("s/servers")[0]);
    let mut callers: Vec<(bool, Running)> = (0..CALLERS)
        .map(|number| {
            let stays = number % 2 == 0;
            let name = format!("{}/c{number}", namespace(stays));
            (stays, mesh.start_testbox(&name, &["hold", &target, "--count", &EACH.to_string()]))
        })
        .collect();
    for (_, caller) in &mut callers {
        let opened = caller.next_json();
        assert_eq!(opened["open"], EACH, "{opened}");
    }
    let live = Facts::of(&mesh).live();
    assert_eq!(live[0], ("connections".into(), CALLERS * EACH));

    let start = Instant::now();
    let changed = mesh.apply(&Policy::new("s/deny", deny("leaves")).to_string()).success();
    let applied = start.elapsed();
    loop {
        let open: u64 = callers.iter_mut().filter(|it| !it.0).map(|it| alive(&mut it.1)).sum();
        if open == 0 {
            break;
        }
        assert!(start.elapsed() < HANG, "{open} connections are still open that policy refuses");
    }
    println!(
        "5 000 of 10 000 connections closed within {:?}; apply took {applied:?}: {}",
        start.elapsed(),
        changed.stdout.trim()
    );
    for (stays, caller) in &mut callers {
        assert_eq!(alive(caller), if *stays { EACH } else { 0 }, "stays: {stays}");
    }
    let live = Facts::of(&mesh).live();
    assert_eq!(live[0], ("connections".into(), CALLERS * EACH / 2), "the rest is still counted");
    for (_, caller) in callers {
        assert!(caller.finish().success());
    }
    until_nothing_lives(&mesh);
    mesh.down();
}

fn manifests() -> String {
    let callers: String = (0..CALLERS)
        .map(|number| Workload::idle(&format!("{}/c{number}", namespace(number % 2 == 0))).to_string())
        .collect();
    let servers = Workload::server("s/servers")
        .with("command", json!(["$TESTBOX", "echo", "--listen", "[::]:8080"]))
        .with("replicas", json!(10));
    callers + &all(&[&servers, &Service::new("s/servers")])
}

fn namespace(stays: bool) -> &'static str {
    if stays { "stays" } else { "leaves" }
}

fn deny(namespace: &str) -> serde_json::Value {
    json!({ "action": "DENY", "rules": [{ "from": [{ "source": { "namespaces": [namespace] } }] }] })
}

fn alive(caller: &mut Running) -> u64 {
    caller.send("count");
    caller.next_json()["alive"].as_u64().expect("a number")
}
