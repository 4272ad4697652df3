//! `wabe explain` and `wabe flows`: what they say is what happens.

use serde_json::{Value, json};
use wabe_tests::{
    manifest::{Policy, Service, Workload, all},
    testkit::TestMesh,
};

#[path = "explain/flows.rs"]
mod flows;
#[path = "explain/generate.rs"]
mod generate;
#[path = "explain/reality.rs"]
mod reality;

/// Payment admits the front end only.
fn manifests() -> String {
    let account = |name: &str| Workload::idle(&format!("shop/{name}")).with("serviceAccount", name.into());
    let callers = json!({
        "selector": { "matchLabels": { "app": "payment" } },
        "rules": [{
            "from": [{ "source": { "principals": ["cluster.local/ns/shop/sa/frontend"] } }],
            "to": [{ "operation": { "ports": ["8080"] } }],
        }],
    });
    all(&[
        &account("frontend"),
        &account("thief"),
        &Workload::server("shop/payment").with("replicas", 2.into()),
        &Service::new("shop/payment"),
        &Policy::new("shop/payment-callers", callers),
    ])
}

/// What `wabe explain` says.
#[track_caller]
fn explain(mesh: &TestMesh, from: &str, to: &str) -> Value {
    let said = mesh.wabe(&["explain", from, to, "-o", "json"]);
    let explained = said.json();
    let refused = explained["verdict"] == "refused";
    assert_eq!(said.code(), Some(i32::from(refused)), "{said}");
    explained
}

#[test]
fn tells_service_rule_endpoints_lane_and_generation() {
    let mesh = TestMesh::up(&manifests());
    let said = explain(&mesh, "shop/frontend", "payment.shop:80");
    assert_eq!(
        (&said["verdict"], &said["lane"], &said["errno"]),
        (&json!("allowed"), &json!("direct"), &Value::Null)
    );
    assert_eq!(said["identity"], "cluster.local/ns/shop/sa/frontend");
    assert_eq!(
        (&said["service"]["name"], &said["service"]["balance"]),
        (&json!("shop/payment"), &json!("two-choices"))
    );
    assert_eq!(said["generation"], mesh.json(&["status"])["generation"]);
    assert!(said["rule"].as_str().is_some_and(|it| it.contains("shop/payment-callers")), "{said:#}");
    let endpoints = said["candidates"].as_array().expect("a list");
    assert_eq!(endpoints.len(), 2, "{said:#}");
    for endpoint in endpoints {
        assert_eq!(
            (&endpoint["verdict"], &endpoint["port"]),
            (&json!("allowed"), &json!(8080)),
            "{endpoint}"
        );
        assert_eq!((&endpoint["weight"], &endpoint["live"]), (&json!(100), &json!(0)), "{endpoint}");
        assert_eq!((&endpoint["score"], &endpoint["share"]), (&json!(0.0), &json!(0.5)), "{endpoint}");
    }
    let hooks: Vec<_> =
        said["steps"].as_array().expect("a list").iter().map(|it| it["hook"].clone()).collect();
    for hook in ["sock_create", "connect4", "sockops TCP_CONNECT_CB", "sk_lookup"] {
        assert!(hooks.contains(&json!(hook)), "no {hook}: {hooks:?}");
    }

    let said = explain(&mesh, "shop/thief", "payment.shop:80");
    assert_eq!(
        (&said["verdict"], &said["lane"], &said["errno"]),
        (&json!("refused"), &json!("refused"), &json!(1))
    );
    assert_eq!(said["reason"], "policy_no_match", "{said:#}");

    for (from, word) in [("shop/frontend", "shop/payment-callers"), ("shop/thief", "policy_no_match")] {
        let text = mesh.wabe(&["explain", from, "payment.shop:80"]).stdout;
        assert!(text.contains(word), "{text}");
    }
    refused_by_rule(&mesh);
    while_the_agent_is_dead(&mesh);
    mesh.down();
}

/// A DENY rule is named by its policy and number.
fn refused_by_rule(mesh: &TestMesh) {
    let thief = json!({ "from": [{ "source": { "serviceAccounts": ["thief"] } }] });
    let other = json!({ "from": [{ "source": { "serviceAccounts": ["nobody"] } }] });
    let spec = json!({ "action": "DENY", "rules": [other, thief] });
    let _ = mesh.apply(&Policy::new("shop/no-thieves", spec).to_string()).success();
    let said = explain(mesh, "shop/thief", "payment.shop:80");
    assert_eq!((&said["verdict"], &said["reason"]), (&json!("refused"), &json!("policy_deny")), "{said:#}");
    let rule = said["rule"].as_str().expect("the rule's name");
    assert!(rule.contains("shop/no-thieves") && rule.contains('2'), "the second rule: {rule}");
}

/// It needs the kernel's tables only.
fn while_the_agent_is_dead(mesh: &TestMesh) {
    let pairs = [
        ("shop/frontend", "payment.shop:80"),
        ("shop/thief", "payment.shop:80"),
        ("shop/thief", "127.0.0.1:9"),
    ];
    let before = pairs.map(|(from, to)| explain(mesh, from, to));
    let killed = mesh.machine().kill_role("agent");
    assert_eq!(pairs.map(|(from, to)| explain(mesh, from, to)), before);
    let alive = mesh.machine().role("agent");
    eprintln!("agent {killed} was killed; while `explain` ran the keeper started {alive:?}");
}

#[test]
fn what_can_not_be_explained_is_named() {
    let mesh = TestMesh::up(&manifests());
    for (from, to, word) in [
        ("shop/nobody", "payment.shop:80", "shop/nobody"),
        ("shop/thief", "nosuch.shop:80", "nosuch.shop"),
        ("shop/thief", "payment.shop:99999", "99999"),
        ("shop/thief", "10.1.2.3", "port"),
    ] {
        let said = mesh.wabe(&["explain", from, to]);
        assert!(!said.status.success() && said.stderr.contains(word), "{said}");
    }
    mesh.down();
}
