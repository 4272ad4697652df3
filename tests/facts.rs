//! What the mesh says about itself (`wabe status`), and what callers say about the mesh.

use std::{
    net::{IpAddr, SocketAddr},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use wabe_testkit::{Finished, TestMesh, scaled, testbox};

use crate::eventually;

/// What `wabe status -o json` said at one moment.
#[derive(Clone, Debug)]
pub struct Facts(pub Value);

impl Facts {
    /// Asks now.
    #[track_caller]
    pub fn of(mesh: &TestMesh) -> Self {
        Self(mesh.json(&["status"]))
    }

    /// The replicas of a workload (`namespace/name`), in their order, those on their way out included.
    #[track_caller]
    pub fn instances(&self, workload: &str) -> &[Value] {
        let found = list(&self.0["workloads"]).iter().find(|it| it["name"] == workload);
        found.map_or_else(|| panic!("no workload {workload}: {self:?}"), |it| list(&it["instances"]))
    }

    /// Both addresses of the first replica, IPv4 first.
    #[track_caller]
    pub fn addresses(&self, workload: &str) -> [IpAddr; 2] {
        both(&self.instances(workload)[0]["addresses"])
    }

    /// Process id of the first replica.
    #[track_caller]
    pub fn pid(&self, workload: &str) -> u64 {
        self.instances(workload)[0]["pid"].as_u64().expect("it runs")
    }

    /// Both virtual addresses of a service (`namespace/name`), IPv4 first.
    #[track_caller]
    pub fn service(&self, service: &str) -> [IpAddr; 2] {
        let found = list(&self.0["services"]).iter().find(|it| it["name"] == service);
        both(&found.unwrap_or_else(|| panic!("no service {service}: {self:?}"))["addresses"])
    }

    /// How often something was refused for this reason.
    pub fn refusals(&self, reason: &str) -> u64 {
        let found = list(&self.0["refusals"]).iter().find(|it| it["name"] == reason);
        found.map_or(0, |it| it["count"].as_u64().expect("a number"))
    }

    /// How many connections have taken this lane.
    #[track_caller]
    pub fn lane(&self, name: &str) -> u64 {
        let found = list(&self.0["lanes"]).iter().find(|it| it["name"] == name);
        let count = found.and_then(|it| it["count"].as_u64());
        count.unwrap_or_else(|| panic!("no lane {name}: {self:?}"))
    }

    /// Everything that counts open connections, by what counts it: the mesh, its maps, each replica.
    pub fn live(&self) -> Vec<(String, u64)> {
        let mut all = vec![("connections".to_owned(), self.0["connections"].as_u64().expect("a number"))];
        for map in list(&self.0["maps"]) {
            let name = map["name"].as_str().expect("a name").to_lowercase();
            if name == "tickets" || name == "connections" {
                all.extend(map["used"].as_u64().map(|used| (format!("map {name}"), used)));
            }
        }
        for workload in list(&self.0["workloads"]) {
            for instance in list(&workload["instances"]) {
                let name = format!("{}/{}", workload["name"], instance["replica"]);
                all.push((name, instance["live"].as_u64().expect("a number")));
            }
        }
        all
    }
}

/// Waits until every replica of a workload is ready, or none is.
#[track_caller]
pub fn until_all(mesh: &TestMesh, workload: &str, ready: bool) {
    eventually(&format!("{workload} ready: {ready}"), || {
        let facts = Facts::of(mesh);
        facts.instances(workload).iter().all(|it| it["ready"] == ready).then_some(())
    });
}

/// Waits until nothing counts an open connection any more: the last sockets of a killed process close a moment after
/// its end.
#[track_caller]
pub fn until_nothing_lives(mesh: &TestMesh) {
    let mut live = Vec::new();
    let zero = || {
        live = Facts::of(mesh).live();
        live.retain(|(_, count)| *count != 0);
        live.is_empty().then_some(())
    };
    // The message of a failure should say what still counts.
    let outcome =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| eventually("no live connection", zero)));
    assert!(outcome.is_ok(), "still counted: {live:?}");
}

/// In milliseconds.
fn patience() -> String {
    scaled(Duration::from_secs(3)).as_millis().to_string()
}

/// How one connection from inside a workload went: who answered, or the error's name.
#[track_caller]
pub fn call(mesh: &TestMesh, from: &str, target: impl Into<SocketAddr>) -> String {
    call_with(mesh, from, target, &[])
}

/// The same, with options of `wabe-testbox connect`.
#[track_caller]
pub fn call_with(mesh: &TestMesh, from: &str, target: impl Into<SocketAddr>, options: &[&str]) -> String {
    let target = target.into().to_string();
    // The first of an option counts.
    answer(&mesh.testbox(from, &[&["connect", &target], options, &["--timeout", &patience()]].concat()))
}

/// How one connection from the host went.
#[track_caller]
pub fn call_from_host(mesh: &TestMesh, target: impl Into<SocketAddr>) -> String {
    let mut command = Command::new(testbox());
    command.args(["connect", &target.into().to_string(), "--timeout", &patience()]);
    answer(&mesh.machine().run(command))
}

/// Runs `wabe-testbox args...` as root in the network namespace of that process, but in nobody's cgroup.
#[track_caller]
pub fn in_network_of(mesh: &TestMesh, pid: u64, args: &[&str]) -> Finished {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{pid}/ns/net")).arg(testbox()).args(args);
    mesh.machine().run(command)
}

/// What the last line of `wabe-testbox connect` and its like says: who answered, or the error's name.
#[track_caller]
pub fn answer(finished: &Finished) -> String {
    let line = finished.clone().success().json_lines().pop().unwrap_or_else(|| panic!("no line: {finished}"));
    let text = |key: &str| line[key].as_str().map(String::from);
    let read = || text("read_errno").map(|errno| format!("then {errno}"));
    text("errno").or_else(read).or_else(|| text("first")).unwrap_or_default()
}

#[track_caller]
fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("a list, not {value}"))
}

#[track_caller]
fn both(value: &Value) -> [IpAddr; 2] {
    let mut all: Vec<IpAddr> = list(value)
        .iter()
        .map(|it| it.as_str().and_then(|it| it.parse().ok()).expect("an address"))
        .collect();
    all.sort_by_key(IpAddr::is_ipv6);
    all.try_into().unwrap_or_else(|_| panic!("an address of each family, not {value}"))
}
