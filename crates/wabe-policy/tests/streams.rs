//! Routes of connections whose bytes nobody reads: which kind holds at a port, and where connections go.

use wabe_model::{AppProtocol, Manifest, ObjectName, Objects, Route, Service, check, parse};
use wabe_policy::{
    http::{InvalidBackend, Reason, conditions},
    stream::{
        Outlets, Routing, protocol, routing,
        tcp::TcpTable,
        tls::{TlsRouted, TlsTable},
    },
};

const DB: &str = "name: db, namespace: shop, port: 80";
const WEB: &str = "name: web, namespace: shop, port: 80";

/// The service `shop/web` with a port of this name, `shop/db`, and what is written besides.
fn objects(port: &str, more: &str) -> Objects {
    let service = |name, port: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{selector: {{app: {name}}}, ports: [{{port: 80{port}}}, {{name: udp, port: 80, protocol: UDP}}]}}\n"
        )
    };
    let text = service("web", port) + &service("db", ", name: x") + more;
    let parsed = parse(&[Manifest::new("x.yaml", "/", text)]).unwrap_or_else(|error| panic!("{error}"));
    check(&parsed, &Objects::default()).unwrap_or_else(|error| panic!("{error}")).0
}

/// A route that is attached to `shop/web` and leads to this backend.
fn route(kind: &str, namespace: &str, name: &str, hostnames: &str, backend: &str) -> String {
    let version = if kind == "TCPRoute" { "v1alpha2" } else { "v1" };
    let hostnames = if hostnames.is_empty() { String::new() } else { format!("hostnames: [{hostnames}], ") };
    format!(
        "---\napiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{parentRefs: [{{group: '', kind: Service, name: web, namespace: shop}}], {hostnames}\
         rules: [{{name: {name}, backendRefs: [{{{backend}}}]}}]}}\n"
    )
}

fn web(objects: &Objects) -> &Service {
    objects.service(&ObjectName::new("shop", "web")).expect("the service")
}

fn tls(objects: &Objects) -> TlsTable {
    let service = web(objects);
    TlsTable::compile(objects, service, &service.ports[0]).expect("routes")
}

fn tcp(objects: &Objects) -> TcpTable {
    let service = web(objects);
    TcpTable::compile(objects, service, &service.ports[0]).expect("routes")
}

#[test]
fn the_most_specific_kind_holds_that_the_port_allows() {
    use AppProtocol::{Detect, Grpc, Http, Http2, Tcp, Tls};
    let all = ["HTTPRoute", "TLSRoute", "TCPRoute"];
    for (port, kinds, kind, spoken) in [
        ("name: x", &[][..], Routing::Nothing, Detect),
        ("name: http", &[], Routing::Nothing, Http),
        ("name: mysql", &[], Routing::Nothing, Tcp),
        ("name: x", &all, Routing::Http, Http),
        ("name: x", &all[1..], Routing::Tls, Tls),
        ("name: x", &all[2..], Routing::Tcp, Tcp),
        ("name: x", &["GRPCRoute", "TCPRoute"], Routing::Http, Http),
        ("name: http-web", &all, Routing::Http, Http),
        ("name: grpc", &all, Routing::Http, Grpc),
        ("name: x, appProtocol: kubernetes.io/h2c", &all, Routing::Http, Http2),
        ("name: x, appProtocol: tls", &all, Routing::Tls, Tls),
        ("name: https", &all, Routing::Tls, Tls),
        ("name: http, appProtocol: tcp", &all, Routing::Tcp, Tcp),
        ("name: redis", &all[..2], Routing::Nothing, Tcp),
        ("name: tls", &all[..1], Routing::Nothing, Tls),
        // Whatever is spoken can be passed on.
        ("name: grpc", &all[1..], Routing::Tcp, Tcp),
        ("name: https", &all[2..], Routing::Tcp, Tcp),
    ] {
        let routes: String = kinds.iter().map(|it| route(it, "shop", "r", "", DB)).collect();
        let objects = objects(&format!(", {port}"), &routes);
        let service = web(&objects);
        for callers in ["shop", "elsewhere"] {
            assert_eq!(routing(&objects, service, &service.ports[0], callers), kind, "{port} {kinds:?}");
            assert_eq!(protocol(&objects, service, &service.ports[0], callers), spoken, "{port} {kinds:?}");
        }
        assert_eq!(routing(&objects, service, &service.ports[1], "shop"), Routing::Nothing, "datagrams");
    }
}

#[test]
fn routes_of_another_namespace_are_nobody_elses_business() {
    use AppProtocol::{Detect, Http, Tcp, Tls};
    for (port, producer, consumer, of_all, of_theirs) in [
        ("name: x", None, "HTTPRoute", Detect, Http),
        ("name: x", Some("TLSRoute"), "HTTPRoute", Tls, Http),
        ("name: x", Some("HTTPRoute"), "TCPRoute", Http, Tcp),
        ("name: http", None, "TCPRoute", Http, Tcp),
        ("name: mysql", None, "HTTPRoute", Tcp, Tcp),
    ] {
        let own = producer.map_or(String::new(), |kind| route(kind, "shop", "r", "", DB));
        let objects = objects(&format!(", {port}"), &(own + &route(consumer, "away", "r", "", DB)));
        let service = web(&objects);
        let spoken = |callers: &str| protocol(&objects, service, &service.ports[0], callers);
        assert_eq!(
            [spoken("shop"), spoken("other"), spoken("away")],
            [of_all, of_all, of_theirs],
            "{port} {producer:?} {consumer}"
        );
        let streams = objects.tls_routes().map(Route::Tls).chain(objects.tcp_routes().map(Route::Tcp));
        for route in objects.routes().chain(streams) {
            let [accepted, ..] = &conditions(&objects, route)[0];
            let expected = if port == "name: mysql" { Reason::UnsupportedValue } else { Reason::Accepted };
            assert_eq!(accepted.reason, expected, "{port}: {:?}", route.name());
        }
    }
}

#[test]
fn a_name_is_found_exactly_then_by_the_longest_it_lies_below() {
    let names = [
        ("exact", "web.example.com"),
        ("below", "'*.example.com'"),
        ("deeper", "'*.a.example.com', other.org"),
        ("later", "web.example.com"),
    ];
    let routes: String =
        names.iter().map(|(name, hosts)| route("TLSRoute", "shop", name, hosts, DB)).collect();
    let table = tls(&objects(", name: x", &routes));
    for (name, expected) in [
        (Some("web.example.com"), Some("exact")),
        (Some("db.example.com"), Some("below")),
        (Some("b.c.example.com"), Some("below")),
        (Some("b.a.example.com"), Some("deeper")),
        (Some("c.b.a.example.com"), Some("deeper")),
        (Some("a.example.com"), Some("below")),
        (Some("x.web.example.com"), Some("below")),
        (Some("other.org"), Some("deeper")),
        (Some("example.com"), None),
        (Some("www.other.org"), None),
        (Some("xexample.com"), None),
        (Some("com"), None),
        (None, None),
    ] {
        let found = match table.find("shop", name) {
            TlsRouted::To(outlets) => outlets.name.as_deref(),
            TlsRouted::NotFound => None,
            TlsRouted::Unrouted => panic!("routes hold"),
        };
        assert_eq!(found, expected, "{name:?}");
    }
}

#[test]
fn a_tls_route_without_names_is_about_all_that_no_other_is_about() {
    let routes =
        route("TLSRoute", "shop", "all", "", DB) + &route("TLSRoute", "shop", "one", "web.example.com", DB);
    let table = tls(&objects(", name: x", &routes));
    for (name, expected) in [(Some("web.example.com"), "one"), (Some("a"), "all"), (None, "all")] {
        let TlsRouted::To(outlets) = table.find("shop", name) else { panic!("{name:?} goes nowhere") };
        assert_eq!(outlets.route.name, expected);
    }
}

#[test]
fn consumers_have_routes_of_their_own() {
    let away = route("TLSRoute", "away", "away", "a.org", WEB);
    let table = tls(&objects(", name: x", &away));
    assert!(matches!(table.find("away", Some("a.org")), TlsRouted::To(_)));
    assert_eq!(table.find("away", Some("b.org")), TlsRouted::NotFound);
    assert_eq!(table.find("shop", Some("a.org")), TlsRouted::Unrouted);
    let both = away + &route("TLSRoute", "shop", "own", "b.org", WEB);
    let table = tls(&objects(", name: x", &both));
    assert_eq!(
        table.find("away", Some("b.org")),
        TlsRouted::NotFound,
        "its own count instead of the producer's"
    );
    assert!(matches!(table.find("elsewhere", Some("b.org")), TlsRouted::To(_)));

    let name = |outlets: Option<&Outlets>| outlets.map(|it| it.route.to_string());
    let away = route("TCPRoute", "away", "b", "", WEB) + &route("TCPRoute", "away", "a", "", WEB);
    let table = tcp(&objects(", name: x", &away));
    assert_eq!(name(table.find("away")), Some("away/a".into()), "the first by name");
    assert_eq!(name(table.find("shop")), None);
    let table = tcp(&objects(", name: x", &(away + &route("TCPRoute", "shop", "z", "", DB))));
    assert_eq!(name(table.find("away")), Some("away/a".into()));
    assert_eq!(name(table.find("shop")), Some("shop/z".into()));
    assert_eq!(name(table.find("elsewhere")), Some("shop/z".into()));
}

#[test]
fn backends_keep_weights_and_say_why_they_are_none() {
    for (backend, weight, invalid) in [
        (DB, 1, None),
        ("name: db, port: 80, weight: 0", 0, None),
        ("name: db, port: 80, weight: 30", 30, None),
        ("name: gone, port: 80", 1, Some(InvalidBackend::NoSuchService)),
        ("name: db, port: 81", 1, Some(InvalidBackend::NoSuchPort)),
        ("name: db, port: 80, namespace: far", 1, Some(InvalidBackend::NotGranted)),
        ("name: b, kind: Bucket, group: x.org", 1, Some(InvalidBackend::OtherKind)),
    ] {
        let said = |outlets: &Outlets| (outlets.backends[0].weight, outlets.backends[0].invalid);
        let table = tcp(&objects(", name: x", &route("TCPRoute", "shop", "r", "", backend)));
        assert_eq!(table.find("shop").map(said), Some((weight, invalid)), "{backend}");
        let table = tls(&objects(", name: x", &route("TLSRoute", "shop", "r", "", backend)));
        let TlsRouted::To(outlets) = table.find("shop", None) else { panic!("{backend}: it goes nowhere") };
        assert_eq!(said(outlets), (weight, invalid), "{backend}");
    }
}

#[test]
fn a_parent_more_is_no_grant_for_callers_of_another() {
    let far = "---\napiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: far}\nspec: {selector: {a: b}, ports: [{port: 80}]}\n";
    for kind in ["TCPRoute", "TLSRoute"] {
        for (port, of_far) in [("4711", Reason::RefNotPermitted), ("80", Reason::ResolvedRefs)] {
            let parent = format!(
                "parentRefs: [{{group: '', kind: Service, name: db, namespace: far, port: {port}}}, "
            );
            let route = route(kind, "shop", "r", "", "name: db, namespace: far, port: 80")
                .replace("parentRefs: [", &parent);
            let objects = objects(", name: x", &(route + far));
            let not_granted = if kind == "TCPRoute" {
                tcp(&objects).outlets().all(|it| it.backends[0].invalid == Some(InvalidBackend::NotGranted))
            } else {
                tls(&objects).outlets().all(|it| it.backends[0].invalid == Some(InvalidBackend::NotGranted))
            };
            assert!(not_granted, "{kind} {port}");
            let route =
                objects.tls_routes().map(Route::Tls).chain(objects.tcp_routes().map(Route::Tcp)).next();
            let reasons = conditions(&objects, route.expect("the route")).into_iter().map(|it| it[1].reason);
            assert_eq!(reasons.collect::<Vec<_>>(), [of_far, Reason::RefNotPermitted], "{kind} {port}");
        }
    }
}

#[test]
fn tables_are_kept_as_text() {
    let routes = route("TLSRoute", "shop", "below", "'*.example.com', a.org", DB)
        + &route("TLSRoute", "away", "all", "", WEB);
    let table = tls(&objects(", name: x", &routes));
    let text = serde_json::to_string(&table).expect("text");
    assert_eq!(serde_json::from_str::<TlsTable>(&text).expect("a table"), table);
    let table = tcp(&objects(", name: x", &route("TCPRoute", "shop", "r", "", DB)));
    let text = serde_json::to_string(&table).expect("text");
    assert_eq!(serde_json::from_str::<TcpTable>(&text).expect("a table"), table);
}

#[test]
fn conditions_say_which_route_holds() {
    let tls = route("TLSRoute", "shop", "t", "", DB);
    let first = route("TCPRoute", "shop", "a", "", DB);
    let second = route("TCPRoute", "shop", "b", "", "name: gone, port: 80");
    let http = route("HTTPRoute", "shop", "h", "", DB);
    let all = [&tls, &first, &second].map(String::as_str).concat();
    for (port, routes, name, reason, said) in [
        ("name: x", tls.as_str(), "t", Reason::Accepted, ""),
        ("name: x", all.as_str(), "t", Reason::Accepted, ""),
        (
            "name: x",
            &(all.clone() + &http),
            "t",
            Reason::Conflicted,
            "at port 80 an HTTPRoute or GRPCRoute holds",
        ),
        ("name: http", &tls, "t", Reason::UnsupportedValue, "port 80 speaks http, as the Service says"),
        ("name: tcp", &http, "h", Reason::UnsupportedValue, "port 80 speaks tcp, as the Service says"),
        ("name: http", &first, "a", Reason::Accepted, ""),
        ("name: x", &all, "a", Reason::Conflicted, "or a route that reads what this one passes on"),
        ("name: tcp", &all, "a", Reason::Accepted, ""),
        ("name: tcp", &all, "b", Reason::Conflicted, "another TCPRoute of namespace shop"),
    ] {
        let objects = objects(&format!(", {port}"), routes);
        let all = objects
            .routes()
            .chain(objects.tls_routes().map(Route::Tls))
            .chain(objects.tcp_routes().map(Route::Tcp));
        let route = all.into_iter().find(|it| it.name().name == name).expect("the route");
        let [accepted, resolved, _] = &conditions(&objects, route)[0];
        assert_eq!(
            (accepted.reason, accepted.message.contains(said)),
            (reason, true),
            "{port} {name}: {accepted:?}"
        );
        let expected = if name == "b" { Reason::BackendNotFound } else { Reason::ResolvedRefs };
        assert_eq!(resolved.reason, expected, "{name}");
    }
}
