//! Balancing beyond shares: callers that stay, endpoints that are near.

use serde_json::json;
use wabe_testkit::TestMesh;
use wabe_tests::{
    manifest::{Rule, Service, Workload, all},
    steps,
};

#[path = "balance/affinity.rs"]
mod affinity;
#[path = "balance/ejection.rs"]
mod ejection;
#[path = "balance/locality.rs"]
mod locality;
#[path = "balance/slow_start.rs"]
mod slow_start;

#[test]
fn balance() {
    let mesh = TestMesh::up(&manifests());
    steps::run(
        &mesh,
        &wabe_tests::steps![
            affinity::clients_stay_when_endpoints_come_and_go,
            affinity::a_client_whose_endpoint_is_gone_stays_at_another,
            affinity::the_promise_ends_and_the_table_chooses_again,
            affinity::explain_tells_each_endpoint_once,
            ejection::an_endpoint_that_refuses_is_ejected_and_comes_back,
            ejection::an_endpoint_that_resets_at_once_is_ejected,
            ejection::never_are_all_ejected,
            slow_start::a_new_endpoints_share_grows,
            locality::callers_get_the_nearest_endpoints_and_wider_ones_when_those_are_gone,
        ],
    );
    mesh.down();
}

/// How many callers there are in namespace `a`: `caller-1` and so on.
const CALLERS: u32 = 5;

fn callers() -> impl Iterator<Item = String> {
    (1..=CALLERS).map(|number| format!("a/caller-{number}"))
}

/// `number` endpoints, and a service that holds callers at theirs for so long.
fn sticky(number: u32) -> Workload {
    Workload::server("s/sticky").with("replicas", json!(number))
}

fn sticky_service(seconds: u32) -> Service {
    Service::new("s/sticky")
        .with("sessionAffinity", json!("ClientIP"))
        .with("sessionAffinityConfig", json!({ "clientIP": { "timeoutSeconds": seconds } }))
}

fn manifests() -> String {
    let callers: Vec<Workload> = callers().map(|name| Workload::idle(&name)).collect();
    let zone = |name: &str, zone: &str| {
        Workload::server(name).label("svc", "zoned").label("topology.kubernetes.io/zone", zone)
    };
    let zoned = Service::new("s/zoned")
        .with("selector", json!({ "svc": "zoned" }))
        .with("trafficDistribution", json!("PreferSameZone"));
    let near = Workload::idle("a/in-one").with("locality", json!({ "zone": "one" }));
    let mut written: Vec<&dyn std::fmt::Display> = Vec::new();
    written.extend(callers.iter().map(|it| it as &dyn std::fmt::Display));
    let (sticky, service) = (sticky(3), sticky_service(3600));
    let (one, two) = (zone("s/zone-one", "one"), zone("s/zone-two", "two"));
    written.extend([&sticky as &dyn std::fmt::Display, &service, &one, &two, &zoned, &near]);
    // Without a readiness probe: nobody but their callers sees that they do not listen.
    let deaf = |name: &str| {
        Workload::idle(name).label("svc", "failing").with("ports", json!([{ "name": "main", "port": 8080 }]))
    };
    let failing = Service::new("s/failing")
        .with("selector", json!({ "svc": "failing" }))
        .annotation("mesh.wabe.dev/balance", "round-robin");
    let fine = Workload::server("s/fine").label("svc", "failing").with("replicas", json!(2));
    let (deaf_one, failing_rule) = (deaf("s/deaf"), ejection::rule("s/failing", 50));
    let resetting = Service::new("s/resetting")
        .with("selector", json!({ "svc": "resetting" }))
        .annotation("mesh.wabe.dev/balance", "round-robin");
    let polite = Workload::server("s/polite").label("svc", "resetting").with("replicas", json!(2));
    let rude = Workload::new("s/rude", &["$TESTBOX", "reset", "--listen", "[::]:8080"])
        .label("svc", "resetting")
        .with("ports", json!([{ "name": "main", "port": 8080 }]));
    let resetting_rule = ejection::rule("s/resetting", 50);
    written.extend([&resetting as &dyn std::fmt::Display, &polite, &rude, &resetting_rule]);
    let all_deaf = deaf("s/all-deaf").label("svc", "all-deaf").with("replicas", json!(3));
    let all_deaf_service = Service::new("s/all-deaf")
        .with("selector", json!({ "svc": "all-deaf" }))
        .annotation("mesh.wabe.dev/balance", "round-robin");
    let all_deaf_rule = ejection::rule("s/all-deaf", 100);
    written.extend([&failing as &dyn std::fmt::Display, &fine, &deaf_one, &failing_rule]);
    written.extend([&all_deaf as &dyn std::fmt::Display, &all_deaf_service, &all_deaf_rule]);
    let (old, warming) = (Workload::server("s/warming"), Service::new("s/warming"));
    let warming_rule = Rule::new(
        "s/warming",
        json!({ "loadBalancer": { "simple": "RANDOM", "warmup": { "duration": "20s" } } }),
    );
    written.extend([&old as &dyn std::fmt::Display, &warming, &warming_rule]);
    all(&written)
}
