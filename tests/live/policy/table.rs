//! A table of policies and callers.

use std::net::IpAddr;

use serde_json::{Value, json};
use wabe_testkit::TestMesh;
use wabe_tests::{
    Applied, eventually,
    facts::{Facts, call, call_from_host, call_with},
    manifest::{Policy, all},
};

/// Who gets through to port 8080 of `s/web`, in this order: alice and bob of namespace a, carol of b, the host.
type Admitted = [bool; 4];

const YES: bool = true;
const NO: bool = false;
/// Everybody of the mesh: what holds without any policy.
const MESH: Admitted = [YES, YES, YES, NO];
const NOBODY: Admitted = [NO; 4];

struct Row {
    name: &'static str,
    policies: Vec<Policy>,
    web: Admitted,
    /// Who gets through to port 9090, if not the same.
    web_9090: Option<Admitted>,
    /// Who gets through to `s/other`, if not everybody.
    other: Admitted,
}

impl Row {
    fn new(name: &'static str, policies: Vec<Policy>, web: Admitted) -> Self {
        Self { name, policies, web, web_9090: None, other: MESH }
    }
}

/// A policy of namespace s that selects `s/web`.
fn web(name: &str, mut spec: Value) -> Policy {
    spec["selector"] = json!({ "matchLabels": { "app": "web" } });
    Policy::new(&format!("s/{name}"), spec)
}

/// The same with one rule about callers.
fn from(action: &str, source: Value) -> Policy {
    web(&action.to_lowercase(), json!({ "action": action, "rules": [{ "from": [{ "source": source }] }] }))
}

/// The same with one rule about ports.
fn to(action: &str, operation: Value) -> Policy {
    web(
        &action.to_lowercase(),
        json!({ "action": action, "rules": [{ "to": [{ "operation": operation }] }] }),
    )
}

fn rows(alice: [IpAddr; 2], host: [IpAddr; 2]) -> Vec<Row> {
    let one = |name, policy, admitted| Row::new(name, vec![policy], admitted);
    let alice_s = "cluster.local/ns/a/sa/alice";
    let when = |key: &str, field: &str, values: &[&str]| {
        web("when", json!({ "rules": [{ "when": [{ "key": key, field: values }] }] }))
    };
    let blocks = |addresses: [IpAddr; 2]| json!(addresses.map(|it| it.to_string()));
    let deny_9090 =
        Row { web_9090: Some(NOBODY), ..one("DENY ports", to("DENY", json!({ "ports": ["9090"] })), MESH) };
    let only_8080 =
        Row { web_9090: Some(NOBODY), ..one("ALLOW ports", to("ALLOW", json!({ "ports": ["8080"] })), MESH) };
    let not_9090 = Row {
        web_9090: Some(NOBODY),
        ..one("ALLOW notPorts", to("ALLOW", json!({ "notPorts": ["9090"] })), MESH)
    };
    let both = web(
        "both",
        json!({ "rules": [{ "from": [{ "source": { "namespaces": ["a"] } }], "to": [{ "operation": { "ports": ["8080"] } }] }] }),
    );
    let port_when = when("destination.port", "values", &["8080"]);
    vec![
        Row::new("no policy", vec![], MESH),
        one("ALLOW principals", from("ALLOW", json!({ "principals": [alice_s] })), [YES, NO, NO, NO]),
        one(
            "ALLOW principals by end",
            from("ALLOW", json!({ "principals": ["*/sa/bob"] })),
            [NO, YES, NO, NO],
        ),
        one(
            "ALLOW principals by start",
            from("ALLOW", json!({ "principals": ["cluster.local/ns/a/*"] })),
            [YES, YES, NO, NO],
        ),
        one("ALLOW any principal", from("ALLOW", json!({ "principals": ["*"] })), MESH),
        one(
            "ALLOW principals of another trust domain",
            from("ALLOW", json!({ "principals": ["elsewhere/ns/a/sa/alice"] })),
            NOBODY,
        ),
        one("ALLOW notPrincipals", from("ALLOW", json!({ "notPrincipals": [alice_s] })), [NO, YES, YES, NO]),
        one("ALLOW namespaces", from("ALLOW", json!({ "namespaces": ["a"] })), [YES, YES, NO, NO]),
        one("ALLOW notNamespaces", from("ALLOW", json!({ "notNamespaces": ["a"] })), [NO, NO, YES, NO]),
        one(
            "ALLOW serviceAccounts",
            from("ALLOW", json!({ "serviceAccounts": ["a/bob"] })),
            [NO, YES, NO, NO],
        ),
        one(
            "ALLOW serviceAccounts of its own namespace",
            from("ALLOW", json!({ "serviceAccounts": ["bob"] })),
            NOBODY,
        ),
        one(
            "ALLOW notServiceAccounts",
            from("ALLOW", json!({ "notServiceAccounts": ["a/bob"] })),
            [YES, NO, YES, NO],
        ),
        one("ALLOW ipBlocks", from("ALLOW", json!({ "ipBlocks": blocks(alice) })), [YES, NO, NO, NO]),
        one(
            "ALLOW ipBlocks of the host",
            from("ALLOW", json!({ "ipBlocks": blocks(host) })),
            [NO, NO, NO, YES],
        ),
        one(
            "ALLOW ipBlocks of everywhere",
            from("ALLOW", json!({ "ipBlocks": ["0.0.0.0/0", "::/0"] })),
            [YES; 4],
        ),
        one("ALLOW ipBlocks of elsewhere", from("ALLOW", json!({ "ipBlocks": ["198.51.100.0/24"] })), NOBODY),
        one("ALLOW notIpBlocks", from("ALLOW", json!({ "notIpBlocks": blocks(alice) })), [NO, YES, YES, NO]),
        one(
            "ALLOW namespaces and notIpBlocks",
            from("ALLOW", json!({ "namespaces": ["a"], "notIpBlocks": blocks(alice) })),
            [NO, YES, NO, NO],
        ),
        only_8080,
        not_9090,
        Row { web_9090: Some(NOBODY), ..one("ALLOW namespaces and ports", both, [YES, YES, NO, NO]) },
        one("ALLOW when source.namespace", when("source.namespace", "values", &["b"]), [NO, NO, YES, NO]),
        one(
            "ALLOW when not source.principal",
            when("source.principal", "notValues", &[alice_s]),
            [NO, YES, YES, NO],
        ),
        one("ALLOW when source.ip", when("source.ip", "values", &["0.0.0.0/0", "::/0"]), [YES; 4]),
        Row { web_9090: Some(NOBODY), ..one("ALLOW when destination.port", port_when, MESH) },
        one("DENY principals", from("DENY", json!({ "principals": [alice_s] })), [NO, YES, YES, NO]),
        one("DENY notNamespaces", from("DENY", json!({ "notNamespaces": ["a"] })), [YES, YES, NO, NO]),
        one("DENY ipBlocks", from("DENY", json!({ "ipBlocks": blocks(alice) })), [NO, YES, YES, NO]),
        deny_9090,
        Row::new(
            "DENY before ALLOW",
            vec![
                from("ALLOW", json!({ "namespaces": ["a"] })),
                from("DENY", json!({ "principals": [alice_s] })),
            ],
            [NO, YES, NO, NO],
        ),
        Row::new(
            "ALLOW or ALLOW",
            vec![
                from("ALLOW", json!({ "namespaces": ["b"] })),
                web("more", json!({ "rules": [{ "from": [{ "source": { "principals": [alice_s] } }] }] })),
            ],
            [YES, NO, YES, NO],
        ),
        one("AUDIT marks and refuses nobody", from("AUDIT", json!({ "namespaces": ["a"] })), MESH),
        one(
            "dry-run DENY",
            from("DENY", json!({ "namespaces": ["a"] })).annotation("istio.io/dry-run", "true"),
            MESH,
        ),
        one("dry-run allow-nothing", web("dry", json!({})).annotation("istio.io/dry-run", "true"), MESH),
        Row {
            other: NOBODY,
            ..one("allow-nothing of a namespace", Policy::new("s/nothing", json!({})), NOBODY)
        },
        one("allow-nothing of another namespace", Policy::new("b/nothing", json!({})), MESH),
        Row {
            other: [YES, YES, NO, NO],
            ..one(
                "DENY in the root namespace",
                Policy::new(
                    "istio-system/mesh",
                    json!({ "action": "DENY", "rules": [{ "from": [{ "source": { "namespaces": ["b"] } }] }] }),
                ),
                [YES, YES, NO, NO],
            )
        },
        one(
            "DENY in the root namespace, selecting",
            Policy::new(
                "istio-system/mesh",
                json!({
                    "action": "DENY", "selector": { "matchLabels": { "app": "web" } },
                    "rules": [{ "from": [{ "source": { "principals": [alice_s] } }] }],
                }),
            ),
            [NO, YES, YES, NO],
        ),
    ]
}

pub(super) fn every_policy_says_what_istio_says(mesh: &TestMesh) {
    let facts = Facts::of(mesh);
    let (web, other) = (facts.addresses("s/web"), facts.addresses("s/other"));
    let mut wrong = Vec::new();
    let all_rows = rows(facts.addresses("a/alice"), host_addresses(mesh, web));
    let count = all_rows.len();
    for (number, row) in all_rows.into_iter().enumerate() {
        let manifests: String = row.policies.iter().map(ToString::to_string).collect();
        let _applied = Applied::new(mesh, manifests);
        // By turns IPv4 and IPv6: each row is about callers, not families.
        let family = number % 2;
        let targets = [
            (web[family], 8080, row.web),
            (web[family], 9090, row.web_9090.unwrap_or(row.web)),
            (other[family], 8080, row.other),
        ];
        for (address, port, expected) in targets {
            let got = outcomes(mesh, address, port);
            for ((who, got), admitted) in got.into_iter().zip(expected) {
                let wanted = match (admitted, who) {
                    (YES, _) => {
                        if address == other[family] {
                            "other/0"
                        } else {
                            "web/0"
                        }
                    }
                    // Inbound: there is no mesh at the caller's side, it sees a reset.
                    (NO, "host") => "ECONNREFUSED",
                    (NO, _) => "EPERM",
                };
                if got != wanted {
                    wrong.push(format!("{}: {who} to {address}:{port}: {got} instead of {wanted}", row.name));
                }
            }
        }
    }
    println!("{count} policies x 4 callers x 3 targets");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn outcomes(mesh: &TestMesh, address: IpAddr, port: u16) -> [(&'static str, String); 4] {
    [
        ("alice", call(mesh, "a/alice", (address, port))),
        ("bob", call(mesh, "a/bob", (address, port))),
        ("carol", call(mesh, "b/carol", (address, port))),
        ("host", call_from_host(mesh, (address, port))),
    ]
}

/// What the host's kernel takes for its own address towards the mesh.
fn host_addresses(mesh: &TestMesh, towards: [IpAddr; 2]) -> [IpAddr; 2] {
    towards.map(|address| {
        let unspecified: IpAddr = if address.is_ipv6() { [0; 16].into() } else { [0; 4].into() };
        // Connecting a datagram socket sends nothing, but chooses the source.
        mesh.machine().namespace().run(|| {
            let socket = std::net::UdpSocket::bind((unspecified, 0)).expect("a socket");
            socket.connect((address, 9)).expect("the mesh's range is routed");
            socket.local_addr().expect("bound").ip()
        })
    })
}

pub(super) fn loopback_is_always_admitted(mesh: &TestMesh) {
    let nothing = Policy::new("s/nothing", json!({})).to_string();
    let deny = Policy::new("istio-system/deny", json!({ "action": "DENY", "rules": [{}] })).to_string();
    let _applied = Applied::new(mesh, format!("{nothing}{deny}"));
    let [v4, v6] = Facts::of(mesh).addresses("s/web");
    let loopback: [IpAddr; 2] = [[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
    for address in [v4, v6, loopback[0], loopback[1]] {
        assert_eq!(call(mesh, "s/web", (address, 8080)), "web/0", "{address}");
        assert_eq!(
            call_with(mesh, "s/web", (address, 8080), &["--source-mapped"]),
            "web/0",
            "{address} mapped"
        );
    }
    assert_eq!(call(mesh, "s/other", (v4, 8080)), "EPERM", "not from another workload");
}

pub(super) fn a_dry_run_is_told_and_not_enforced(mesh: &TestMesh) {
    let policy = from("DENY", json!({ "namespaces": ["b"] })).annotation("istio.io/dry-run", "true");
    let audit = web("audit", json!({ "action": "AUDIT", "rules": [{}] }));
    let _applied = Applied::new(mesh, all(&[&policy, &audit]));
    let [v4, _] = Facts::of(mesh).service("s/web");
    assert_eq!(call(mesh, "b/carol", (v4, 80)), "web/0");
    let explained = eventually("an explanation", || {
        let finished = mesh.wabe(&["explain", "b/carol", &format!("{v4}:80")]);
        finished.status.success().then_some(finished.stdout)
    });
    for told in ["audited by s/audit", "dry run would deny"] {
        assert!(explained.contains(told), "no word of it: {explained}");
    }
}
