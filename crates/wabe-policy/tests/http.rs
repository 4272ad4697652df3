//! Which rule a request falls under: tables after the Gateway API's conformance tests (`httproute-matching`,
//! `httproute-exact-path-matching`, `httproute-header-matching`, `httproute-query-param-matching`,
//! `httproute-method-matching`, `mesh-consumer-route`), and a thousand routes against walking through all.

use proptest::prelude::*;
use wabe_model::{
    AppProtocol, HttpMatch, Manifest, ObjectName, Objects, PathMatch, Service, ServicePort, TargetPort,
    Transport, check, parse,
};
use wabe_policy::http::{HttpRequest, HttpRouter, HttpTable, InvalidBackend, Routed, joined};

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {selector: {app: web}, ports: [{name: http, port: 80}]}\n";

fn objects(routes: &[(&str, &str)]) -> Objects {
    let mut text = SERVICE.to_owned();
    for (index, (namespace, rules)) in routes.iter().enumerate() {
        text += &format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r{index}, namespace: {namespace}}}\n\
             spec: {{parentRefs: [{{group: '', kind: Service, name: web, namespace: shop}}], rules: {rules}}}\n"
        );
    }
    let parsed = parse(&[Manifest::new("x.yaml", "/", text)]).unwrap_or_else(|error| panic!("{error}"));
    check(&parsed, &Objects::default()).unwrap_or_else(|error| panic!("{error}")).0
}

fn table(objects: &Objects) -> HttpTable {
    let service = objects.service(&ObjectName::new("shop", "web")).expect("the service");
    HttpTable::compile(objects, service, &service.ports[0]).expect("routes")
}

/// The rule's name; `404` or `itself` if there is none.
fn found(
    router: &HttpRouter,
    namespace: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> String {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let header = |name: &str| {
        joined(headers.iter().filter(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1.as_bytes()))
    };
    match router.find(namespace, &HttpRequest { method, path, query, header: &header }) {
        Routed::Rule(rule, _) => rule.name.clone().unwrap_or_else(|| rule.rule.to_string()),
        Routed::NotFound => "404".into(),
        Routed::Unrouted => "itself".into(),
    }
}

#[test]
fn the_standards_matching_and_precedence() {
    let rules = "[
        {name: v1, matches: [{path: {value: /}}, {headers: [{name: version, value: one}]}]},
        {name: v2, matches: [{path: {value: /v2}}, {headers: [{name: version, value: two}]}]},
        {name: exact, matches: [{path: {type: Exact, value: /one}}, {path: {type: Exact, value: /v2/exact}}]},
        {name: post, matches: [{path: {value: /v2}, method: POST}]},
        {name: two-headers, matches: [{headers: [{name: version, value: two}, {name: color, value: red}]}]},
        {name: whale, matches: [{queryParams: [{name: animal, value: whale}]}]},
        {name: two-params, matches: [{queryParams: [{name: animal, value: dolphin}, {name: color, value: blue}]}]},
        {name: slash, matches: [{path: {value: /deep/}}]}
    ]";
    let router = HttpRouter::new(&table(&objects(&[("shop", rules)])));
    for (method, target, headers, want) in [
        ("GET", "/", &[][..], "v1"),
        ("GET", "/example", &[], "v1"),
        ("GET", "/v2", &[], "v2"),
        ("GET", "/v2/", &[], "v2"),
        ("GET", "/v2/example", &[], "v2"),
        ("GET", "/v2example", &[], "v1"),
        ("GET", "/foo/v2/example", &[], "v1"),
        ("GET", "/", &[("version", "one")], "v1"),
        ("GET", "/", &[("Version", "two")], "v2"),
        ("GET", "/", &[("version", "three")], "v1"),
        ("GET", "/", &[("version", "two"), ("color", "red")], "two-headers"),
        ("GET", "/one", &[], "exact"),
        ("GET", "/one/", &[], "v1"),
        ("GET", "/ONE", &[], "v1"),
        ("GET", "/v2/exact", &[], "exact"),
        ("POST", "/v2/exact", &[], "exact"),
        ("POST", "/v2/other", &[], "post"),
        ("post", "/v2/other", &[], "v2"),
        ("GET", "/?animal=whale", &[], "whale"),
        ("GET", "/?animal=wh%61le", &[], "whale"),
        ("GET", "/?animal=dolphin&animal=whale", &[], "v1"),
        ("GET", "/?animal=dolphin&color=blue", &[], "two-params"),
        ("GET", "/v2?animal=whale", &[], "v2"),
        ("GET", "/deep", &[], "slash"),
        ("GET", "/deep/er", &[], "slash"),
        ("GET", "/deeper", &[], "v1"),
        ("OPTIONS", "*", &[], "v1"),
    ] {
        assert_eq!(found(&router, "shop", method, target, headers), want, "{method} {target} {headers:?}");
    }
}

#[test]
fn a_consumers_routes_hold_for_its_own_callers_only() {
    let producer = "[{name: producer, matches: [{path: {value: /shared}}]}]";
    let consumer = "[{name: consumer, matches: [{path: {value: /own}}]}]";
    let router = HttpRouter::new(&table(&objects(&[("shop", producer), ("away", consumer)])));
    for (namespace, path, want) in [
        ("shop", "/shared", "producer"),
        ("shop", "/own", "404"),
        ("elsewhere", "/shared", "producer"),
        ("away", "/own", "consumer"),
        ("away", "/shared", "404"),
    ] {
        assert_eq!(found(&router, namespace, "GET", path, &[]), want, "{namespace} {path}");
    }
    let alone = HttpRouter::new(&table(&objects(&[("away", consumer)])));
    assert_eq!(found(&alone, "shop", "GET", "/own", &[]), "itself");
}

#[test]
fn of_equal_matches_the_first_route_by_name_and_the_first_rule_decide() {
    let rules =
        "[{name: first, matches: [{path: {value: /a}}]}, {name: second, matches: [{path: {value: /a}}]}]";
    let other = "[{name: other, matches: [{path: {value: /a}}]}]";
    let router = HttpRouter::new(&table(&objects(&[("shop", rules), ("shop", other)])));
    assert_eq!(found(&router, "shop", "GET", "/a", &[]), "first");
}

#[test]
fn backends_that_are_none_are_told_apart() {
    let rules = "[{backendRefs: [{name: web, port: 80}, {name: web, port: 81}, {name: gone, port: 80}]}]";
    let table = table(&objects(&[("shop", rules)]));
    let invalid: Vec<_> = table.producer[0].rule.backends.iter().map(|it| it.invalid).collect();
    assert_eq!(invalid, [None, Some(InvalidBackend::NoSuchPort), Some(InvalidBackend::NoSuchService)]);
    let kept: HttpTable =
        serde_json::from_str(&serde_json::to_string(&table).expect("text")).expect("a table");
    assert_eq!(kept, table);
}

#[test]
fn a_port_without_routes_has_no_table() {
    let objects = objects(&[("shop", "[{}]")]);
    let service = objects.service(&ObjectName::new("shop", "web")).expect("the service");
    let port = |transport| ServicePort {
        name: None,
        port: 81,
        target: TargetPort::Number(81),
        transport,
        app_protocol: AppProtocol::Detect,
    };
    assert!(HttpTable::compile(&objects, service, &port(Transport::Udp)).is_none());
    let other = Service { name: ObjectName::new("shop", "other"), ..service.clone() };
    assert!(HttpTable::compile(&objects, &other, &port(Transport::Tcp)).is_none());
}

/// The standard's words, walked through: the first row of the table's order whose path matches.
fn naive(table: &HttpTable, path: &str) -> Option<String> {
    let matches = |condition: &HttpMatch| match &condition.path {
        PathMatch::Exact(exact) => exact == path,
        PathMatch::Expression(expression) => expression.matches(path.as_bytes()),
        PathMatch::Prefix(prefix) => {
            let prefix = prefix.trim_end_matches('/');
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    };
    let row = table.producer.iter().find(|row| matches(&row.condition))?;
    row.rule.name.clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn many_routes_are_found_as_by_walking_through_them(
        paths in proptest::collection::vec(("(/[ab]{1,2}){1,4}/?", any::<bool>()), 1..60),
        asked in proptest::collection::vec("(/[ab]{1,2}){1,5}/?", 40),
    ) {
        let rules: Vec<String> = paths.iter().enumerate().map(|(index, (path, exact))| {
            let kind = if *exact { "Exact" } else { "PathPrefix" };
            format!("{{name: n{index}, matches: [{{path: {{type: {kind}, value: {path}}}}}]}}")
        }).collect();
        // A route has at most 16 rules.
        let lists: Vec<String> = rules.chunks(16).map(|chunk| format!("[{}]", chunk.join(", "))).collect();
        let routes: Vec<(&str, &str)> = lists.iter().map(|list| ("shop", list.as_str())).collect();
        let table = table(&objects(&routes));
        let router = HttpRouter::new(&table);
        for path in &asked {
            let want = naive(&table, path).unwrap_or_else(|| "404".into());
            prop_assert_eq!(found(&router, "shop", "GET", path, &[]), want, "{}", path);
        }
    }
}
