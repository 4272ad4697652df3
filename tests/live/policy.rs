//! Who may call whom, what it says to those who may not, and what becomes of connections when that changes.

use serde_json::json;
use wabe_testkit::TestMesh;
use wabe_tests::{
    manifest::{Service, Workload, all},
    steps,
};

#[path = "policy/change.rs"]
mod change;
#[path = "policy/revoke.rs"]
mod revoke;
#[path = "policy/table.rs"]
mod table;

#[test]
fn authorization() {
    let mesh = TestMesh::up(&manifests());
    steps::run(
        &mesh,
        &wabe_tests::steps![
            table::every_policy_says_what_istio_says,
            table::loopback_is_always_admitted,
            table::a_dry_run_is_told_and_not_enforced,
            change::what_both_policies_say_holds_while_they_replace_each_other,
            change::a_right_that_moves_between_policies_is_never_lost,
        ],
    );
    mesh.down();
}

#[test]
fn live_connections_follow_policy() {
    revoke::twenty_workloads_with_10_000_connections();
}

fn manifests() -> String {
    let caller = |name: &str| {
        let account = name.split_once('/').expect("namespace/name").1;
        Workload::idle(name).with("serviceAccount", json!(account))
    };
    let two_ports = "$TESTBOX id --listen [::]:9090 & exec $TESTBOX id --listen [::]:8080";
    let server = |name: &str| {
        Workload::server(name)
            .with("command", json!(["sh", "-c", two_ports]))
            .with("serviceAccount", json!("server"))
    };
    all(&[
        &caller("a/alice"),
        &caller("a/bob"),
        &caller("b/carol"),
        &server("s/web"),
        &server("s/other"),
        &Service::new("s/web"),
    ])
}
