//! Families, ports and names of one and the same service.

use std::collections::BTreeSet;

use serde_json::Value;
use wabe_testkit::TestMesh;
use wabe_tests::facts::{Facts, answer, call, call_with};

use super::CALLER;

pub(super) fn every_family_reaches_a_service_and_a_workload(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    let (service, workload) = (facts.service("s/web"), facts.addresses("s/web"));
    for (address, port) in service.map(|it| (it, 80)).into_iter().chain(workload.map(|it| (it, 8080))) {
        assert_eq!(call(mesh, CALLER, (address, port)), "web/0", "{address}:{port}");
        // By an IPv6 socket to a mapped address; the same as before if it is IPv6.
        let mapped = call_with(mesh, CALLER, (address, port), &["--source-mapped"]);
        assert_eq!(mapped, "web/0", "{address}:{port} mapped");
    }
    // By name, and to itself.
    assert_eq!(answer(&mesh.testbox(CALLER, &["connect", "web.s:80"])), "web/0");
    for address in service {
        assert_eq!(call(mesh, "s/web", (address, 80)), "web/0", "its own service at {address}");
    }
}

pub(super) fn the_caller_sees_what_it_dialled(mesh: &TestMesh) {
    let [v4, v6] = Facts::of(mesh).service("s/web");
    for (target, options, peer) in [
        (format!("{v4}:80"), &[][..], format!("{v4}:80")),
        (format!("[{v6}]:80"), &[], format!("[{v6}]:80")),
        (format!("{v4}:80"), &["--source-mapped"], format!("[::ffff:{v4}]:80")),
    ] {
        let finished = mesh.testbox(CALLER, &[&["connect", &target], options].concat()).success();
        assert_eq!(finished.json()["peer"], peer.as_str(), "{finished}");
    }
}

pub(super) fn each_port_of_a_service_leads_to_its_own_target(mesh: &TestMesh) {
    for address in Facts::of(mesh).service("s/two") {
        assert_eq!(call(mesh, CALLER, (address, 81)), "two/0");
        // The echo server says nothing of itself: it is open, and silent.
        let silent = call_with(mesh, CALLER, (address, 82), &["--timeout", "100"]);
        assert_eq!(silent, "then timeout", "{address}");
        assert_eq!(call(mesh, CALLER, (address, 8001)), "ECONNREFUSED", "its target's port is not its own");
    }
}

pub(super) fn a_named_target_port_is_each_workloads_own(mesh: &TestMesh) {
    for address in Facts::of(mesh).service("s/named") {
        let target = format!("{}", std::net::SocketAddr::from((address, 80)));
        let lines = mesh.testbox(CALLER, &["connect", &target, "--count", "4"]).success().json_lines();
        let answers: BTreeSet<_> = lines.iter().filter_map(|it| it["first"].as_str()).collect();
        assert_eq!(answers, BTreeSet::from(["named-one/0", "named-two/0"]), "{lines:?}");
    }
}

pub(super) fn a_headless_service_leads_to_the_workloads_addresses(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    let addresses = |it: &Value| it["addresses"].as_array().expect("a list").clone();
    let mut expected: Vec<_> = facts.instances("s/headless").iter().flat_map(addresses).collect();
    let found = mesh.testbox(CALLER, &["resolve", "headless.s"]).success().json();
    let mut found = found["addresses"].as_array().expect("a list").clone();
    expected.sort_by_key(ToString::to_string);
    found.sort_by_key(ToString::to_string);
    assert_eq!(found, expected);
    let call = mesh.testbox(CALLER, &["connect", "headless.s:8080"]).success().json();
    assert!(call["first"].as_str().is_some_and(|it| it.starts_with("headless/")), "{call}");
}
