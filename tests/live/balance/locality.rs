//! `trafficDistribution`: near endpoints first.

use serde_json::{Value, json};
use wabe_testkit::TestMesh;
use wabe_tests::{
    eventually,
    facts::{Facts, until_all},
};

fn answers(mesh: &TestMesh, caller: &str) -> Value {
    let target = format!("{}:80", Facts::of(mesh).service("s/zoned")[0]);
    let summary = mesh.testbox(caller, &["connect", &target, "--count", "100", "--summary"]).success().json();
    assert_eq!(summary["by_errno"], json!({}));
    summary["by_answer"].clone()
}

pub(super) fn callers_get_the_nearest_endpoints_and_wider_ones_when_those_are_gone(mesh: &TestMesh) {
    for workload in ["s/zone-one", "s/zone-two"] {
        until_all(mesh, workload, true);
    }
    assert_eq!(answers(mesh, "a/in-one"), json!({ "zone-one/0": 100 }));
    let nowhere = answers(mesh, "a/caller-1");
    assert!(nowhere["zone-one/0"].is_u64() && nowhere["zone-two/0"].is_u64(), "{nowhere}");
    let _ = mesh.wabe(&["scale", "s/zone-one", "0"]).success();
    eventually("the near endpoint is gone", || {
        let status = mesh.json(&["status"]);
        (!status.to_string().contains("\"s/zone-one\",\"replica\"")).then_some(())
    });
    assert_eq!(answers(mesh, "a/in-one"), json!({ "zone-two/0": 100 }));
    let _ = mesh.wabe(&["scale", "s/zone-one", "1"]).success();
    until_all(mesh, "s/zone-one", true);
    assert_eq!(answers(mesh, "a/in-one"), json!({ "zone-one/0": 100 }));
}
