//! Compares what callers met with what was done to the mesh.

use std::{collections::BTreeMap, fs, time::Duration};

use serde_json::Value;
use wabe_testkit::TestMesh;
use wabe_tests::{eventually, eventually_within};

use super::{INTRUSIONS, PAUSE, RATE, STAYING, faults::Excuse};

/// Descriptors and memory of the mesh's own processes before anything happened.
pub(super) struct Judge {
    descriptors: BTreeMap<&'static str, usize>,
    pins: usize,
}

const ROLES: [&str; 3] = ["keeper", "agent", "dns"];
/// Descriptors that come and go: a client's connection, a file that is being read.
const SLACK: usize = 8;
/// Resident memory that no process of the mesh may exceed, in KiB. A debug build.
const MEMORY: u64 = 200 << 10;

impl Judge {
    pub(super) fn new(mesh: &TestMesh) -> Self {
        Self { descriptors: descriptors(mesh), pins: pins(mesh) }
    }

    /// What no fault explains.
    pub(super) fn violations(&self, mesh: &TestMesh, excuses: &[Excuse], seconds: u64) -> Vec<String> {
        let mut violations = Vec::new();
        let (failures, load) = said(mesh, "shop/load");
        println!("load: {load}");
        if load["connections"] != RATE * seconds {
            violations.push(format!("not all were made: {load}"));
        }
        for failure in failures {
            let (began, ended) = (time(&failure["began"]), time(&failure["ended"]));
            if !excuses.iter().any(|excuse| excuse.began <= ended && began <= excuse.ended) {
                violations.push(format!("unexplained: {failure}"));
            }
        }
        let (_, intruder) = said(mesh, "shop/intruder");
        println!("intruder: {intruder}");
        if intruder["by_answer"] != serde_json::json!({}) || intruder["connections"] != INTRUSIONS * seconds {
            violations.push(format!("somebody got in who may not: {intruder}"));
        }
        let (_, ping) = said(mesh, "shop/ping");
        println!("ping: {ping}");
        if ping["errors"] != serde_json::json!([]) || ping["echoes"] != STAYING * (seconds * 1000 / PAUSE) {
            violations.push(format!("bytes were lost: {ping}"));
        }
        let (failures, ask) = said(mesh, "shop/ask");
        println!("ask: {ask}");
        if ask["errors"] != 0 || ask["datagrams"] != seconds * 1000 / PAUSE {
            violations.push(format!("datagrams were lost: {ask}, {failures:?}"));
        }
        violations
    }

    /// The mesh's processes have what they had.
    pub(super) fn nothing_leaked(&self, mesh: &TestMesh) {
        let mut now = BTreeMap::new();
        eventually("as few descriptors as before", || {
            now = descriptors(mesh);
            self.descriptors.iter().all(|(role, before)| now[role] <= before + SLACK).then_some(())
        });
        println!("descriptors: {:?} before, {now:?} after", self.descriptors);
        assert_eq!(pins(mesh), self.pins, "links and maps that are pinned");
        for role in ROLES {
            let resident = memory(mesh, role);
            println!("{role}: {} MiB resident", resident >> 10);
            assert!(resident < MEMORY, "{role} has {resident} KiB");
        }
    }
}

/// The lines of failures, and the last line.
fn said(mesh: &TestMesh, workload: &str) -> (Vec<Value>, Value) {
    eventually_within(Duration::from_secs(60), &format!("{workload} has said how it went"), || {
        let logs = mesh.wabe(&["logs", workload]);
        let mut lines: Vec<Value> =
            logs.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let last =
            lines.pop().filter(|it| ["connections", "datagrams"].iter().any(|count| it[count].is_u64()))?;
        Some((lines, last))
    })
}

fn time(value: &Value) -> u64 {
    value.as_u64().expect("a time")
}

fn descriptors(mesh: &TestMesh) -> BTreeMap<&'static str, usize> {
    let count = |role| {
        let pid = eventually("it runs", || mesh.machine().role(role));
        fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
    };
    ROLES.into_iter().map(|role| (role, count(role))).collect()
}

/// Links and maps that are pinned.
fn pins(mesh: &TestMesh) -> usize {
    let count = |folder: &str| {
        let folder = format!("/run/wabe/{}/bpf/{folder}", mesh.name());
        fs::read_dir(folder).expect("pins").count()
    };
    count("maps") + count("links")
}

fn memory(mesh: &TestMesh, role: &str) -> u64 {
    let pid = eventually("it runs", || mesh.machine().role(role));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
