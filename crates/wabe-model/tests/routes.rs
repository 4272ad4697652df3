//! Routes of requests and calls, and grants: what is read, what is refused, what is warned of.
#![expect(clippy::unwrap_used, reason = "in tests")]

use std::time::Duration;

use wabe_model::{
    Expression, GrpcMatch, GrpcMethod, GrpcRoute, HttpFilter, HttpRoute, Manifest, Mirror, Object,
    ObjectName, Objects, OtherKind, Parsed, PathChange, PathMatch, Redirect, Retry, Timeouts, ValueMatch,
    ValuePattern, check, parse,
};

const HEAD: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: shop}\nspec:\n";
const GRPC: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: r, namespace: shop}\nspec:\n";
const GRANT: &str = "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: g, namespace: other}\nspec:\n";
const PARENT: &str = "  parentRefs: [{group: '', kind: Service, name: web}]\n";

fn read_as(head: &str, spec: &str) -> Result<Parsed, String> {
    parse(&[Manifest::new("r.yaml", "/", format!("{head}{spec}"))]).map_err(|it| it.to_string())
}

fn read(spec: &str) -> Result<Parsed, String> {
    read_as(HEAD, spec)
}

fn grpc_route(spec: &str) -> GrpcRoute {
    let parsed = read_as(GRPC, spec).unwrap_or_else(|error| panic!("{error}\n{spec}"));
    let Object::GrpcRoute(route) = parsed.objects[0].object.clone() else { panic!("no route") };
    route
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
        ("P  hostnames: a.b\n  rules: [{}]\n", "hostnames: a list is wanted"),
        ("P  rules: [{retry: {attempts: 0}}]\n", "rules[0].retry.attempts: 0 is out of range"),
        ("P  rules: [{retry: {codes: [399]}}]\n", "399 is out of range for a status"),
        ("P  rules: [{retry: {backoff: 1}}]\n", "1 has no unit"),
        ("P  rules: [{sessionPersistence: {}}]\n", "sessionPersistence: is not supported yet"),
        (
            "P  rules: [{matches: [{path: {type: RegularExpression, value: '/a('}}]}]\n",
            "r.yaml:6:62: spec.rules[0].matches[0].path.value: `/a(` is no regular expression: unclosed group",
        ),
        ("P  rules: [{matches: [{path: {type: RegularExpression}}]}]\n", "`value` is missing"),
        (
            "P  rules: [{matches: [{headers: [{type: RegularExpression, name: a, value: '(?=a)'}]}]}]\n",
            "`(?=a)` is no regular expression: look-around",
        ),
        (
            "P  rules: [{matches: [{queryParams: [{type: RegularExpression, name: a, value: '((a{99}){99}){99}'}]}]}]\n",
            "too large: it would take more than 256 KiB",
        ),
        ("P  rules: [{matches: [{path: {value: a}}]}]\n", "can't be a path"),
        ("P  rules: [{matches: [{path: {value: /a/../b}}]}]\n", "can't be a path"),
        ("P  rules: [{matches: [{path: {value: /caf\u{e9}}}]}]\n", "can't be a path"),
        ("P  rules: [{matches: [{path: {value: /a%2}}]}]\n", "can't be a path"),
        (
            "P  rules: [{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /v2/<id>}}}]}]\n",
            "can't be a path",
        ),
        (
            "P  rules: [{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-A, value: b}], remove: [x-a]}}]}]\n",
            "more than one action is for the header x-a",
        ),
        (
            "P  rules: [{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}], backendRefs: [{name: a, port: 1, filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /c}}}]}]}]\n",
            "a rule and a backend of it both rewrite the path",
        ),
        ("P  rules: [{matches: [{method: get}]}]\n", "is not supported here"),
        ("P  rules: [{matches: [{headers: [{name: 'a b', value: x}]}]}]\n", "can't be a name"),
        ("P  rules: [{filters: [{type: RequestMirror, requestMirror: {}}]}]\n", "`backendRef` is missing"),
        (
            "P  rules: [{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, percent: 1, fraction: {numerator: 1}}}]}]\n",
            "has a percentage and a fraction",
        ),
        (
            "P  rules: [{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, fraction: {numerator: 101}}}]}]\n",
            "101 of 100 is more than all",
        ),
        (
            "P  rules: [{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1, weight: 1}}}]}]\n",
            "weight: unknown field",
        ),
        (
            "P  rules: [{filters: [{type: ExternalAuth, externalAuth: {}}]}]\n",
            "externalAuth: is not supported yet",
        ),
        (
            "P  rules: [{backendRefs: [{name: a, port: 1, filters: [{type: RequestRedirect, requestRedirect: {}}]}]}]\n",
            "`RequestRedirect` is not supported here",
        ),
        (
            "P  rules: [{matches: [{path: {type: Exact, value: /a}}], backendRefs: [{name: a, port: 1, filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]}]}]\n",
            "ReplacePrefixMatch needs a prefix",
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
            "P  rules: [{filters: [{type: CORS, cors: {}}], backendRefs: [{name: a, port: 1, filters: [{type: CORS, cors: {}}]}]}]\n",
            "a rule and a backend of it both have a filter CORS",
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
        (
            "  parentRefs: [{group: '', kind: Service, name: web}, {group: '', kind: Service, name: web, port: 80}]\n  rules: [{}]\n",
            "Service shop/web is named twice",
        ),
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
    let rule = format!("{{matches: [{}]}}", vec!["{}"; 64].join(", "));
    let much = format!("{PARENT}  rules: [{rule}, {rule}, {{}}]\n");
    assert!(read(&much).unwrap_err().contains("129 matches in all rules are too many"));
}

#[test]
fn what_is_wrong_with_grpc_routes_and_grants_is_told() {
    for (head, spec, said) in [
        (GRPC, "  rules: [{}]\n", "`parentRefs` is missing"),
        (GRPC, "P  rules: [{timeouts: {}}]\n", "timeouts: is a field of HTTPRoutes"),
        (GRPC, "P  rules: [{retry: {}}]\n", "retry: is a field of HTTPRoutes"),
        (GRPC, "P  rules: [{matches: [{path: {}}]}]\n", "path: unknown field"),
        (GRPC, "P  rules: [{matches: [{method: {service: ''}}]}]\n", "neither service nor method is named"),
        (GRPC, "P  rules: [{matches: [{method: {service: a/b}}]}]\n", "`a/b` can't be called"),
        (GRPC, "P  rules: [{matches: [{method: {method: a.b}}]}]\n", "`a.b` can't be called"),
        (
            GRPC,
            "P  rules: [{matches: [{method: {type: RegularExpression, service: '(?P<x>a)', method: '(?P<x>b)'}}]}]\n",
            "service and method make no expression of a path: duplicate capture group name",
        ),
        (
            GRPC,
            "P  rules: [{matches: [{method: {type: RegularExpression, service: '['}}]}]\n",
            "method.service: `[` is no regular expression",
        ),
        (
            GRPC,
            "P  rules: [{filters: [{type: URLRewrite, urlRewrite: {}}]}]\n",
            "`URLRewrite` is not supported here",
        ),
        (GRPC, "P  rules: [{filters: [{type: CORS, cors: {}}]}]\n", "`CORS` is not supported here"),
        (GRANT, "  from: []\n  to: [{group: '', kind: Service}]\n", "referrers are missing"),
        (GRANT, "  from: [{group: a, kind: b}]\n  to: []\n", "`namespace` is missing"),
        (GRANT, "  to: [{group: '', kind: Service}]\n", "`from` is missing"),
    ] {
        let spec = spec.strip_prefix('P').map_or_else(|| spec.to_owned(), |rest| format!("{PARENT}{rest}"));
        let error = read_as(head, &spec).expect_err(&spec);
        assert!(error.contains(said), "{spec}\n{error}");
    }
}

#[test]
fn retries_mirrors_expressions_and_backends_filters_are_read() {
    let route = route(&format!(
        "{PARENT}  rules:
  - matches: [{{path: {{type: RegularExpression, value: '/a/[0-9]+'}}, headers: [{{type: RegularExpression, name: Who, value: 'm.*'}}]}}]
    retry: {{codes: [503, 500, 503], backoff: 100ms}}
    filters:
    - {{type: RequestMirror, requestMirror: {{backendRef: {{name: copy, port: 80}}, percent: 5}}}}
    - {{type: RequestMirror, requestMirror: {{backendRef: {{name: copy, namespace: other, port: 80}}, fraction: {{numerator: 1, denominator: 3}}}}}}
    backendRefs:
    - name: v1
      port: 80
      filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{remove: [A]}}}}]
    - {{name: v2, group: example.com, kind: Bucket}}
  - matches: [{{path: {{value: /}}}}]
    filters: [{{type: RequestRedirect, requestRedirect: {{path: {{type: ReplacePrefixMatch, replacePrefixMatch: ''}}}}}}]
"
    ));
    let rule = &route.rules[0];
    let expression = |text: &str| Expression::new(text).expect("an expression");
    assert_eq!(rule.matches[0].path, PathMatch::Expression(expression("/a/[0-9]+")));
    let header = ValueMatch { name: "who".into(), value: ValuePattern::Expression(expression("m.*")) };
    assert_eq!(rule.matches[0].headers, [header]);
    let backoff = Some(Duration::from_millis(100));
    assert_eq!(rule.retry, Some(Retry { codes: vec![500, 503], attempts: 1, backoff }));
    let mirror = |namespace: &str, numerator, denominator| {
        let service = ObjectName::new(namespace, "copy");
        HttpFilter::Mirror(Mirror { service, port: 80, other_kind: None, numerator, denominator })
    };
    assert_eq!(rule.filters, [mirror("shop", 5, 100), mirror("other", 1, 3)]);
    assert_eq!((rule.backends[0].filters.len(), &rule.backends[0].other_kind), (1, &None));
    let other = OtherKind { group: "example.com".into(), kind: "Bucket".into() };
    assert_eq!((rule.backends[1].port, &rule.backends[1].other_kind), (0, &Some(other)));
    let HttpFilter::Redirect(Redirect { path, .. }) = &route.rules[1].filters[0] else { panic!("redirects") };
    assert_eq!(*path, Some(PathChange::Prefix("/".into())));
}

#[test]
fn calls_are_matched_by_service_method_and_headers() {
    let route = grpc_route(&format!(
        "{PARENT}  rules:
  - {{}}
  - matches:
    - {{method: {{service: shop.v1.Catalogue, method: List}}, headers: [{{name: Version, value: two}}]}}
    - {{method: {{type: RegularExpression, method: 'Get|List'}}}}
    backendRefs: [{{name: v1, port: 80, weight: 3}}]
"
    ));
    assert_eq!(route.rules[0].matches, [GrpcMatch::default()]);
    let [exact, described] = route.rules[1].matches.as_slice() else { panic!("two") };
    let method = GrpcMethod::Exact { service: Some("shop.v1.Catalogue".into()), method: Some("List".into()) };
    assert_eq!((&exact.method, exact.headers[0].name.as_str()), (&Some(method), "version"));
    let method = Expression::new("Get|List").ok();
    assert_eq!(described.method, Some(GrpcMethod::Expression { service: None, method }));
}

/// What is warned of, as field and message.
fn warnings(text: &str) -> Vec<(String, String)> {
    let parsed = parse(&[Manifest::new("r.yaml", "/", text)]).unwrap_or_else(|error| panic!("{error}"));
    let (_, warnings) = check(&parsed, &Objects::default()).map_err(|it| it.to_string()).unwrap();
    let told = warnings.into_iter().filter(|it| it.field.as_deref() != Some("spec.selector"));
    told.map(|it| (it.field.unwrap_or_default(), it.message)).collect()
}

#[test]
fn hostnames_say_nothing_and_are_warned_of() {
    for head in [HEAD, GRPC] {
        let parsed = read_as(head, &format!("{PARENT}  hostnames: [a.b]\n  rules: [{{}}]\n")).unwrap();
        let [warning] = parsed.warnings.as_slice() else { panic!("one: {:?}", parsed.warnings) };
        let text = warning.to_string();
        assert!(text.starts_with("r.yaml:6:14: warning: spec.hostnames: says nothing on a route"), "{text}");
        let parsed = read_as(head, &format!("{PARENT}  hostnames: []\n  rules: [{{}}]\n")).unwrap();
        assert!(parsed.warnings.is_empty());
    }
}

const SERVICES: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {selector: {a: b}, ports: [{port: 80}]}\n---\n\
     apiVersion: v1\nkind: Service\nmetadata: {name: far, namespace: other}\nspec: {selector: {a: b}, ports: [{port: 80}]}\n---\n";

#[test]
fn what_is_not_there_is_warned_of() {
    let rules = "  rules: [{backendRefs: [{name: v1, port: 80}]}]\n";
    let fields: Vec<_> = warnings(&format!("{HEAD}{PARENT}{rules}")).into_iter().map(|it| it.0).collect();
    assert_eq!(fields, ["spec.parentRefs[0].name", "spec.rules[0].backendRefs[0].name"]);
    let rules = "  rules: [{backendRefs: [{name: web, port: 81}, {name: web, port: 80}, {name: far, namespace: other, port: 80}, {name: a, kind: Bucket}], \
         filters: [{type: RequestMirror, requestMirror: {backendRef: {name: gone, port: 1}}}]}]\n";
    for head in [HEAD, GRPC] {
        let told: Vec<_> =
            warnings(&format!("{SERVICES}{head}{PARENT}{rules}")).into_iter().map(|it| it.1).collect();
        for (said, message) in [
            "service shop/web has no port 80 for TCP",
            "service other/far is of another namespace, which does not allow it",
            "requests can't be sent to the Bucket shop/a",
            "there is no service shop/gone; meanwhile nothing gets copies",
        ]
        .into_iter()
        .zip(&told)
        {
            assert!(message.contains(&said.replace("port 80", "port 81")), "{message}");
        }
        assert_eq!(told.len(), 4, "{told:?}");
    }
}

#[test]
fn an_http_route_that_a_grpc_route_sets_aside_is_warned_of() {
    let rules = "  rules: [{backendRefs: [{name: web, port: 80}]}]\n";
    let beside =
        |parent: &str| warnings(&format!("{SERVICES}{HEAD}{PARENT}{rules}---\n{GRPC}{parent}{rules}"));
    let told: Vec<_> = beside(PARENT).into_iter().map(|it| it.1).collect();
    assert_eq!(
        told,
        [
            "GRPCRoute shop/r holds at service shop/web port 80, so this route says nothing there",
            "HTTPRoute shop/r says nothing at service shop/web port 80, as this GRPCRoute holds there",
        ]
    );
    let elsewhere = beside("  parentRefs: [{group: '', kind: Service, name: web, port: 81}]\n");
    assert!(elsewhere.iter().all(|it| !it.1.contains("says nothing at")), "{elsewhere:?}");
}

#[test]
fn a_grant_allows_what_it_names() {
    let rules = "  rules: [{backendRefs: [{name: far, namespace: other, port: 80}]}]\n";
    let far = format!("{SERVICES}{HEAD}{PARENT}{rules}---\n{GRANT}");
    let group = "group: gateway.networking.k8s.io";
    for (from, to, allowed) in [
        ("kind: HTTPRoute, namespace: shop", "kind: Service", true),
        ("kind: HTTPRoute, namespace: shop", "kind: Service, name: far", true),
        ("kind: HTTPRoute, namespace: shop", "kind: Service, name: near", false),
        ("kind: HTTPRoute, namespace: shop", "kind: Secret", false),
        ("kind: GRPCRoute, namespace: shop", "kind: Service", false),
        ("kind: HTTPRoute, namespace: other", "kind: Service", false),
    ] {
        let text = format!("{far}  from: [{{{group}, {from}}}]\n  to: [{{group: '', {to}}}]\n");
        assert_eq!(warnings(&text).is_empty(), allowed, "{from} {to}");
    }
    // Callers of a service that the route is attached to would have come there anyway.
    let own = "  parentRefs: [{group: '', kind: Service, name: far, namespace: other}]\n";
    assert_eq!(warnings(&format!("{SERVICES}{HEAD}{own}{rules}")), []);
    // Callers of another would not, and nobody comes by a port that is not there.
    for parents in [
        format!("{own}    - {{group: '', kind: Service, name: web}}\n"),
        own.replace("other}", "other, port: 4711}"),
    ] {
        let parents = parents.replace("parentRefs: [{", "parentRefs:\n    - {").replace("}]", "}");
        let told = warnings(&format!("{SERVICES}{HEAD}{parents}{rules}"));
        assert!(told.iter().any(|it| it.1.contains("does not allow it")), "{parents}: {told:?}");
    }
}
