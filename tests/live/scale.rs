//! Many services: loaded, changed and removed again under traffic, none of whose connections notices.

use serde_json::{Value, json};
use wabe_testkit::TestMesh;
use wabe_tests::{
    eventually,
    facts::{Facts, call, until_all},
    manifest::{Service, Workload, all},
};

const CALLER: &str = "a/caller";

/// Rows in use, and what there is room for.
fn map(mesh: &TestMesh, name: &str) -> (u64, u64) {
    let status = mesh.json(&["status"]);
    let map = status["maps"].as_array().expect("a list").iter().find(|it| it["name"] == name).cloned();
    let map = map.expect("the map");
    (map["used"].as_u64().expect("rows"), map["limit"].as_u64().expect("room"))
}

fn load(mesh: &TestMesh, arguments: &[&str]) -> Value {
    let report = mesh.json(&[&["debug", "load"], arguments].concat());
    eprintln!("debug load {}: {report}", arguments.join(" "));
    report
}

#[test]
fn a_big_mesh_comes_changes_grows_and_goes_under_traffic() {
    let server = Workload::server("s/web").label("svc", "web");
    let service = Service::new("s/web").with("selector", json!({ "svc": "web" }));
    let mesh = TestMesh::up(&all(&[&Workload::idle(CALLER), &server, &service]));
    until_all(&mesh, "s/web", true);
    let before = [map(&mesh, "SERVICES"), map(&mesh, "ENDPOINTS")];
    let target = format!("{}:80", Facts::of(&mesh).service("s/web")[0]);

    let while_traffic_flows = |what: &str, act: &dyn Fn()| {
        let args = ["connect", &target, "--count", "20000", "--summary"];
        let mut traffic = mesh.start_testbox(CALLER, &args);
        act();
        let summary = traffic.next_json();
        let _ = traffic.finish();
        assert_eq!(summary["by_errno"], json!({}), "{what}: {summary}");
        assert_eq!(summary["by_answer"], json!({ "web/0": 20_000 }), "{what}: {summary}");
    };
    while_traffic_flows("loading", &|| {
        let report = load(&mesh, &["--services", "2000", "--endpoints", "20000"]);
        assert_eq!(report["endpointRows"], before[1].0 + 20_000);
    });
    while_traffic_flows("changing", &|| {
        let report = load(&mesh, &["--changes-per-second", "200", "--seconds", "3"]);
        assert_eq!(report["changes"]["count"], 600);
    });
    while_traffic_flows("growing", &|| {
        load(&mesh, &["--services", "40000", "--endpoints", "300000"]);
    });
    let grown = [map(&mesh, "SERVICES"), map(&mesh, "ENDPOINTS")];
    assert!(grown[0].1 > before[0].1 && grown[1].1 > before[1].1, "{before:?}, then {grown:?}");
    while_traffic_flows("clearing", &|| drop(load(&mesh, &["--clear"])));
    eventually("map use as before", || {
        let now = [map(&mesh, "SERVICES"), map(&mesh, "ENDPOINTS")];
        (now.map(|it| it.0) == before.map(|it| it.0)).then_some(())
    });
    mesh.down();
}

#[test]
fn a_simulated_service_refuses_cleanly_and_a_load_that_does_not_fit_says_what_would() {
    let mesh = TestMesh::up(&all(&[&Workload::idle(CALLER)]));
    let refused = mesh.wabe(&["debug", "load", "--services", "300000", "--endpoints", "300000"]);
    assert!(refused.code() == Some(1) && refused.stderr.contains("addressRanges"), "{refused}");
    assert_eq!(map(&mesh, "SERVICES").0, 0);
    load(&mesh, &["--services", "1", "--endpoints", "2"]);
    let status = mesh.json(&["status"]);
    assert_eq!(status["services"], json!([]), "no object is made of it");
    // The first address of the range, whatever range the mesh found.
    let file = std::fs::read_to_string(std::path::Path::new("/run/wabe").join(mesh.name()).join("mesh.json"))
        .expect("the mesh's file");
    let file: Value = serde_json::from_str(&file).expect("JSON");
    let range = file["services_v4"].as_str().expect("a range").to_owned();
    let (network, _) = range.split_once("0/").expect("a network");
    let target = format!("{network}1:80").parse::<std::net::SocketAddr>().expect("an address");
    assert_eq!(call(&mesh, CALLER, target), "EPERM");
    let refusals = mesh.json(&["status"])["refusals"].clone();
    // A namespace's own IPv6 chatter may be refused beside it.
    let refused =
        refusals.as_array().expect("a list").contains(&json!({ "name": "inconsistent", "count": 1 }));
    assert!(refused, "{refusals}");
    mesh.down();
}

/// Figures for README.md and docs/performance.md; asserts no time.
#[test]
#[ignore = "takes a gigabyte and the whole machine; run by name with a release build"]
fn figures_of_a_hundred_thousand_services() {
    let server = Workload::server("s/web").label("svc", "web");
    let service = Service::new("s/web").with("selector", json!({ "svc": "web" }));
    let mesh = TestMesh::up(&all(&[&Workload::idle(CALLER), &server, &service]));
    until_all(&mesh, "s/web", true);
    let target = format!("{}:80", Facts::of(&mesh).service("s/web")[0]);
    let connections = |what: &str| {
        let args = ["connect", &target, "--count", "20000", "--summary"];
        let took: Vec<u128> = (0..5)
            .map(|_| {
                let finished = mesh.testbox(CALLER, &args).success();
                assert_eq!(finished.json()["by_errno"], json!({}));
                finished.took.as_millis()
            })
            .collect();
        eprintln!("20 000 connections, {what}: {took:?} ms");
    };
    load(&mesh, &["--services", "10", "--endpoints", "100"]);
    connections("10 services");
    let report = load(&mesh, &["--services", "100000", "--endpoints", "1000000"]);
    assert_eq!((&report["serviceRows"], &report["endpointRows"]), (&json!(200_004), &json!(1_000_002)));
    connections("100 000 services");
    load(&mesh, &["--changes-per-second", "1000", "--seconds", "10"]);
    load(&mesh, &["--clear"]);
    mesh.down();
}
