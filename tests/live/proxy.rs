//! The node's proxy as a process: relieved by another one under load, killed, told to end, taken over by somebody.

use serde_json::{Value, json};
use wabe_testkit::TestMesh;
use wabe_tests::{
    manifest::{Route, Service, Workload, all},
    steps,
};

#[path = "proxy/lasting.rs"]
mod lasting;
#[path = "proxy/relief.rs"]
mod relief;
#[path = "proxy/taken_over.rs"]
mod taken_over;
#[path = "proxy/workers.rs"]
mod workers;

/// Threads of the proxy, however many cores there are.
const WORKERS: usize = 2;
const CONFIG: &str =
    "apiVersion: mesh.wabe.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: mesh}\nspec: {proxyWorkers: 2}\n";
const CALLER: &str = "shop/caller";
/// Alone may reach what is served by `shop/guarded`.
const OTHER: &str = "away/caller";

/// A service of `shop/lasting` that the proxy is before, though it has no route.
fn led(name: &str, port: Value) -> Service {
    let mut port = port;
    port["port"] = json!(80);
    Service::new(name)
        .annotation("mesh.wabe.dev/l7", "always")
        .with("selector", json!({ "app": "lasting" }))
        .with("ports", json!([port]))
}

#[test]
fn proxy() {
    let mesh = TestMesh::up(&all(&[
        &format_args!("---\n{CONFIG}"),
        &Workload::idle(CALLER),
        &Workload::idle(OTHER),
        &Workload::web("shop/open"),
        &Workload::web("shop/guarded"),
        &Workload::web("shop/judged"),
        &Workload::web("shop/lasting")
            .with("command", json!(["$TESTBOX", "web", "--listen", "[::]:8080", "--grpc", "[::]:7070"])),
        &led("shop/chat", json!({ "targetPort": 8080, "appProtocol": "kubernetes.io/ws" })),
        &led("shop/calls", json!({ "targetPort": 7070, "appProtocol": "grpc" })),
        &led("shop/bytes", json!({ "targetPort": 8080, "appProtocol": "tcp" })),
        &Service::new("shop/open"),
        &Service::new("shop/guarded"),
        &Service::new("shop/judged"),
        &Service::new("shop/web").with("selector", json!({ "app": "open" })),
        &Route::new(
            "shop/web",
            json!([
                { "matches": [{ "path": { "value": "/guarded" } }], "backendRefs": [Route::backend("guarded", 1)] },
                { "backendRefs": [Route::backend("open", 1)] },
            ]),
        ),
    ]));
    steps::run(
        &mesh,
        &wabe_tests::steps![
            workers::all_workers_serve_and_no_request_is_counted_twice,
            workers::who_polls_is_not_woken_for_each_request,
            workers::more_workers_are_started_at_once_and_fewer_by_the_next_proxy,
            relief::three_upgrades_under_load_fail_no_request,
            lasting::three_upgrades_end_what_lasts_in_order_and_fail_no_request,
            relief::an_upgrade_of_the_whole_mesh_under_load_fails_no_request,
            relief::a_program_that_does_not_serve_changes_nothing,
            relief::one_that_is_told_to_end_is_followed_at_once,
            relief::one_that_is_killed_takes_with_it_what_was_under_way_only,
            taken_over::it_has_no_power,
            taken_over::it_can_not_be_signalled_by_workloads,
            taken_over::no_workload_can_be_its_user,
            taken_over::it_gets_nowhere,
            taken_over::listeners_that_it_ended_are_made_anew_with_the_mesh,
        ],
    );
    mesh.down();
}

/// Benchmarks and whoever counts cores rely on it: two that share a core wait for each other's turns.
#[test]
fn who_asks_for_one_worker_never_has_two() {
    let mesh = TestMesh::up(&all(&[
        &format_args!("---\n{}", CONFIG.replace("proxyWorkers: 2", "proxyWorkers: 1")),
        &Workload::idle(CALLER),
        &Workload::web("shop/lasting"),
        &led("shop/one", json!({ "targetPort": 8080 })),
    ]));
    workers::one_serves(&mesh, "http://one.shop/");
    mesh.down();
}
