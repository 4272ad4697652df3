//! What is there once `wabe up` has returned.

use std::collections::BTreeSet;

use serde_json::Value;
use wabe_tests::{
    eventually,
    manifest::{Policy, Service, Workload, all},
    status::named,
    testkit::{Machine, TestMesh, testbox},
};

use super::mesh;

#[test]
fn returns_when_all_is_ready() {
    let mesh = TestMesh::up(&all(&[
        &Workload::idle("shop/caller"),
        &Workload::server("shop/cart").with("replicas", 2.into()),
        &Service::new("shop/cart"),
    ]));
    // The very first connection succeeds, and status agrees.
    let said = mesh.testbox("shop/caller", &["connect", "cart.shop:80"]).success().json();
    assert!(said["first"].as_str().is_some_and(|it| it.starts_with("cart/")), "{said}");
    let status = mesh.json(&["status"]);
    assert_eq!(named(&status["workloads"], "shop/cart")["ready"], 2);
    mesh.down();
}

#[test]
fn two_meshes_on_one_machine_leave_each_other_alone() {
    let service = Service::new("shop/cart");
    let mesh =
        TestMesh::up(&all(&[&Workload::idle("shop/caller"), &Workload::server("shop/cart"), &service]));
    // A second name, but on the first one's machine; its `cart` is another workload.
    let second = Machine::new();
    let wabe = |args: &[&str]| mesh.machine().run(second.wabe_command(args)).success();
    let cart = Workload::server("shop/second").label("app", "cart");
    let manifests = mesh.file("second.yaml", &all(&[&Workload::idle("shop/caller"), &cart, &service]));
    let _ = wabe(&["up", "-f", &manifests]);
    let box_path = testbox();
    let box_path = box_path.to_str().expect("a path in UTF-8");
    let in_second = |args: &[&str]| wabe(&[&["exec", "shop/caller", "--", box_path], args].concat()).json();

    // Names, services and explanations are each one's own.
    let call = ["connect", "cart.shop:80"];
    assert_eq!(mesh.testbox("shop/caller", &call).success().json()["first"], "cart/0");
    assert_eq!(in_second(&call)["first"], "second/0");
    let candidate = |said: &Value| said["candidates"][0]["workload"].clone();
    let explain = ["explain", "shop/caller", "cart.shop:80", "-o", "json"];
    assert_eq!(candidate(&mesh.wabe(&explain).success().json()), "shop/cart");
    assert_eq!(candidate(&wabe(&explain).json()), "shop/second");
    let receivers = |lines: Vec<Value>| -> BTreeSet<String> {
        lines.iter().filter_map(|it| it["to"]["workload"].as_str().map(String::from)).collect()
    };
    let flows = ["flows", "-o", "json"];
    let (first, second) = eventually("both tell of their own", || {
        let told =
            (receivers(mesh.wabe(&flows).success().json_lines()), receivers(wabe(&flows).json_lines()));
        (!told.0.is_empty() && !told.1.is_empty()).then_some(told)
    });
    assert_eq!(
        (first, second),
        (BTreeSet::from(["shop/cart".into()]), BTreeSet::from(["shop/second".into()]))
    );

    // Each is the outside of the other, and there is no egress.
    let status = wabe(&["status", "-o", "json"]).json();
    let other = &named(&status["workloads"], "shop/second")["instances"][0]["addresses"][0];
    let other = format!("{}:8080", other.as_str().expect("an address"));
    assert_eq!(mesh.testbox("shop/caller", &["connect", &other]).success().json()["errno"], "ENETUNREACH");

    // A policy is in force where it was applied, and nowhere else.
    let deny = Policy::new("shop/nobody", serde_json::json!({ "action": "DENY", "rules": [{}] }));
    let _ = wabe(&["apply", "-f", &mesh.file("deny.yaml", &deny.to_string())]);
    assert_eq!(in_second(&call)["errno"], "EPERM");
    assert_eq!(mesh.testbox("shop/caller", &call).success().json()["first"], "cart/0");

    // The end of one is nothing to the other.
    let load = ["connect", "cart.shop:80", "--count", "2000", "--rate", "500", "--summary", "--resolve-each"];
    let mut load = mesh.start_testbox("shop/caller", &load);
    let _ = wabe(&["down"]);
    assert_eq!(load.next_json()["by_answer"], serde_json::json!({ "cart/0": 2000 }));
    mesh.down();
}

#[test]
fn status_tells_all_that_there_is() {
    let status = mesh().json(&["status"]);
    assert_eq!(status["mesh"], mesh().name());
    assert!(status["generation"].as_u64().is_some_and(|it| it > 0), "{status:#}");
    let cart = named(&status["workloads"], "shop/cart");
    assert_eq!((cart["ready"].as_u64(), cart["wanted"].as_u64()), (Some(2), Some(2)));
    assert_eq!(cart["principal"], "cluster.local/ns/shop/sa/default");
    let instances = cart["instances"].as_array().expect("a list");
    assert_eq!(instances.iter().map(|it| it["replica"].clone()).collect::<Vec<_>>(), [0, 1]);
    for instance in instances {
        assert_eq!(instance["phase"], "started");
        assert_eq!(instance["addresses"].as_array().map(Vec::len), Some(2), "IPv4 and IPv6: {instance}");
        assert!(instance["pid"].as_u64().is_some_and(|it| it > 1), "{instance}");
    }
    let service = named(&status["services"], "shop/cart");
    assert_eq!(service["addresses"].as_array().map(Vec::len), Some(2), "IPv4 and IPv6: {service}");
    assert_eq!(service["ports"][0], "80/tcp");
    let endpoints = service["endpoints"].as_array().expect("a list");
    assert!(endpoints.len() == 2 && endpoints.iter().all(|it| it["ready"] == true), "{service}");
    for map in status["maps"].as_array().expect("a list") {
        let limit = map["limit"].as_u64().expect("a number");
        // Without limit and count: what the kernel keeps in the sockets themselves.
        assert!(map["used"].as_u64().is_none_or(|used| used <= limit && limit > 0), "{map}");
    }
}

#[test]
fn status_counts_lanes_and_names_the_processes() {
    let status = || mesh().json(&["status"]);
    let direct = |status: &Value| named(&status["lanes"], "direct")["count"].as_u64().expect("a count");
    let before = direct(&status());
    let _ =
        mesh().testbox("shop/caller", &["connect", "cart.shop:80", "--count", "5", "--summary"]).success();
    let after = status();
    assert!(direct(&after) >= before + 5, "{after:#}");
    for role in ["keeper", "agent", "dns", "proxy"] {
        let told = after["processes"].as_array().expect("a list").iter().find(|it| it["role"] == role);
        let pid = mesh().machine().role(role).map(Value::from);
        assert_eq!(told.map(|it| &it["pid"]), pid.as_ref(), "{role}: {after:#}");
    }
}

#[test]
fn status_for_people_names_workloads_and_services() {
    let said = mesh().wabe(&["status"]).success().stdout;
    for word in ["shop/cart", "shop/caller", "keeper", "agent", "dns", "proxy"] {
        assert!(said.contains(word), "no {word}:\n{said}");
    }
}

#[test]
fn what_was_applied_can_be_read_back_and_applied_again() {
    let policy = Policy::new("readback/policy", serde_json::json!({ "action": "DENY", "rules": [{}] }));
    let manifests = all(&[&Workload::server("readback/server"), &Service::new("readback/server"), &policy]);
    let _ = mesh().apply(&manifests).success();
    for (kind, name) in [
        ("Workload", "readback/server"),
        ("Service", "readback/server"),
        ("AuthorizationPolicy", "readback/policy"),
    ] {
        let read = mesh().wabe(&["get", kind, name, "-o", "yaml"]).success().stdout;
        assert!(read.contains(&format!("kind: {kind}")), "{read}");
        let again = mesh().apply(&read);
        assert!(again.status.success(), "{again}");
        let json = mesh().json(&["get", kind, name]);
        assert_eq!((&json["kind"], &json["metadata"]["name"]), (&kind.into(), &name[9..].into()), "{json:#}");
    }
    let list = mesh().wabe(&["get", "Workload"]).success().stdout;
    assert!(list.contains("cart") && list.contains("caller"), "{list}");
    let none = mesh().wabe(&["get", "Workload", "readback/nobody"]);
    assert!(!none.status.success() && none.stderr.contains("readback/nobody"), "{none}");
}
