//! What a workload can do to the kernel, the mesh and others: nothing.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};
use wabe_testkit::TestMesh;
use wabe_tests::{Applied, eventually, facts::Facts, manifest::Workload};

use super::{ATTACKER, OPEN, RAW, VICTIM};

/// Lines of the box by their kind.
fn attempts(mesh: &TestMesh, from: &str, args: &[&str]) -> BTreeMap<String, Value> {
    let lines = mesh.testbox(from, args).success().json_lines();
    lines.into_iter().map(|line| (line["kind"].as_str().expect("a word").to_owned(), line)).collect()
}

pub(super) fn other_protocols_are_refused(mesh: &TestMesh) {
    let tried = attempts(mesh, ATTACKER, &["sockets"]);
    for (kind, line) in &tried {
        let ours = ["tcp", "udp4"].contains(&kind.as_str());
        assert_eq!(line["ok"], ours, "{line}");
    }
    for kind in ["raw-socket", "raw-socket6", "packet-socket"] {
        assert_eq!(tried[kind]["errno"], "EPERM", "{kind}");
    }
    assert_eq!(tried["udp-lite"]["errno"], "EPROTONOSUPPORT");
    assert!(Facts::of(mesh).refusals("protocol") > 0, "told for what it is");
    // With the right to raw sockets: to those, but not to a second TCP without stamps.
    let tried = attempts(mesh, RAW, &["sockets"]);
    assert_eq!((&tried["raw-socket"]["ok"], &tried["packet-socket"]["ok"]), (&true.into(), &true.into()));
    for kind in ["mptcp", "sctp"] {
        assert_eq!(tried[kind]["ok"], false, "{kind}");
    }
    // A program that asks for MPTCP can't be admitted by it: there is no such socket to connect.
    let target = format!("{}:8080", Facts::of(mesh).addresses(OPEN)[0]);
    for line in mesh.testbox(ATTACKER, &["mptcp", &target]).success().json_lines() {
        assert_eq!(line["ok"], false, "{line}");
    }
}

pub(super) fn privileged_options_are_refused(mesh: &TestMesh) {
    for (kind, line) in attempts(mesh, ATTACKER, &["options"]) {
        assert_eq!(line["errno"], "EPERM", "{kind}");
    }
}

pub(super) fn namespaces_can_not_be_entered(mesh: &TestMesh) {
    let victim = Facts::of(mesh).pid(VICTIM);
    for from in [ATTACKER, RAW] {
        for pid in [victim, keeper(victim)] {
            let tried = attempts(mesh, from, &["setns", &pid.to_string()]);
            assert_eq!(tried.len(), 5);
            for line in tried.values() {
                assert_eq!(line["ok"], false, "{line}");
            }
        }
    }
}

pub(super) fn neither_maps_nor_cgroups_can_be_reached(mesh: &TestMesh) {
    for from in [ATTACKER, RAW] {
        let mounts = mesh.testbox(from, &["mounts"]).success().json_lines();
        let steering: Vec<_> = mounts
            .iter()
            .filter(|it| ["bpf", "cgroup", "cgroup2"].contains(&it["kind"].as_str().unwrap_or_default()))
            .collect();
        assert!(steering.is_empty(), "{steering:?}");
        let folder = format!("/run/wabe/{}", mesh.name());
        for path in ["bpf", "keeper.sock", "agent.sock", "mesh.json", "snapshot.json"] {
            let path = format!("{folder}/{path}");
            assert!(!mesh.exec(from, &["ls", &path]).status.success(), "{from} sees {path}");
        }
        for (path, value) in [("/proc/sys/net/ipv4/ip_forward", "1"), ("/proc/sys/kernel/core_pattern", "x")]
        {
            let script = format!("echo {value} > {path}");
            assert!(!mesh.exec(from, &["sh", "-c", &script]).status.success(), "{from} wrote to {path}");
        }
        for mount in [["bpf", "bpf", "/mnt"], ["cgroup2", "cgroup2", "/mnt"]] {
            let args = [&["mount", "-t"][..], &mount].concat();
            assert!(!mesh.exec(from, &args).status.success(), "{from} mounted {mount:?}");
        }
    }
}

pub(super) fn other_workloads_and_the_mesh_can_not_be_touched(mesh: &TestMesh) {
    let victim = Facts::of(mesh).pid(VICTIM);
    // Names of their own: the log of one that was just deleted may still be there.
    for (pid, name) in [(victim, "a/intruder"), (keeper(victim), "a/rebel")] {
        // Not by `wabe exec`, whose commands may send signals: a workload of the same user as the victim.
        let intrude = ["$TESTBOX", "intrude", &pid.to_string()];
        let intruder = Workload::new(name, &intrude).with("restartPolicy", json!("Never"));
        let _applied = Applied::new(mesh, intruder);
        let tried = eventually("all its attempts", || {
            let said = mesh.wabe(&["logs", name]).stdout;
            let lines: Vec<Value> =
                said.lines().filter_map(|it| serde_json::from_str(it.get(it.find('{')?..)?).ok()).collect();
            Some(lines).filter(|it| it.len() == 6)
        });
        // Where the kernel can't keep signals in, the status must say so, and only processes of one user are reached.
        let warnings = mesh.json(&["status"])["warnings"].to_string();
        let lacks_scopes = warnings.contains("scopes of signals");
        let weaker = |line: &&Value| lacks_scopes && pid == victim && line["kind"] == "signal";
        let succeeded: Vec<_> = tried.iter().filter(|line| line["ok"] == true && !weaker(line)).collect();
        assert!(
            succeeded.is_empty(),
            "done to process {pid} (the victim is {victim}): {succeeded:?}; {warnings}"
        );
    }
}

/// The parent of a workload's process.
fn keeper(pid: u64) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("it has a parent");
    parent.trim().parse().expect("a number")
}
