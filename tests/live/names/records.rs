//! What `wabe dns` answers, record by record.

use std::fs;

use serde_json::{Value, json};

use super::{addresses, ask, mesh, of_family, replicas};

/// The ways to write a service's name, and who may write it so.
const SPELLINGS: [(&str, &str); 8] = [
    ("shop/caller", "cart."),
    ("shop/caller", "cart.shop."),
    ("shop/caller", "cart.shop.svc."),
    ("shop/caller", "cart.shop.svc.cluster.local."),
    ("shop/caller", "CART.Shop.svc.Cluster.LOCAL."),
    ("other/caller", "cart.shop."),
    ("other/caller", "cart.shop.svc."),
    ("other/caller", "cart.shop.svc.cluster.local."),
];

#[test]
fn every_spelling_leads_to_both_addresses_by_udp_and_tcp() {
    let expected = addresses(mesh(), "shop/cart");
    for caller in ["shop/caller", "other/caller"] {
        let names: Vec<&str> = SPELLINGS.iter().filter(|it| it.0 == caller).map(|it| it.1).collect();
        for carrier in ["udp", "tcp"] {
            for (kind, v6) in [("A", false), ("AAAA", true)] {
                let questions: Vec<_> = names.iter().map(|name| (*name, kind)).collect();
                for said in ask(mesh(), caller, "default", carrier, &questions) {
                    assert_eq!(said["rcode"], "NOERROR", "{caller} {carrier} {kind}: {said}");
                    assert_eq!(
                        said["answers"],
                        json!(of_family(&expected, v6)),
                        "{caller} {carrier}: {said}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_short_name_belongs_to_the_namespace_of_the_caller() {
    let said = ask(mesh(), "other/caller", "default", "udp", &[("nobody.", "A"), ("cart.other.", "A")]);
    assert_eq!(said[0]["answers"], json!(of_family(&addresses(mesh(), "other/nobody"), false)), "{said:?}");
    assert_eq!(said[1]["answers"], json!([]), "{said:?}");
}

#[test]
fn unknown_names_of_the_mesh_are_nxdomain_at_once() {
    let questions = [
        ("nosuch.shop.svc.cluster.local.", "A"),
        ("nosuch.shop.svc.cluster.local.", "AAAA"),
        ("cart.nosuch.svc.cluster.local.", "A"),
        ("cart.shop.svc.", "A"),
        ("nosuch.shop.svc.", "A"),
        // What resolvers with a search list of Kubernetes try before the name itself.
        ("cart.shop.shop.svc.cluster.local.", "A"),
        ("cart.shop.svc.cluster.local.svc.cluster.local.", "A"),
        ("www.example.shop.svc.cluster.local.", "A"),
        ("www.example.svc.cluster.local.", "AAAA"),
        ("www.example.cluster.local.", "A"),
    ];
    let said = ask(mesh(), "shop/caller", "default", "udp", &questions);
    for (said, (name, _)) in said.iter().zip(questions) {
        let expected = if name == "cart.shop.svc." { "NOERROR" } else { "NXDOMAIN" };
        assert_eq!(said["rcode"], expected, "{said}");
        if expected == "NXDOMAIN" {
            // Resolvers may remember it only if there is an SOA.
            assert!(said["authority"][0].as_str().is_some_and(|it| it.contains(" SOA ")), "{said}");
        }
    }
    eprintln!("answered after {} ms", said[0]["milliseconds"]);
}

#[test]
fn a_family_that_a_service_lacks_is_no_data() {
    let said =
        ask(mesh(), "shop/caller", "default", "udp", &[("four.", "A"), ("four.", "AAAA"), ("four.", "MX")]);
    assert_eq!(said[0]["answers"].as_array().map(Vec::len), Some(1), "{said:?}");
    for none in &said[1..] {
        assert_eq!((&none["rcode"], &none["answers"]), (&json!("NOERROR"), &json!([])), "{none}");
    }
}

#[test]
fn a_headless_service_leads_to_its_workloads() {
    let expected = replicas(mesh(), "shop/cart");
    let said = ask(mesh(), "shop/caller", "default", "udp", &[("direct.", "A"), ("direct.", "AAAA")]);
    assert_eq!(said[0]["answers"], json!(of_family(&expected, false)));
    assert_eq!(said[1]["answers"], json!(of_family(&expected, true)));
}

#[test]
fn srv_names_ports_and_ptr_names_addresses() {
    let srv = ask(
        mesh(),
        "shop/caller",
        "default",
        "udp",
        &[
            ("_main._tcp.cart.shop.svc.cluster.local.", "SRV"),
            ("_main._tcp.direct.shop.svc.cluster.local.", "SRV"),
            ("_main._udp.cart.shop.svc.cluster.local.", "SRV"),
        ],
    );
    let fields = |value: &Value| -> Vec<Vec<String>> {
        let texts = value.as_array().expect("a list").iter().map(|it| it.as_str().expect("text"));
        texts.map(|it| it.split(' ').map(String::from).collect()).collect()
    };
    let service = fields(&srv[0]["answers"]);
    assert_eq!((service.len(), service[0][2].as_str()), (1, "80"), "{srv:?}");
    assert_eq!(service[0][3], "cart.shop.svc.cluster.local.");
    // Those of a headless service lead to workloads and their own ports.
    let workloads = fields(&srv[1]["answers"]);
    assert_eq!(workloads.len(), 2, "{srv:?}");
    let targets: Vec<_> = workloads.iter().map(|it| (it[3].as_str(), "A")).collect();
    let mut found = Vec::new();
    for (said, workload) in ask(mesh(), "shop/caller", "default", "udp", &targets).iter().zip(&workloads) {
        assert_eq!(workload[2], "8080", "{srv:?}");
        found.push(said["answers"][0].as_str().expect("an address").to_owned());
    }
    found.sort();
    assert_eq!(found, of_family(&replicas(mesh(), "shop/cart"), false));
    assert_eq!(srv[2]["answers"], json!([]), "no such port by UDP");

    for address in addresses(mesh(), "shop/cart") {
        let name = reverse(&address);
        let said = ask(mesh(), "shop/caller", "default", "udp", &[(&name, "PTR")]);
        assert_eq!(said[0]["answers"], json!(["cart.shop.svc.cluster.local."]), "{name}: {said:?}");
    }
}

fn reverse(address: &str) -> String {
    match address.parse().expect("an address") {
        std::net::IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        std::net::IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().flat_map(|it| [it >> 4, it & 15]).collect::<Vec<_>>();
            let text: String = nibbles.iter().rev().map(|it| format!("{it:x}.")).collect();
            format!("{text}ip6.arpa.")
        }
    }
}

/// A socket on a wildcard address may answer from another address than was asked; programs that check would wait in
/// vain. `ask.py` checks.
#[test]
fn answers_come_from_the_address_that_was_asked() {
    let file = format!("/run/wabe/{}/names/names.json", mesh().name());
    let names: Value = serde_json::from_slice(&fs::read(file).expect("a mesh has names")).expect("JSON");
    let node = names["resolver"].as_array().expect("a list");
    assert_eq!(node.len(), 2, "IPv4 and IPv6: {names:#}");
    let expected = of_family(&addresses(mesh(), "shop/cart"), false);
    for server in node.iter().map(|it| it.as_str().expect("an address")).chain(["127.0.0.53", "default"]) {
        for carrier in ["udp", "tcp"] {
            let said = ask(mesh(), "shop/caller", server, carrier, &[("cart.shop.", "A")]);
            assert_eq!(said[0]["answers"], json!(expected), "{server} {carrier}");
            assert_eq!(said[0]["edns"], 0, "{server} {carrier}");
        }
    }
}

#[test]
fn many_questions_at_once_get_their_own_answers() {
    let script = "import concurrent.futures, socket, sys
names = ['cart', 'web', 'cart.shop', 'web.shop.svc.cluster.local']
def find(number):
    name = names[number % len(names)]
    return name.split('.')[0], socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    found = set(pool.map(find, range(1000)))
for name, address in sorted(found): print(name, address)";
    let said = mesh().exec("shop/caller", &[super::PYTHON, "-c", script]).success().stdout;
    let v4 = |service: &str| of_family(&addresses(mesh(), service), false).remove(0);
    assert_eq!(said, format!("cart {}\nweb {}\n", v4("shop/cart"), v4("shop/web")));
}
