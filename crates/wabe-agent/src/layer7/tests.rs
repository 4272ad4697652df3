//! What is led to the proxy, and what it is told then.

use wabe_model::{Layer7, Manifest, Object, ObjectName, Workload, check, parse};

use super::*;
use crate::testing::{instance, node, workload};

/// What is written, with services `web` and `db` of namespace `shop` that lead to workloads with a label `app` of the same name.
fn objects(ports: &str, more: &str) -> Objects {
    let service = |name, ports: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{selector: {{app: {name}}}, ports: [{ports}]}}\n"
        )
    };
    let workload = |name| {
        format!(
            "---\napiVersion: mesh.wabe.dev/v1alpha1\nkind: Workload\n\
             metadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}\nspec: {{command: [a]}}\n"
        )
    };
    let text =
        service("web", ports) + &service("db", "{port: 5432}") + &workload("web") + &workload("db") + more;
    read(&text)
}

fn read(text: &str) -> Objects {
    let parsed = parse(&[Manifest::new("x.yaml", "/", text)]).unwrap_or_else(|error| panic!("{error}"));
    check(&parsed, &Objects::default()).unwrap_or_else(|error| panic!("{error}")).0
}

fn route(kind: &str, more: &str, rule: &str) -> String {
    let version = if kind == "TCPRoute" { "v1alpha2" } else { "v1" };
    format!(
        "---\napiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: r, namespace: shop}}\n\
         spec: {{parentRefs: [{{group: '', kind: Service, name: web{more}}}], rules: [{{backendRefs: [{rule}]}}]}}\n"
    )
}

/// The ports of `shop/web` whose callers are led to the proxy.
fn led(objects: &Objects) -> Vec<u16> {
    let web = objects.service(&ObjectName::new("shop", "web")).expect("the service");
    let leading = Leading::new(&node().root_namespace, objects, std::iter::empty());
    web.ports.iter().filter(|port| leading.leads(web, port)).map(|port| port.port).collect()
}

fn snapshot_of(objects: &Objects) -> Snapshot {
    let specs: Vec<&Workload> = objects.workloads().collect();
    let instances: Vec<Instance> = (1..).zip(specs).map(|(id, workload)| instance(id, workload, 0)).collect();
    snapshot(&node(), objects, instances.iter(), &Ids::default(), &Judged::default(), 7)
}

const NONE: [u16; 0] = [];
const PORTS: &str = "{name: x, port: 1}, {name: http, port: 2}, {name: tls, port: 3}, {name: mysql, port: 4}, {name: u, port: 5, protocol: UDP}";

#[test]
fn a_route_leads_callers_of_the_ports_that_it_says_something_of() {
    for (kind, parent, expected) in [
        ("HTTPRoute", "", &[1, 2][..]),
        ("GRPCRoute", "", &[1, 2]),
        ("TLSRoute", "", &[1, 3]),
        ("TCPRoute", "", &[1, 2, 3, 4]),
        ("TCPRoute", ", port: 4", &[4]),
        ("TCPRoute", ", sectionName: http", &[2]),
        ("HTTPRoute", ", port: 4", &[]),
        ("TCPRoute", ", port: 5", &[]),
    ] {
        let objects = objects(PORTS, &route(kind, parent, "{name: db, port: 5432}"));
        assert_eq!(led(&objects), expected, "{kind}{parent}");
    }
    assert_eq!(led(&objects(PORTS, "")), NONE);
}

#[test]
fn a_service_or_workload_that_asks_always_has_all_callers_led() {
    let always = ", annotations: {mesh.wabe.dev/l7: always}";
    let led_with = |service: &str, own: &str, other: &str| {
        let workload = |name, rest: &str| {
            format!(
                "---\napiVersion: mesh.wabe.dev/v1alpha1\nkind: Workload\n\
                 metadata: {{name: {name}, {rest}}}\nspec: {{command: [a]}}\n"
            )
        };
        let service = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop{service}}}\n\
             spec: {{selector: {{app: web}}, ports: [{PORTS}]}}\n"
        );
        let own = format!("namespace: shop, labels: {{app: web}}{own}");
        led(&read(&(service + &workload("one", &own) + &workload("two", other))))
    };
    let other = "namespace: shop, labels: {app: other}";
    assert_eq!(led_with("", "", other), NONE);
    assert_eq!(led_with(always, "", other), [1, 2, 3, 4]);
    assert_eq!(led_with("", always, other), [1, 2, 3, 4]);
    assert_eq!(led_with(&always.replace("always", "auto"), "", other), NONE);
    assert_eq!(led_with("", "", &format!("{other}{always}")), NONE, "another service's");
    assert_eq!(
        led_with("", "", &format!("namespace: away, labels: {{app: web}}{always}")),
        NONE,
        "elsewhere"
    );
}

#[test]
fn the_proxy_is_told_the_routes_of_the_kind_that_holds_and_where_they_lead() {
    for (kind, tables) in [
        ("HTTPRoute", [true, false, false]),
        ("TLSRoute", [false, true, false]),
        ("TCPRoute", [false, false, true]),
    ] {
        let told = snapshot_of(&objects("{name: x, port: 1}", &route(kind, "", "{name: db, port: 5432}")));
        let port = &told.ports[0];
        assert_eq!(
            [port.table != HttpTable::default(), port.tls.is_some(), port.tcp.is_some()],
            tables,
            "{kind}"
        );
        let protocols = [AppProtocol::Http, AppProtocol::Tls, AppProtocol::Tcp];
        let expected = tables.iter().position(|it| *it).map(|place| protocols[place]);
        assert_eq!(Some(port.protocol), expected, "{kind}");
        let backends: Vec<_> =
            told.backends.iter().map(|it| (it.service.name.as_str(), it.port, it.endpoints.len())).collect();
        assert_eq!(backends, [("db", 5432, 1), ("web", 1, 1)], "{kind}");
    }
}

#[test]
fn callers_of_a_namespace_with_routes_of_its_own_are_told_apart() {
    let away = route("HTTPRoute", ", namespace: shop", "{name: db, port: 5432}").replacen(
        "namespace: shop}",
        "namespace: away}",
        1,
    );
    let told = snapshot_of(&objects("{name: x, port: 1}", &away));
    let port = &told.ports[0];
    assert_eq!(port.protocol, AppProtocol::Detect);
    let consumers: Vec<_> =
        port.consumers.iter().map(|(name, protocol)| (name.as_str(), *protocol)).collect();
    assert_eq!(consumers, [("away", AppProtocol::Http)]);
    assert_eq!(
        (port.protocol_of("away"), port.protocol_of("shop")),
        (AppProtocol::Http, AppProtocol::Detect)
    );
}

#[test]
fn backends_speak_what_their_own_ports_say() {
    let ports = "{name: x, port: 1}, {name: http, port: 2}, {name: grpc, port: 3}, {name: h2, appProtocol: kubernetes.io/h2c, port: 4}, {name: tcp, port: 5}, {name: tls, port: 6}";
    let backends: Vec<_> = (1..=6).map(|port| format!("{{name: web, port: {port}}}")).collect();
    let told = snapshot_of(&objects(ports, &route("HTTPRoute", ", port: 1", &backends.join(", "))));
    let found: Vec<_> = told.backends.iter().map(|it| (it.port, it.speaks)).collect();
    let expected = [
        (1, Speaks::AsCaller),
        (2, Speaks::Http1),
        (3, Speaks::Http2),
        (4, Speaks::Http2),
        // 5 and 6 speak no HTTP, so no requests go there.
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_is_led_without_a_route_is_told_with_what_it_speaks() {
    let mut objects = objects(PORTS, "");
    let web = Workload { layer7: Layer7::Always, ..workload("shop", "web") };
    objects.insert(Object::Workload(web));
    let told = snapshot_of(&objects);
    let spoken: Vec<_> = told.ports.iter().map(|it| (it.port, it.protocol)).collect();
    let expected =
        [(1, AppProtocol::Detect), (2, AppProtocol::Http), (3, AppProtocol::Tls), (4, AppProtocol::Tcp)];
    assert_eq!(spoken, expected);
    assert!(
        told.ports.iter().all(|it| it.table == HttpTable::default() && it.tls.is_none() && it.tcp.is_none())
    );
    assert_eq!(told.backends.len(), 4, "itself, by each port");
}

#[test]
fn policies_that_look_at_requests_lead_callers_of_the_services_of_their_workloads() {
    let policy = |namespace: &str, spec: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p, namespace: {namespace}}}\nspec: {spec}\n"
        )
    };
    let methods = "rules: [{to: [{operation: {methods: [GET]}}]}]";
    let of = |app: &str| format!("{{selector: {{matchLabels: {{app: {app}}}}}, {methods}}}");
    for (namespace, spec, expected) in [
        ("shop", of("web"), &[1, 2, 3, 4][..]),
        ("shop", format!("{{{methods}}}"), &[1, 2, 3, 4]),
        ("istio-system", of("web"), &[1, 2, 3, 4]),
        ("shop", of("db"), &[]),
        ("bank", of("web"), &[]),
        ("shop", "{rules: [{to: [{operation: {ports: ['80']}}]}]}".into(), &[]),
        ("shop", format!("{{action: AUDIT, {methods}}}"), &[]),
    ] {
        let objects = objects(PORTS, &policy(namespace, &spec));
        assert_eq!(led(&objects), expected, "{namespace} {spec}");
    }
}

#[test]
fn the_proxy_is_told_each_policy_once_and_who_has_it_even_if_nobody_is_led_there() {
    let text = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {rules: [{to: [{operation: {methods: [GET]}}]}]}\n";
    let parsed = parse(&[Manifest::new("x.yaml", "/", text)]).unwrap_or_else(|error| panic!("{error}"));
    let Object::AuthorizationPolicy(policy) = &parsed.objects[0].object else { panic!("a policy") };
    let policy = Arc::new(RequestPolicy::of(&[policy]).expect("it looks at requests"));
    let judged = Judged::from_iter([(1, (Arc::clone(&policy), 5)), (2, (policy, 6))]);
    let objects = Objects::default();
    let told = snapshot(&node(), &objects, std::iter::empty(), &Ids::default(), &judged, 7);
    assert_eq!((told.generation, told.policies.len(), told.judged.len()), (7, 1, 2));
    assert_eq!(told.judged[&1], JudgedFacts { policy: 0, generation: 5 });
    assert_eq!(told.judged[&2], JudgedFacts { policy: 0, generation: 6 });
}
