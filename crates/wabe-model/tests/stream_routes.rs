//! `TCPRoute` and `TLSRoute`, and what a port speaks.

use wabe_model::{
    AppProtocol, HostPattern, Layer7, Manifest, Object, ObjectName, Objects, check, parse, to_manifest,
    to_yaml,
};

fn document(kind: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: {kind}\nmetadata: {{name: r, namespace: shop}}\nspec: {spec}\n"
    )
}

fn read(text: &str) -> Object {
    let parsed =
        parse(&[Manifest::new("x.yaml", "/", text)]).unwrap_or_else(|error| panic!("{error}\n{text}"));
    parsed.objects[0].object.clone()
}

fn wrong(text: &str) -> Vec<String> {
    let error = parse(&[Manifest::new("x.yaml", "/", text)]).expect_err("it is wrong");
    error.0.iter().map(|it| it.to_string().replace("x.yaml:", "")).collect()
}

const PARENT: &str = "parentRefs: [{group: '', kind: Service, name: db}]";

#[test]
fn routes_say_everything_and_are_written_as_they_are_read() {
    let backends = "[{name: db, port: 1}, {name: far, namespace: other, port: 2, weight: 0}, {group: x.org, kind: Bucket, name: b}]";
    let parents = "[{group: '', kind: Service, name: db, port: 5432}, {group: core, kind: Service, name: db, namespace: far, sectionName: sql}]";
    let tcp = read(&document(
        "TCPRoute",
        &format!("{{parentRefs: {parents}, rules: [{{name: all, backendRefs: {backends}}}]}}"),
    ));
    let Object::TcpRoute(route) = &tcp else { panic!("another kind") };
    assert_eq!(route.parents[1].service, ObjectName::new("far", "db"));
    assert_eq!(route.rule.name.as_deref(), Some("all"));
    let weights: Vec<_> =
        route.rule.backends.iter().map(|it| (it.port, it.weight, it.other_kind.is_some())).collect();
    assert_eq!(weights, [(1, 1, false), (2, 0, false), (0, 1, true)]);
    let tls = read(&document(
        "TLSRoute",
        &format!(
            "{{{PARENT}, hostnames: [db.example.com, '*.example.com'], rules: [{{backendRefs: {backends}}}]}}"
        ),
    ));
    let Object::TlsRoute(route) = &tls else { panic!("another kind") };
    let patterns = [HostPattern::Exact("db.example.com".into()), HostPattern::Below("example.com".into())];
    assert_eq!(route.hostnames, patterns);
    let bare = read(&document(
        "TLSRoute",
        &format!("{{{PARENT}, rules: [{{backendRefs: [{{name: db, port: 1}}]}}]}}"),
    ));
    for object in [tcp, tls, bare] {
        let text = to_yaml(&to_manifest(&object));
        assert_eq!(read(&text), object, "{text}");
        let json = serde_json::to_string(&object).expect("text");
        assert_eq!(serde_json::from_str::<Object>(&json).expect("an object"), object);
    }
}

#[test]
fn all_versions_of_the_kinds_are_read_and_the_first_is_written() {
    for (kind, versions, written) in
        [("TCPRoute", &["v1alpha2"][..], "v1alpha2"), ("TLSRoute", &["v1alpha2", "v1alpha3", "v1"], "v1")]
    {
        for version in versions {
            let text =
                document(kind, &format!("{{{PARENT}, rules: [{{backendRefs: [{{name: db, port: 1}}]}}]}}"));
            let object = read(&text.replace("v1alpha2", version));
            let expected = format!("gateway.networking.k8s.io/{written}");
            assert_eq!(to_manifest(&object)["apiVersion"], expected.as_str(), "{kind} {version}");
        }
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let rule = "rules: [{backendRefs: [{name: db, port: 1}]}]";
    for (kind, spec, expected) in [
        ("TCPRoute", format!("{{{rule}}}"), "4:7: spec: `parentRefs` is missing"),
        (
            "TCPRoute",
            format!("{{parentRefs: [{{name: db}}], {rule}}}"),
            "spec.parentRefs[0]: a route is attached to a Service only",
        ),
        ("TCPRoute", format!("{{{PARENT}}}"), "spec: `rules` is missing (write one rule)"),
        ("TCPRoute", format!("{{{PARENT}, rules: []}}"), "spec.rules: rules are missing (write one)"),
        (
            "TLSRoute",
            format!(
                "{{{PARENT}, rules: [{{backendRefs: [{{name: a, port: 1}}]}}, {{backendRefs: [{{name: b, port: 1}}]}}]}}"
            ),
            "spec.rules: a second rule would never hold (write one rule, with all backends and their weights)",
        ),
        ("TCPRoute", format!("{{{PARENT}, rules: [{{}}]}}"), "spec.rules[0]: `backendRefs` is missing"),
        (
            "TCPRoute",
            format!("{{{PARENT}, rules: [{{backendRefs: []}}]}}"),
            "backendRefs: backends are missing (write at least one)",
        ),
        (
            "TCPRoute",
            format!("{{{PARENT}, rules: [{{backendRefs: [{{name: db}}]}}]}}"),
            "backendRefs[0]: `port` is missing",
        ),
        (
            "TCPRoute",
            format!("{{{PARENT}, rules: [{{backendRefs: [{{name: db, port: 1, weight: -1}}]}}]}}"),
            "weight: -1 is out of range for a weight (0 to 1000000 can be used)",
        ),
        (
            "TLSRoute",
            format!("{{{PARENT}, rules: [{{backendRefs: [{{name: db, port: 1, filters: []}}]}}]}}"),
            "backendRefs[0].filters: is a field of HTTPRoutes; nobody reads what these connections carry",
        ),
        (
            "TCPRoute",
            format!("{{{PARENT}, rules: [{{matches: [], backendRefs: [{{name: db, port: 1}}]}}]}}"),
            "rules[0].matches: is a field of HTTPRoutes",
        ),
        (
            "TCPRoute",
            format!("{{{PARENT}, hostnames: [a], {rule}}}"),
            "spec.hostnames: is a field of TLSRoutes",
        ),
        ("TLSRoute", format!("{{{PARENT}, hostnames: [], {rule}}}"), "spec.hostnames: hostnames are missing"),
        ("TLSRoute", format!("{{{PARENT}, tls: {{}}, {rule}}}"), "spec.tls: unknown field"),
    ] {
        let found = wrong(&document(kind, &spec));
        assert!(found.iter().any(|it| it.contains(expected)), "{spec}: {found:#?}");
    }
    for name in [
        "10.0.0.1",
        "'*'",
        "'*.'",
        "'a.*.b'",
        "'*.*.b'",
        "A.example.com",
        "'a:443'",
        "'::1'",
        "''",
        "a..b",
        "'*.10.0.0.1'",
    ] {
        let found = wrong(&document("TLSRoute", &format!("{{{PARENT}, hostnames: [{name}], {rule}}}")));
        assert!(found[0].contains("is no name that a ClientHello could ask for"), "{name}: {found:#?}");
    }
}

#[test]
fn what_leads_nowhere_is_warned_of() {
    let text =
        document("TCPRoute", &format!("{{{PARENT}, rules: [{{backendRefs: [{{name: gone, port: 1}}]}}]}}"));
    let parsed = parse(&[Manifest::new("x.yaml", "/", text)]).unwrap_or_else(|error| panic!("{error}"));
    let (_, warnings) = check(&parsed, &Objects::default()).unwrap_or_else(|error| panic!("{error}"));
    let found: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert!(found[0].contains("spec.parentRefs[0].name: there is no service shop/db"), "{found:#?}");
    assert!(
        found[1].contains("there is no service shop/gone; meanwhile such connections are reset"),
        "{found:#?}"
    );
}

fn service(ports: &str, annotations: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: db, annotations: {{{annotations}}}}}\nspec: {{selector: {{a: b}}, ports: [{ports}]}}\n"
    )
}

#[test]
fn a_port_speaks_what_app_protocol_says_and_else_what_its_name_says() {
    use AppProtocol::{Detect, Grpc, Http, Http2, Tcp, Tls};
    for (port, expected) in [
        ("port: 1", Detect),
        ("port: 1, name: web", Detect),
        ("port: 1, name: http", Http),
        ("port: 1, name: http-web", Http),
        ("port: 1, name: httpd", Detect),
        ("port: 1, name: web-http", Detect),
        ("port: 1, name: http2", Http2),
        ("port: 1, name: http2-web", Http2),
        ("port: 1, name: https-web", Tls),
        ("port: 1, name: grpc", Grpc),
        ("port: 1, name: grpc-shop", Grpc),
        ("port: 1, name: grpc-web", Http),
        ("port: 1, name: grpc-web-shop", Http),
        ("port: 1, name: tls", Tls),
        ("port: 1, name: tcp-sql", Tcp),
        ("port: 1, name: mysql", Tcp),
        ("port: 1, name: redis-0", Tcp),
        ("port: 1, name: mongo", Tcp),
        ("port: 1, appProtocol: http", Http),
        ("port: 1, appProtocol: HTTP", Http),
        ("port: 1, appProtocol: https", Tls),
        ("port: 1, appProtocol: http2", Http2),
        ("port: 1, appProtocol: grpc", Grpc),
        ("port: 1, appProtocol: grpc-web", Http),
        ("port: 1, appProtocol: kubernetes.io/h2c", Http2),
        ("port: 1, appProtocol: kubernetes.io/ws", Http),
        ("port: 1, appProtocol: kubernetes.io/wss", Tls),
        ("port: 1, appProtocol: tls", Tls),
        ("port: 1, appProtocol: tcp", Tcp),
        ("port: 1, appProtocol: mysql", Tcp),
        ("port: 1, name: http, appProtocol: tcp", Tcp),
    ] {
        let object = read(&service(&format!("{{{port}}}"), ""));
        let Object::Service(found) = &object else { panic!("another kind") };
        assert_eq!(found.ports[0].protocol(), expected, "{port}");
        assert_eq!(read(&to_yaml(&to_manifest(&object))), object, "{port}");
    }
}

#[test]
fn unknown_protocols_are_errors_with_the_nearest() {
    for (port, expected) in [
        ("port: 1, appProtocol: htttp", "`htttp` is not known (did you mean `http`?"),
        ("port: 1, appProtocol: kubernetes.io/h2", "did you mean `kubernetes.io/h2c`?"),
        ("port: 1, appProtocol: postgresql", "(`tcp` is any protocol that nobody looks into; known: http, "),
        ("port: 1, protocol: UDP, appProtocol: http", "appProtocol is about TCP, and this port is for UDP"),
    ] {
        let found = wrong(&service(&format!("{{{port}}}"), ""));
        assert!(found[0].contains(expected), "{port}: {found:#?}");
    }
}

#[test]
fn layer_7_is_asked_for_by_an_annotation_of_services_and_workloads() {
    let workload = |annotations: &str| {
        format!(
            "apiVersion: mesh.wabe.dev/v1alpha1\nkind: Workload\nmetadata: {{name: db, annotations: {{{annotations}}}}}\nspec: {{command: [a]}}\n"
        )
    };
    for (annotation, expected) in [
        ("", Layer7::Auto),
        ("mesh.wabe.dev/l7: auto", Layer7::Auto),
        ("mesh.wabe.dev/l7: always", Layer7::Always),
    ] {
        for text in [service("{port: 1}", annotation), workload(annotation)] {
            let object = read(&text);
            let found = if let Object::Service(it) = &object {
                it.layer7
            } else if let Object::Workload(it) = &object {
                it.layer7
            } else {
                panic!("{object:?}")
            };
            assert_eq!(found, expected, "{text}");
            assert_eq!(read(&to_yaml(&to_manifest(&object))), object);
        }
    }
    let found = wrong(&workload("mesh.wabe.dev/l7: on"));
    assert!(found[0].contains("mesh.wabe.dev/l7"), "{found:#?}");
    let found = wrong(&service("{port: 1}", "mesh.wabe.dev/l7: never"));
    assert!(found[0].contains("`never` is not supported here (supported: auto, always)"), "{found:#?}");
    let headless =
        service("{port: 1}", "mesh.wabe.dev/l7: always").replace("spec: {", "spec: {clusterIP: None, ");
    assert!(wrong(&headless)[0].contains("has no address of its own"), "{headless}");
}
