//! Who is an endpoint, and until when.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::json;
use wabe_testkit::TestMesh;
use wabe_tests::{
    Applied, eventually,
    facts::{Facts, call, until_all},
    manifest::{Service, Workload, all},
};

use super::CALLER;

pub(super) fn only_ready_workloads_get_connections(mesh: &TestMesh) {
    // Ready while a file is there.
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let file = folder.path().join("ready");
    let said = |on: bool| {
        if on { fs::write(&file, "").expect("ours") } else { fs::remove_file(&file).expect("ours") }
    };
    let probed = |file: &Path| json!({ "exec": { "command": ["test", "-e", file] }, "period": "100ms", "timeout": "10s", "failureThreshold": 1 });
    let fickle = Workload::server("s/fickle").label("svc", "fickle-both").with("readiness", probed(&file));
    let steady = Workload::server("s/steady").label("svc", "fickle-both");
    let service = Service::new("s/fickle-both").with("selector", json!({ "svc": "fickle-both" }));
    said(true);
    let _applied = Applied::new(mesh, all(&[&fickle, &steady, &service]));
    until_all(mesh, "s/fickle", true);
    until_all(mesh, "s/steady", true);
    let answers = |count: u32| {
        let target = format!("{}:80", Facts::of(mesh).service("s/fickle-both")[0]);
        let args = ["connect", &target, "--count", &count.to_string(), "--summary"];
        mesh.testbox(CALLER, &args).success().json()
    };
    let both = answers(200);
    assert!(both["by_answer"]["fickle/0"].is_u64() && both["by_answer"]["steady/0"].is_u64(), "{both}");
    said(false);
    until_all(mesh, "s/fickle", false);
    assert_eq!(answers(200)["by_answer"], json!({ "steady/0": 200 }));
    said(true);
    until_all(mesh, "s/fickle", true);
    assert!(answers(200)["by_answer"]["fickle/0"].is_u64(), "it did not come back");
}

pub(super) fn a_stopping_endpoint_keeps_what_it_has_and_gets_nothing_new(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    let target = format!("{}:80", facts.service("s/stubborn")[0]);
    let held = 40;
    let mut hold = mesh.start_testbox(CALLER, &["hold", &target, "--count", &held.to_string()]);
    assert_eq!(hold.next_json()["open"], held);
    let before = facts.instances("s/stubborn")[1].clone();
    let figure = |facts: &Facts, field: &str| {
        facts
            .instances("s/stubborn")
            .iter()
            .find(|it| it["id"] == before["id"])
            .and_then(|it| it[field].as_u64())
    };
    assert!(figure(&Facts::of(mesh), "live").is_some_and(|it| it > 0), "both have some");

    let _ = mesh.wabe(&["scale", "s/stubborn", "1"]).success();
    let total = figure(&Facts::of(mesh), "total").expect("it drains while connections are open");
    let args = ["connect", &target, "--count", "200", "--no-read", "--summary"];
    let summary = mesh.testbox(CALLER, &args).success().json();
    assert_eq!(summary["by_errno"], json!({}));
    assert_eq!(figure(&Facts::of(mesh), "total"), Some(total), "no new connection");
    hold.send("count");
    assert_eq!(hold.next_json()["alive"], held, "the open ones live on");

    hold.send("quit");
    let _ = hold.finish();
    // Deaf to SIGTERM, it ends by SIGKILL after its grace, which is no matter of this test.
    let _ = mesh.wabe(&["scale", "s/stubborn", "0"]).success();
    eventually("no endpoint", || {
        (call(mesh, CALLER, target.parse::<std::net::SocketAddr>().expect("an address")) == "EHOSTUNREACH")
            .then_some(())
    });
}
