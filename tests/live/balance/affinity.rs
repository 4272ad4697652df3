//! `sessionAffinity: ClientIP`.

use std::collections::BTreeMap;

use serde_json::json;
use wabe_testkit::TestMesh;
use wabe_tests::{
    eventually,
    facts::{Facts, until_all},
};

use super::{callers, sticky_service};

/// Who answers each caller; all of its 40 connections must be answered by the same.
fn homes(mesh: &TestMesh) -> BTreeMap<String, String> {
    callers().map(|caller| (caller.clone(), home(mesh, &caller))).collect()
}

fn home(mesh: &TestMesh, caller: &str) -> String {
    let target = format!("{}:80", Facts::of(mesh).service("s/sticky")[0]);
    let args = ["connect", &target, "--count", "40", "--parallel", "4", "--summary"];
    let summary = mesh.testbox(caller, &args).success().json();
    assert_eq!(summary["by_errno"], json!({}), "{caller}");
    let answers = summary["by_answer"].as_object().expect("counts");
    assert_eq!(answers.len(), 1, "{caller} was at {answers:?}");
    answers.keys().next().expect("one").clone()
}

fn scale(mesh: &TestMesh, replicas: u32) {
    let _ = mesh.wabe(&["scale", "s/sticky", &replicas.to_string()]).success();
    eventually("so many endpoints", || {
        let facts = Facts::of(mesh);
        let all = facts.instances("s/sticky");
        (all.len() == replicas as usize && all.iter().all(|it| it["ready"] == true)).then_some(())
    });
}

pub(super) fn clients_stay_when_endpoints_come_and_go(mesh: &TestMesh) {
    until_all(mesh, "s/sticky", true);
    let before = homes(mesh);
    println!("{before:?}");
    assert!(before.values().collect::<std::collections::BTreeSet<_>>().len() > 1, "{before:?}");
    // Seven more endpoints would take most callers from theirs, if these did not stay.
    scale(mesh, 10);
    assert_eq!(homes(mesh), before);
    scale(mesh, 3);
    assert_eq!(homes(mesh), before);
}

pub(super) fn a_client_whose_endpoint_is_gone_stays_at_another(mesh: &TestMesh) {
    let before = homes(mesh);
    scale(mesh, 2);
    let after = homes(mesh);
    for (caller, home) in &after {
        let stays = before[caller] != "sticky/2";
        assert_ne!(home, "sticky/2");
        assert!(!stays || *home == before[caller], "{caller} was at {} and is at {home}", before[caller]);
    }
    scale(mesh, 3);
    assert_eq!(homes(mesh), after, "who moved stays where it is");
}

pub(super) fn the_promise_ends_and_the_table_chooses_again(mesh: &TestMesh) {
    let _ = mesh.apply(&sticky_service(1).to_string()).success();
    // The last calls under the long promise put the end off by one second only.
    let _ = homes(mesh);
    let by_table = homes_after_silence(mesh);
    scale(mesh, 10);
    assert_ne!(
        homes_after_silence(mesh),
        by_table,
        "nobody is held, and seven more endpoints take callers over"
    );
    scale(mesh, 3);
    assert_eq!(homes_after_silence(mesh), by_table, "the same endpoints are the same table");
}

/// Who answers after so much time without a call that no promise of one second holds any more.
fn homes_after_silence(mesh: &TestMesh) -> BTreeMap<String, String> {
    std::thread::sleep(std::time::Duration::from_millis(1500));
    homes(mesh)
}

pub(super) fn explain_tells_each_endpoint_once(mesh: &TestMesh) {
    let told = mesh.json(&["explain", "a/caller-1", "s/sticky:80"]);
    let candidates = told["candidates"].as_array().expect("candidates");
    assert_eq!(told["service"]["balance"], "consistent", "{told}");
    assert_eq!(candidates.len(), 3, "{told}");
    for candidate in candidates {
        let share = candidate["share"].as_f64().expect("a share");
        assert!((0.30..0.37).contains(&share), "{candidate}");
    }
}
