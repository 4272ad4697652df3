//! TCP between workloads: balancing, addresses, endpoints, refusals, counters, and what TCP promises.

use serde_json::json;
use wabe_testkit::TestMesh;
use wabe_tests::{
    manifest::{Policy, Service, Workload, all},
    steps,
};

#[path = "traffic/addresses.rs"]
mod addresses;
#[path = "traffic/balancing.rs"]
mod balancing;
#[path = "traffic/counters.rs"]
mod counters;
#[path = "traffic/endpoints.rs"]
mod endpoints;
#[path = "traffic/refusals.rs"]
mod refusals;
#[path = "traffic/semantics.rs"]
mod semantics;

/// Workloads that call are in namespace `a`.
const CALLER: &str = "a/caller";

#[test]
fn traffic() {
    let mesh = TestMesh::up(&manifests());
    steps::run(
        &mesh,
        &wabe_tests::steps![
            addresses::every_family_reaches_a_service_and_a_workload,
            addresses::the_caller_sees_what_it_dialled,
            addresses::each_port_of_a_service_leads_to_its_own_target,
            addresses::a_named_target_port_is_each_workloads_own,
            addresses::a_headless_service_leads_to_the_workloads_addresses,
            refusals::whatever_is_not_there_is_refused_within_the_call,
            refusals::a_refusal_is_told_once_with_its_reason,
            balancing::turns_are_exact,
            balancing::weights_hold_within_two_percent_over_50_000_connections,
            balancing::a_slow_endpoint_of_ten_gets_less_than_three_percent,
            endpoints::only_ready_workloads_get_connections,
            endpoints::a_stopping_endpoint_keeps_what_it_has_and_gets_nothing_new,
            semantics::plain_tcp_between_two_workloads,
            semantics::plain_tcp_over_ipv6,
            // Last: everything before must have been uncounted too.
            counters::exactly_zero_after_10_000_mixed_connections,
        ],
    );
    mesh.down();
}

/// A service over workloads of several names.
fn service_of(name: &str) -> Service {
    let label = name.split_once('/').expect("namespace/name").1;
    Service::new(name).with("selector", json!({ "svc": label }))
}

/// Weights 60:30:10.
fn weighted() -> Service {
    service_of("s/weighted")
}

fn manifests() -> String {
    let of_weight = |name: &str, weight: u32| {
        Workload::server(name).label("svc", "weighted").with("weight", json!(weight))
    };
    let named = |name: &str, port: u16| {
        Workload::new(name, &["$TESTBOX", "id", "--listen", &format!("[::]:{port}")])
            .label("svc", "named")
            .with("ports", json!([{ "name": "main", "port": port }]))
            .with("readiness", json!({ "tcp": { "port": "main" } }))
    };
    all(&[
        &Workload::idle(CALLER),
        // Balancing.
        &of_weight("s/heavy", 600),
        &of_weight("s/middle", 300),
        &of_weight("s/light", 100),
        &weighted(),
        &Workload::server("s/turns").with("replicas", json!(3)),
        &Service::new("s/turns").annotation("mesh.wabe.dev/balance", "round-robin"),
        &Workload::server("s/quick").label("svc", "mixed").with("replicas", json!(9)),
        &Workload::server("s/slow")
            .label("svc", "mixed")
            .with("command", json!(["$TESTBOX", "id", "--listen", "[::]:8080", "--delay", "2000"])),
        &service_of("s/mixed"),
        // Addresses and ports.
        &Workload::server("s/web"),
        &Service::new("s/web"),
        &Workload::new("s/two", &["sh", "-c", "$TESTBOX id --listen [::]:8001 & exec $TESTBOX echo --listen [::]:8002"])
            .with("readiness", json!({ "tcp": { "port": 8002 } })),
        &Service::new("s/two").with(
            "ports",
            json!([{ "name": "one", "port": 81, "targetPort": 8001 }, { "name": "two", "port": 82, "targetPort": 8002 }]),
        ),
        &named("s/named-one", 8011),
        &named("s/named-two", 8012),
        &service_of("s/named").annotation("mesh.wabe.dev/balance", "round-robin"),
        &Workload::server("s/headless").with("replicas", json!(2)),
        &Service::new("s/headless").with("clusterIP", json!("None")),
        // Nobody is behind it.
        &Service::new("s/nobody"),
        // Deaf to SIGTERM: what ends its connections is the end of its grace, or nothing.
        &Workload::new("s/stubborn", &["sh", "-c", "trap '' TERM; exec $TESTBOX echo --listen [::]:8080"])
            .with("ports", json!([{ "name": "main", "port": 8080 }]))
            .with("readiness", json!({ "tcp": { "port": 8080 } }))
            .with("replicas", json!(2))
            .with("grace", json!("20s")),
        &Service::new("s/stubborn"),
        &Workload::server("s/tcp")
            .with("command", json!(["$TESTBOX", "tcp-semantics", "serve", "--listen", "[::]:8080"])),
        &Service::new("s/tcp"),
        // Refuses everybody.
        &Workload::server("s/closed"),
        &Service::new("s/closed"),
        &Policy::new("s/closed", json!({ "selector": { "matchLabels": { "app": "closed" } } })),
        // To be stopped and killed by the counters' step.
        &Workload::server("s/frozen"),
        &Workload::server("s/killed")
            .with("command", json!(["$TESTBOX", "echo", "--listen", "[::]:8080"])),
    ])
}
