//! `HTTPRoute`: what is read, what is refused, and that what is written from one is read as the same.
#![expect(clippy::unwrap_used, reason = "in tests")]

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*, sample::select};
use wabe_model::{
    HeaderChange, HttpBackend, HttpFilter, HttpMatch, HttpRoute, HttpRouteRule, Manifest, Object, ObjectName,
    Objects, ParentRef, Parsed, PathChange, PathMatch, Redirect, Rewrite, Timeouts, ValueMatch, ValuePattern,
    check, parse, to_manifest, to_yaml,
};

const HEAD: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: shop}\nspec:\n";
const PARENT: &str = "  parentRefs: [{group: '', kind: Service, name: web}]\n";

fn read(spec: &str) -> Result<Parsed, String> {
    parse(&[Manifest::new("r.yaml", "/", format!("{HEAD}{spec}"))]).map_err(|it| it.to_string())
}

fn route(spec: &str) -> HttpRoute {
    let parsed = read(spec).unwrap_or_else(|error| panic!("{error}\n{spec}"));
    let Object::HttpRoute(route) = parsed.objects[0].object.clone() else { panic!("no route") };
    route
}

#[test]
fn a_route_as_an_api_server_prints_it_is_read() {
    let route = route(
        "  parentRefs: [{group: '', kind: Service, name: web, namespace: shop, port: 80}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /a}, headers: [{type: Exact, name: X-Who, value: me}]}]
    backendRefs: [{group: '', kind: Service, name: v1, port: 80, weight: 1}, {name: v2, port: 81, weight: 9}]
    timeouts: {request: 2s, backendRequest: 0s}
",
    );
    assert_eq!(route.parents[0].port, Some(80));
    let rule = &route.rules[0];
    assert_eq!(
        rule.matches[0].headers,
        [ValueMatch { name: "x-who".into(), value: ValuePattern::Exact("me".into()) }]
    );
    assert_eq!(rule.backends[1].weight, 9);
    assert_eq!(rule.backends[0].service, ObjectName::new("shop", "v1"));
    assert_eq!(rule.timeouts, Timeouts { request: Some(Duration::from_secs(2)), backend_request: None });
}

#[test]
fn a_rule_without_matches_holds_for_every_path() {
    let route = route(&format!("{PARENT}  rules: [{{}}]\n"));
    assert_eq!(route.rules[0].matches[0].path, PathMatch::Prefix("/".into()));
}

#[test]
fn what_is_not_understood_is_refused_with_a_remedy() {
    for (rest, said) in [
        ("  rules: [{}]\n", "`parentRefs` is missing"),
        ("  parentRefs: [{name: web}]\n  rules: [{}]\n", "a route is attached to a Service only"),
        (
            "  parentRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: x}]\n  rules: [{}]\n",
            "Gateways are not supported yet",
        ),
        ("P  rules: []\n", "rules are missing"),
        ("P  hostnames: [a.b]\n  rules: [{}]\n", "leave it out, or match the header `host`"),
        ("P  rules: [{retry: {attempts: 2}}]\n", "retry: is not supported yet"),
        (
            "P  rules: [{matches: [{path: {type: RegularExpression, value: /a.*}}]}]\n",
            "write Exact or PathPrefix",
        ),
        ("P  rules: [{matches: [{path: {value: a}}]}]\n", "can't be a path"),
        ("P  rules: [{matches: [{path: {value: /a/../b}}]}]\n", "can't be a path"),
        ("P  rules: [{matches: [{method: get}]}]\n", "is not supported here"),
        ("P  rules: [{matches: [{headers: [{name: 'a b', value: x}]}]}]\n", "can't be a name"),
        (
            "P  rules: [{filters: [{type: RequestMirror, requestMirror: {}}]}]\n",
            "requestMirror: is not supported yet",
        ),
        ("P  rules: [{filters: [{type: URLRewrite}]}]\n", "`urlRewrite` is missing"),
        (
            "P  rules: [{filters: [{type: URLRewrite, requestRedirect: {}}]}]\n",
            "belongs to a filter of type RequestRedirect",
        ),
        (
            "P  rules: [{filters: [{type: RequestRedirect, requestRedirect: {}}], backendRefs: [{name: a, port: 1}]}]\n",
            "a rule that redirects has backends",
        ),
        (
            "P  rules: [{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 304}}]}]\n",
            "304 is no redirect",
        ),
        (
            "P  rules: [{matches: [{path: {type: Exact, value: /a}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]}]\n",
            "ReplacePrefixMatch needs a prefix",
        ),
        (
            "P  rules: [{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Host, value: a}]}}]}]\n",
            "the header host can't be changed",
        ),
        (
            "P  rules: [{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: \"b\\r\\nc: d\"}]}}]}]\n",
            "can't be a header's value",
        ),
        ("P  rules: [{backendRefs: [{name: a}]}]\n", "`port` is missing"),
        ("P  rules: [{backendRefs: [{name: a, port: 1, namespace: b}]}]\n", "put the route into namespace b"),
        ("P  rules: [{backendRefs: [{name: a, port: 1, weight: 1000001}]}]\n", "out of range for a weight"),
        (
            "P  rules: [{timeouts: {request: 1s, backendRequest: 2s}}]\n",
            "backendRequest is longer than request",
        ),
        ("P  rules: [{name: a}, {name: a}]\n", "two rules are called"),
    ] {
        let spec = rest.strip_prefix('P').map_or_else(|| rest.to_owned(), |rest| format!("{PARENT}{rest}"));
        let error = read(&spec).expect_err(&spec);
        assert!(error.contains(said), "{spec}\n{error}");
    }
    let many = vec!["{}"; 17].join(", ");
    assert!(read(&format!("{PARENT}  rules: [{many}]\n")).unwrap_err().contains("17 rules are too many"));
}

#[test]
fn services_that_are_not_there_are_warned_of() {
    let parsed = read(&format!("{PARENT}  rules: [{{backendRefs: [{{name: v1, port: 80}}]}}]\n")).unwrap();
    let (_, warnings) = check(&parsed, &Objects::default()).map_err(|it| it.to_string()).unwrap();
    let fields: Vec<_> = warnings.iter().filter_map(|it| it.field.as_deref()).collect();
    assert_eq!(fields, ["spec.parentRefs[0].name", "spec.rules[0].backendRefs[0].name"]);
}

fn path() -> impl Strategy<Value = String> {
    "(/[a-z0-9]{1,5}){1,3}/?"
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    vec(("x-[a-z]{1,5}", "[!-~]{1,8}"), 0..3)
}

fn filters() -> impl Strategy<Value = (Vec<HttpFilter>, bool)> {
    let change = || {
        (pairs(), pairs(), vec("x-[a-z]{1,5}", 0..2)).prop_map(|(set, add, remove)| HeaderChange {
            set,
            add,
            remove,
        })
    };
    let new = || prop_oneof![path().prop_map(PathChange::Full), path().prop_map(PathChange::Prefix)];
    let host = || option::of("[a-z]{1,5}\\.[a-z]{1,5}");
    let redirect = (
        option::of(select(vec!["http", "https"])),
        host(),
        option::of(new()),
        option::of(1_u16..),
        select(vec![301_u16, 302, 303, 307, 308]),
    )
        .prop_map(|(scheme, hostname, path, port, status)| {
            HttpFilter::Redirect(Redirect { scheme: scheme.map(Into::into), hostname, path, port, status })
        });
    let rewrite = (host(), option::of(new()))
        .prop_map(|(hostname, path)| HttpFilter::Rewrite(Rewrite { hostname, path }));
    let target = prop_oneof![
        Just((None, false)),
        redirect.prop_map(|it| (Some(it), true)),
        rewrite.prop_map(|it| (Some(it), false)),
    ];
    (
        option::of(change().prop_map(HttpFilter::RequestHeaders)),
        option::of(change().prop_map(HttpFilter::ResponseHeaders)),
        target,
    )
        .prop_map(|(one, two, (three, redirects))| {
            (one.into_iter().chain(two).chain(three).collect(), redirects)
        })
}

fn rule() -> impl Strategy<Value = HttpRouteRule> {
    let values = |names: &'static str| {
        vec((names, "[!-~]{1,6}"), 0..3).prop_map(|list| {
            let mut list: Vec<_> = list
                .into_iter()
                .map(|(name, value)| ValueMatch { name, value: ValuePattern::Exact(value) })
                .collect();
            list.sort_by(|a, b| a.name.cmp(&b.name));
            list.dedup_by(|a, b| a.name == b.name);
            list
        })
    };
    let matching = (
        path(),
        option::of(select(vec!["GET", "POST", "DELETE"])),
        values("x-[a-z]{1,4}"),
        values("[a-zA-Z]{1,4}"),
    )
        .prop_map(|(path, method, headers, query)| HttpMatch {
            path: PathMatch::Prefix(path),
            method: method.map(Into::into),
            headers,
            query,
        });
    let backend = ("[a-z]{1,5}", 1_u16.., 0_u32..=1_000_000).prop_map(|(name, port, weight)| HttpBackend {
        service: ObjectName::new("shop", &name),
        port,
        other_kind: None,
        weight,
        filters: Vec::new(),
    });
    let timeouts =
        (option::of(2_000_u64..9_000), option::of(1_u64..2_000)).prop_map(|(request, backend)| Timeouts {
            request: request.map(Duration::from_millis),
            backend_request: backend.map(Duration::from_millis),
        });
    (vec(matching, 1..3), filters(), vec(backend, 0..3), timeouts).prop_map(
        |(matches, (filters, redirects), backends, timeouts)| HttpRouteRule {
            name: None,
            matches,
            filters,
            backends: if redirects { Vec::new() } else { backends },
            timeouts,
            retry: None,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn yaml_is_read_as_the_route_it_was_written_from(
        rules in vec(rule(), 1..4),
        port in option::of(1_u16..),
        section in option::of("[a-z]{1,5}"),
    ) {
        let parent = ParentRef { service: ObjectName::new("other", "web"), port, section };
        let route = HttpRoute { name: ObjectName::new("shop", "r"), parents: vec![parent], rules };
        let object = Object::HttpRoute(route);
        let text = to_yaml(&to_manifest(&object));
        let parsed = parse(&[Manifest::new("x.yaml", "/", text.clone())]);
        let parsed = parsed.map_err(|it| TestCaseError::fail(format!("{it}\n{text}")))?;
        prop_assert_eq!(&parsed.objects[0].object, &object, "{}", text);
        // As the agent keeps it.
        let kept: Object = serde_json::from_str(&serde_json::to_string(&object).unwrap()).unwrap();
        prop_assert_eq!(kept, object);
    }
}
