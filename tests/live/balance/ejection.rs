//! `outlierDetection`.

use serde_json::{Value, json};
use wabe_testkit::TestMesh;
use wabe_tests::{
    eventually,
    facts::{Facts, until_all},
    manifest::Rule,
};

/// Three failures in a row eject for two seconds at first.
pub(super) fn rule(name: &str, max_percent: u32) -> Rule {
    let outliers = json!({
        "consecutiveLocalOriginFailures": 3,
        "interval": "60s",
        "baseEjectionTime": "2s",
        "maxEjectionPercent": max_percent,
    });
    Rule::new(name, json!({ "outlierDetection": outliers }))
}

fn calls(mesh: &TestMesh, service: &str, count: u32) -> Value {
    let target = format!("{}:80", Facts::of(mesh).service(service)[0]);
    mesh.testbox("a/caller-1", &["connect", &target, "--count", &count.to_string(), "--summary"])
        .success()
        .json()
}

/// How many endpoints are out.
fn ejected(mesh: &TestMesh, service: &str) -> usize {
    let status = mesh.json(&["status"]);
    let services = status["services"].as_array().or_else(|| status["mesh"]["services"].as_array());
    let all = services.expect("services").iter().find(|it| it["name"] == service).expect("the service");
    all["endpoints"].as_array().expect("endpoints").iter().filter(|it| it["ejected"] == true).count()
}

pub(super) fn an_endpoint_that_refuses_is_ejected_and_comes_back(mesh: &TestMesh) {
    until_all(mesh, "s/deaf", true);
    until_all(mesh, "s/fine", true);
    // In turn: nine calls are three for each endpoint.
    let first = calls(mesh, "s/failing", 9);
    assert_eq!(first["by_errno"]["ECONNREFUSED"], 3, "{first}");
    eventually("it is ejected and the others get all", || {
        let seen = ejected(mesh, "s/failing") == 1;
        let after = calls(mesh, "s/failing", 30);
        (seen && after["by_errno"] == json!({})).then_some(())
    });
    eventually("it is back and fails again", || {
        (calls(mesh, "s/failing", 3)["by_errno"]["ECONNREFUSED"] == 1).then_some(())
    });
}

pub(super) fn never_are_all_ejected(mesh: &TestMesh) {
    until_all(mesh, "s/all-deaf", true);
    eventually("two of three are out", || {
        let failed = calls(mesh, "s/all-deaf", 30);
        assert_eq!(failed["by_errno"], json!({ "ECONNREFUSED": 30 }), "an endpoint is tried each time");
        let out = ejected(mesh, "s/all-deaf");
        assert!(out < 3);
        (out == 2).then_some(())
    });
}

pub(super) fn an_endpoint_that_resets_at_once_is_ejected(mesh: &TestMesh) {
    until_all(mesh, "s/rude", true);
    until_all(mesh, "s/polite", true);
    // In turn: nine calls are three for each endpoint. Whoever looks late finds the reset where it asks whether it is
    // connected.
    let first = calls(mesh, "s/resetting", 9);
    let reset: u64 =
        ["ECONNRESET", "read ECONNRESET"].iter().filter_map(|it| first["by_errno"][it].as_u64()).sum();
    assert_eq!(reset, 3, "{first}");
    eventually("it is ejected and the others get all", || {
        let seen = ejected(mesh, "s/resetting") == 1;
        let after = calls(mesh, "s/resetting", 30);
        (seen && after["by_errno"] == json!({})).then_some(())
    });
    let flows = mesh.wabe(&["flows", "-o", "json", "--last", "2000"]).success();
    let lines = flows.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let closed: Vec<Value> =
        lines.filter(|it| it["service"] == "s/resetting" && it["kind"] == "closed").collect();
    for flow in &closed {
        assert_eq!(flow["reset"], flow["to"]["workload"] == "s/rude", "{flow}");
    }
    assert!(closed.iter().filter(|it| it["reset"] == true).count() >= 3, "{closed:?}");
}
