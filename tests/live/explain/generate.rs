//! Random meshes: always the same for the same seed.

use serde_json::{Value, json};
use wabe_tests::manifest::{Service, Workload, all};

/// Namespaces and names of workloads, each with a service account of its own name but for `b`, which shares `a`'s.
pub(crate) const WORKLOADS: [&str; 8] =
    ["red/a", "red/b", "red/c", "green/d", "green/e", "blue/f", "blue/g", "blue/h"];

/// Services, each with the ports 80 and 90, leading to 8080 and 9090 of the workloads with that `tier`.
pub(crate) const SERVICES: [(&str, &str); 4] =
    [("red/both", "front"), ("green/both", "front"), ("blue/one", "back"), ("green/none", "nobody")];

/// Ports that workloads listen on, and one that they do not.
pub(crate) const PORTS: [u16; 3] = [8080, 9090, 7070];

/// What runs while policies change.
pub(crate) fn mesh() -> String {
    let script = "$TESTBOX id --listen [::]:8080 & exec $TESTBOX id --listen [::]:9090";
    let workload = |name: &str| {
        let account = if name == "red/b" { "a" } else { &name[name.len() - 1..] };
        let tier = if ["red/a", "red/b", "green/d", "green/e"].contains(&name) { "front" } else { "back" };
        Workload::new(name, &["sh", "-c", script])
            .label("tier", tier)
            .with("serviceAccount", account.into())
            .with("readiness", json!({ "tcp": { "port": 9090 } }))
            .to_string()
    };
    let service = |(name, tier): (&str, &str)| {
        let port =
            |name: &str, port: u16, target: u16| json!({ "name": name, "port": port, "targetPort": target });
        Service::new(name)
            .with("selector", json!({ "tier": tier }))
            .with("ports", json!([port("one", 80, 8080), port("two", 90, 9090)]))
            .to_string()
    };
    WORKLOADS.map(workload).into_iter().chain(SERVICES.map(service)).collect()
}

/// A random number generator (xorshift64*, Vigna 2016): small, and the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 0 to `below` - 1.
    pub(crate) fn number(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).expect("31 bits") % below
    }

    pub(crate) fn one<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.number(list.len())]
    }

    /// True `percent` times of a hundred.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.number(100) < percent
    }
}

/// Six policies, always of the same names so that one set replaces another: two of each small namespace, and one for
/// the whole mesh.
pub(crate) fn policies(random: &mut Random, addresses: &[String]) -> String {
    let places = ["red/p0", "red/p1", "green/p2", "blue/p3", "blue/p4", "istio-system/p5"];
    let documents = places.map(|place| policy(random, place, addresses));
    all(&documents.each_ref().map(|it| it as &dyn std::fmt::Display))
}

fn policy(random: &mut Random, place: &str, addresses: &[String]) -> String {
    let (namespace, name) = place.split_once('/').expect("a name");
    let action = *random.one(&["ALLOW", "ALLOW", "ALLOW", "DENY", "DENY", "AUDIT"]);
    let mut spec = json!({ "action": action });
    match random.number(3) {
        0 => {}
        1 => spec["selector"] = json!({ "matchLabels": { "tier": random.one(&["front", "back"]) } }),
        _ => {
            let own: Vec<_> = WORKLOADS.iter().filter_map(|it| it.strip_prefix(namespace)).collect();
            // The root namespace has none: any workload's name will do there.
            let app = if own.is_empty() { "c" } else { &random.one(&own)[1..] };
            spec["selector"] = json!({ "matchLabels": { "app": app } });
        }
    }
    let rules: Vec<_> = (0..random.number(4)).map(|_| rule(random, addresses)).collect();
    if !rules.is_empty() {
        spec["rules"] = json!(rules);
    }
    let dry = if random.chance(15) { "true" } else { "false" };
    let metadata =
        json!({ "name": name, "namespace": namespace, "annotations": { "istio.io/dry-run": dry } });
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {metadata}\nspec: {spec}\n"
    )
}

fn rule(random: &mut Random, addresses: &[String]) -> Value {
    let mut rule = json!({});
    if random.chance(75) {
        let sources: Vec<_> =
            (0..=random.number(2)).map(|_| json!({ "source": source(random, addresses) })).collect();
        rule["from"] = json!(sources);
    }
    if random.chance(45) {
        let operations: Vec<_> =
            (0..=random.number(2)).map(|_| json!({ "operation": operation(random) })).collect();
        rule["to"] = json!(operations);
    }
    if random.chance(25) {
        let values = if random.chance(30) { "notValues" } else { "values" };
        let (key, value) = match random.number(3) {
            0 => ("source.namespace", json!([namespace(random)])),
            1 => ("destination.port", json!([port(random)])),
            _ => ("source.ip", json!([block(random, addresses)])),
        };
        rule["when"] = json!([{ "key": key, values: value }]);
    }
    rule
}

fn source(random: &mut Random, addresses: &[String]) -> Value {
    let mut source = json!({});
    for _ in 0..=random.number(2) {
        let (field, value) = match random.number(4) {
            0 => ("principals", principal(random)),
            1 => ("namespaces", namespace(random)),
            2 => (
                "serviceAccounts",
                (*random.one(&["red/a", "red/c", "green/d", "blue/h", "blue/none"])).into(),
            ),
            _ => ("ipBlocks", block(random, addresses)),
        };
        let field = match (random.chance(30), field) {
            (true, "principals") => "notPrincipals",
            (true, "namespaces") => "notNamespaces",
            (true, "serviceAccounts") => "notServiceAccounts",
            (true, _) => "notIpBlocks",
            (false, field) => field,
        };
        source[field] = json!([value]);
    }
    source
}

fn principal(random: &mut Random) -> String {
    let workload = *random.one(&WORKLOADS);
    let (namespace, name) = workload.split_once('/').expect("a name");
    let full = format!("cluster.local/ns/{namespace}/sa/{name}");
    match random.number(5) {
        0 => "*".into(),
        1 => format!("cluster.local/ns/{namespace}/*"),
        2 => format!("*/sa/{name}"),
        _ => full,
    }
}

fn namespace(random: &mut Random) -> String {
    (*random.one(&["red", "green", "blue", "blue", "re*", "*e", "*", "none"])).into()
}

fn port(random: &mut Random) -> String {
    random.one(&PORTS).to_string()
}

fn operation(random: &mut Random) -> Value {
    let mut ports = vec![port(random)];
    if random.chance(30) {
        ports.push("80".into());
    }
    if random.chance(30) { json!({ "notPorts": ports }) } else { json!({ "ports": ports }) }
}

/// Around some workload's address, or around none.
fn block(random: &mut Random, addresses: &[String]) -> String {
    let address: std::net::IpAddr = random.one(addresses).parse().expect("an address");
    match (random.number(6), address) {
        (0, _) => "192.0.2.0/24".into(),
        (1, std::net::IpAddr::V4(_)) => "0.0.0.0/0".into(),
        (1, std::net::IpAddr::V6(_)) => "::/0".into(),
        (2, std::net::IpAddr::V4(v4)) => {
            // Its half of the small block that all workloads are in.
            let half = u32::from(v4) & !1;
            format!("{}/31", std::net::Ipv4Addr::from(half))
        }
        (2, std::net::IpAddr::V6(v6)) => {
            format!("{}/126", std::net::Ipv6Addr::from(u128::from(v6) & !3))
        }
        (_, address) => address.to_string(),
    }
}
