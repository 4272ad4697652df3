//! Names: what `wabe dns` says, and that the resolvers which programs come with understand it, with `/etc/resolv.conf`
//! as it is.

use std::sync::OnceLock;

use serde_json::{Value, json};
use wabe_tests::{
    eventually,
    manifest::{Service, Workload, all},
    status::named,
    testkit::{TestMesh, shared},
};

#[path = "names/forwarding.rs"]
mod forwarding;
#[path = "names/records.rs"]
mod records;
#[path = "names/resolvers.rs"]
mod resolvers;

/// Two namespaces with a caller each; services of every kind.
fn manifests() -> String {
    let web = "import http.server, socket
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(('::', 8080), http.server.SimpleHTTPRequestHandler).serve_forever()";
    let port = |number: u16| json!([{ "name": "main", "port": number }]);
    all(&[
        &Workload::idle("shop/caller"),
        &Workload::idle("other/caller"),
        &Workload::server("shop/cart").with("replicas", 2.into()),
        &Service::new("shop/cart"),
        &Service::new("shop/direct")
            .with("clusterIP", "None".into())
            .with("selector", json!({ "app": "cart" })),
        &Service::new("shop/four")
            .with("ipFamilies", json!(["IPv4"]))
            .with("selector", json!({ "app": "cart" })),
        &Service::new("other/nobody"),
        &Workload::new("shop/web", &["/usr/bin/python3", "-c", web])
            .with("workingDir", "/usr/share/common-licenses".into())
            .with("ports", port(8080))
            .with("readiness", json!({ "tcp": { "port": 8080 } })),
        &Service::new("shop/web"),
    ])
}

fn mesh() -> &'static TestMesh {
    static MESH: OnceLock<TestMesh> = OnceLock::new();
    shared(&MESH, manifests)
}

/// The virtual addresses of a service, sorted as text.
fn addresses(mesh: &TestMesh, service: &str) -> Vec<String> {
    let status = mesh.json(&["status"]);
    let list = named(&status["services"], service)["addresses"].as_array().expect("a list").clone();
    let mut texts: Vec<_> = list.iter().map(|it| it.as_str().expect("an address").to_owned()).collect();
    texts.sort();
    texts
}

/// Those of this family.
fn of_family(addresses: &[String], v6: bool) -> Vec<String> {
    addresses.iter().filter(|it| it.contains(':') == v6).cloned().collect()
}

/// The addresses of a workload's replicas, sorted as text.
fn replicas(mesh: &TestMesh, workload: &str) -> Vec<String> {
    let workload = wabe_tests::status::workload(mesh, workload);
    let instances = workload["instances"].as_array().expect("a list");
    let lists = instances.iter().flat_map(|it| it["addresses"].as_array().expect("a list"));
    let mut texts: Vec<_> = lists.map(|it| it.as_str().expect("an address").to_owned()).collect();
    texts.sort();
    texts
}

/// A script where workloads of this mesh can read it; it goes with the mesh.
fn script(mesh: &TestMesh, name: &str) -> String {
    let text = match name {
        "ask.py" => include_str!("names/ask.py"),
        "resolvers.py" => include_str!("names/resolvers.py"),
        "gai.c" => include_str!("names/gai.c"),
        other => panic!("no script {other}"),
    };
    mesh.file(name, text)
}

/// Debian's Python, which has the packages, whatever else is in PATH.
const PYTHON: &str = "/usr/bin/python3";

/// Asks `server` from inside a workload: one answer for each (name, type).
#[track_caller]
fn ask(mesh: &TestMesh, caller: &str, server: &str, carrier: &str, questions: &[(&str, &str)]) -> Vec<Value> {
    let script = script(mesh, "ask.py");
    let mut command = vec![PYTHON, &script, server, carrier];
    for (name, kind) in questions {
        command.extend([*name, *kind]);
    }
    let answers = mesh.exec(caller, &command).success().json_lines();
    assert_eq!(answers.len(), questions.len());
    answers
}

/// What the C library finds, from inside a workload.
#[track_caller]
fn resolve(mesh: &TestMesh, caller: &str, name: &str) -> Vec<String> {
    let said = mesh.testbox(caller, &["resolve", name]).success().json();
    let list = said["addresses"].as_array().expect("a list").clone();
    let mut texts: Vec<_> = list.iter().map(|it| it.as_str().expect("an address").to_owned()).collect();
    texts.sort();
    texts
}

#[test]
fn are_answered_again_after_dns_was_killed() {
    let mesh = TestMesh::up(&manifests());
    let before = resolve(&mesh, "shop/caller", "cart");
    assert_eq!(before, addresses(&mesh, "shop/cart"));
    let killed = mesh.machine().kill_role("dns");
    eventually("the keeper starts another", || mesh.machine().role("dns").filter(|it| *it != killed));
    // The C library asks again by itself; nothing else is needed.
    assert_eq!(resolve(&mesh, "shop/caller", "cart"), before);
    for carrier in ["udp", "tcp"] {
        let said = ask(&mesh, "shop/caller", "default", carrier, &[("cart.shop.svc.cluster.local.", "A")]);
        assert_eq!(said[0]["answers"], json!(of_family(&before, false)));
    }
    mesh.down();
}

#[test]
fn are_answered_while_the_agent_is_dead() {
    let mesh = TestMesh::up(&manifests());
    let before = resolve(&mesh, "shop/caller", "cart");
    mesh.machine().kill_role("agent");
    assert_eq!(resolve(&mesh, "shop/caller", "cart"), before);
    mesh.down();
}

#[test]
fn follow_what_becomes_of_services_and_workloads() {
    let mesh = mesh();
    let (server, service) = (Workload::server("come/server"), Service::new("come/server"));
    let headless = Service::new("come/direct")
        .with("clusterIP", "None".into())
        .with("selector", json!({ "app": "server" }));
    let manifests = all(&[&server, &service, &headless]);
    assert!(resolve(mesh, "shop/caller", "server.come").is_empty());
    let _ = mesh.apply(&manifests).success();
    wabe_tests::status::until_ready(mesh, "come/server", 1);
    eventually("the service has a name", || {
        (resolve(mesh, "shop/caller", "server.come") == addresses(mesh, "come/server")).then_some(())
    });
    for replicas_now in ["3", "1"] {
        let _ = mesh.wabe(&["scale", "come/server", replicas_now]).success();
        wabe_tests::status::until_ready(mesh, "come/server", replicas_now.parse().expect("a number"));
        eventually("the headless service's name leads to all replicas", || {
            (resolve(mesh, "shop/caller", "direct.come") == replicas(mesh, "come/server")).then_some(())
        });
    }
    let _ = mesh.delete(&manifests).success();
    eventually("the name is gone", || resolve(mesh, "shop/caller", "server.come").is_empty().then_some(()));
}

#[test]
fn lead_to_the_service_for_tcp_by_both_families() {
    for address in addresses(mesh(), "shop/cart") {
        let target = std::net::SocketAddr::new(address.parse().expect("an address"), 80).to_string();
        let said = mesh().testbox("other/caller", &["connect", &target]).success().json();
        assert!(said["first"].as_str().is_some_and(|it| it.starts_with("cart/")), "{said}");
    }
}
