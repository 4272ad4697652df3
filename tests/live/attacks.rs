//! Attacks, each of which must fail. What they are after: to be taken for `a/friend`, whom alone `s/victim` admits.

use serde_json::json;
use wabe_testkit::TestMesh;
use wabe_tests::{
    manifest::{Policy, Service, Workload, all},
    steps,
};

#[path = "attacks/confinement.rs"]
mod confinement;
#[path = "attacks/forgery.rs"]
mod forgery;
#[path = "attacks/strangers.rs"]
mod strangers;
#[path = "attacks/syn_cookies.rs"]
mod syn_cookies;

const FRIEND: &str = "a/friend";
const ATTACKER: &str = "a/attacker";
/// Has the capability NET_RAW.
const RAW: &str = "a/raw";
const VICTIM: &str = "s/victim";
/// Admits whoever has an identity.
const OPEN: &str = "s/open";

#[test]
fn attacks() {
    let mesh = TestMesh::up(&manifests());
    steps::run(
        &mesh,
        &wabe_tests::steps![
            strangers::the_friend_is_admitted_and_nobody_else,
            strangers::a_process_on_the_host_has_no_identity,
            strangers::entering_a_namespace_gives_no_identity,
            strangers::another_cgroup_in_the_friends_namespace_is_a_forgery,
            strangers::a_socket_made_outside_has_no_identity,
            strangers::a_listener_made_outside_is_guarded_all_the_same,
            forgery::forged_packets_do_not_leave_a_workload,
            forgery::a_foreign_address_can_be_bound_but_not_used,
            forgery::a_mapped_address_does_not_dodge_a_rule,
            forgery::an_accepted_socket_that_calls_leaves_nothing_behind,
            confinement::other_protocols_are_refused,
            confinement::privileged_options_are_refused,
            confinement::namespaces_can_not_be_entered,
            confinement::neither_maps_nor_cgroups_can_be_reached,
            confinement::other_workloads_and_the_mesh_can_not_be_touched,
            syn_cookies::identities_survive_syn_cookies,
        ],
    );
    mesh.down();
}

fn manifests() -> String {
    let caller = |name: &str| {
        let account = name.split_once('/').expect("namespace/name").1;
        Workload::idle(name).with("serviceAccount", json!(account))
    };
    let only_friend = json!({
        "selector": { "matchLabels": { "app": "victim" } },
        "rules": [{ "from": [{ "source": { "principals": ["cluster.local/ns/a/sa/friend"] } }] }],
    });
    all(&[
        &caller(FRIEND),
        &caller(ATTACKER),
        &caller(RAW).with("capabilities", json!(["NET_RAW"])),
        &Workload::server(VICTIM),
        &Service::new(VICTIM),
        &Policy::new("s/only-friend", only_friend),
        &Workload::server(OPEN),
    ])
}
