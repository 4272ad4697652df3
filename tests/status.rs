//! Reading `wabe status -o json`.

use serde_json::Value;
use wabe_testkit::TestMesh;

use crate::eventually;

/// The entry of this `name` in a list of objects.
///
/// # Panics
/// If there is none.
#[track_caller]
pub fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    find_named(list, name).unwrap_or_else(|| panic!("no {name} in {list:#}"))
}

/// The entry of this `name`, if there is one.
pub fn find_named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|it| it["name"] == name)
}

/// What the status says about a workload.
#[track_caller]
pub fn workload(mesh: &TestMesh, name: &str) -> Value {
    named(&mesh.json(&["status"])["workloads"], name).clone()
}

/// The processes of a workload's replicas.
#[track_caller]
pub fn pids(mesh: &TestMesh, name: &str) -> Vec<u64> {
    let workload = workload(mesh, name);
    let instances = workload["instances"].as_array().expect("a list of instances");
    instances.iter().filter_map(|it| it["pid"].as_u64()).collect()
}

/// Waits until so many replicas of a workload are ready and no other one is there.
#[track_caller]
pub fn until_ready(mesh: &TestMesh, name: &str, replicas: u64) {
    eventually(&format!("{replicas} of {name} ready"), || {
        let workload = workload(mesh, name);
        let all = workload["instances"].as_array().map(Vec::len);
        (workload["ready"] == replicas && all == usize::try_from(replicas).ok()).then_some(())
    });
}

/// Waits until so many endpoints of a service are ready.
#[track_caller]
pub fn until_endpoints(mesh: &TestMesh, service: &str, ready: usize) {
    eventually(&format!("{ready} endpoints of {service} ready"), || {
        let status = mesh.json(&["status"]);
        let endpoints = named(&status["services"], service)["endpoints"].as_array().expect("a list").clone();
        (endpoints.iter().filter(|it| it["ready"] == true).count() == ready).then_some(())
    });
}
