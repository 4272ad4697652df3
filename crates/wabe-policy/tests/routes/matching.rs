//! `HTTPRoute`: after `httproute-matching`, `httproute-exact-path-matching`, `httproute-header-matching`,
//! `httproute-query-param-matching`, `httproute-method-matching` and `mesh-consumer-route`; and many routes against walking
//! through all.

use proptest::prelude::*;
use wabe_model::{
    AppProtocol, ObjectName, PathMatch, Service, ServicePort, TargetPort, Transport, ValueMatch, ValuePattern,
};
use wabe_policy::http::{HttpRouter, HttpTable, TableRow};

use crate::{found, http_routes, table};

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
    let router = HttpRouter::new(&table(&http_routes(&[("shop", rules)])));
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
    let router = HttpRouter::new(&table(&http_routes(&[("shop", producer), ("away", consumer)])));
    for (namespace, path, want) in [
        ("shop", "/shared", "producer"),
        ("shop", "/own", "404"),
        ("elsewhere", "/shared", "producer"),
        ("away", "/own", "consumer"),
        ("away", "/shared", "404"),
    ] {
        assert_eq!(found(&router, namespace, "GET", path, &[]), want, "{namespace} {path}");
    }
    let alone = HttpRouter::new(&table(&http_routes(&[("away", consumer)])));
    assert_eq!(found(&alone, "shop", "GET", "/own", &[]), "itself");
}

#[test]
fn of_equal_matches_the_first_route_by_name_and_the_first_rule_decide() {
    let rules =
        "[{name: first, matches: [{path: {value: /a}}]}, {name: second, matches: [{path: {value: /a}}]}]";
    let other = "[{name: other, matches: [{path: {value: /a}}]}]";
    let router = HttpRouter::new(&table(&http_routes(&[("shop", rules), ("shop", other)])));
    assert_eq!(found(&router, "shop", "GET", "/a", &[]), "first");
}

#[test]
fn a_slash_at_the_end_of_a_prefix_makes_it_no_longer() {
    let rules = "[
        {name: slash, matches: [{path: {value: /a/}}]},
        {name: header, matches: [{path: {value: /a}, headers: [{name: x, value: z}]}]}
    ]";
    let router = HttpRouter::new(&table(&http_routes(&[("shop", rules)])));
    assert_eq!(found(&router, "shop", "GET", "/a/b", &[("x", "z")]), "header");
    assert_eq!(found(&router, "shop", "GET", "/a/b", &[]), "slash");
}

#[test]
fn expressions_describe_whole_values_and_stand_between_exact_paths_and_prefixes() {
    let rules = "[
        {name: rest, matches: [{path: {value: /}}]},
        {name: long-prefix, matches: [{path: {value: /items/all/of/them}}]},
        {name: exact, matches: [{path: {type: Exact, value: /items/7}}]},
        {name: digits, matches: [{path: {type: RegularExpression, value: '/items/[0-9]+'}}]},
        {name: any, matches: [{path: {type: RegularExpression, value: '/items/.*'}, headers: [{name: any, value: 'yes'}]}]},
        {name: canary, matches: [{path: {value: /c}, headers: [{type: RegularExpression, name: Cookie, value: '(.*;\\s*)?canary=1(;.*)?'}]}]},
        {name: phone, matches: [{path: {value: /p}, queryParams: [{type: RegularExpression, name: agent, value: 'i(Phone|Pad)'}]}]}
    ]";
    let router = HttpRouter::new(&table(&http_routes(&[("shop", rules)])));
    for (target, headers, want) in [
        ("/items/7", &[][..], "exact"),
        ("/items/77", &[], "digits"),
        ("/items/77/", &[], "rest"),
        ("/old/items/77", &[], "rest"),
        ("/items/all/of/them", &[], "long-prefix"),
        ("/items/all/of/them", &[("any", "yes")], "any"),
        ("/c", &[("cookie", "a=b; canary=1; c=d")], "canary"),
        ("/c", &[("cookie", "canary=1")], "canary"),
        ("/c", &[("cookie", "canary=10")], "rest"),
        ("/c", &[("cookie", "a=b"), ("cookie", "canary=1")], "rest"),
        ("/c", &[("cookie", "a=b;"), ("cookie", "x; canary=1")], "canary"),
        ("/p?agent=iPhone", &[], "phone"),
        ("/p?agent=iP%68one", &[], "phone"),
        ("/p?agent=iPhones", &[], "rest"),
    ] {
        assert_eq!(found(&router, "shop", "GET", target, headers), want, "{target} {headers:?}");
    }
}

#[test]
fn repeated_headers_are_one_list() {
    let rules = "[{name: both, matches: [{headers: [{name: a, value: '1, 2'}]}]}]";
    let router = HttpRouter::new(&table(&http_routes(&[("shop", rules)])));
    assert_eq!(found(&router, "shop", "GET", "/", &[("a", "1"), ("A", "2")]), "both");
    assert_eq!(found(&router, "shop", "GET", "/", &[("a", "1")]), "404");
}

/// Who does without them may leave a request's head as it came.
#[test]
fn rules_say_whether_they_look_at_fields_or_change_them() {
    const BACKENDS: &str = "backendRefs: [{name: web, port: 80}]";
    let filter = |it: &str| format!("[{{filters: [{it}], {BACKENDS}}}]");
    let of_backend = |it: &str| format!("[{{backendRefs: [{{name: web, port: 80, filters: [{it}]}}]}}]");
    let set =
        |kind: &str, field: &str| format!("{{type: {kind}, {field}: {{set: [{{name: x, value: set}}]}}}}");
    let (request, response) = (
        set("RequestHeaderModifier", "requestHeaderModifier"),
        set("ResponseHeaderModifier", "responseHeaderModifier"),
    );
    for (rules, want) in [
        (format!("[{{{BACKENDS}}}]"), false),
        (format!("[{{matches: [{{path: {{value: /a}}, method: GET}}], {BACKENDS}}}]"), false),
        (format!("[{{matches: [{{queryParams: [{{name: a, value: b}}]}}], {BACKENDS}}}]"), false),
        (format!("[{{matches: [{{headers: [{{name: a, value: b}}]}}], {BACKENDS}}}]"), true),
        (format!("[{{{BACKENDS}}}, {{matches: [{{headers: [{{name: a, value: b}}]}}], {BACKENDS}}}]"), true),
        (filter(&response), false),
        (of_backend(&response), false),
        (filter(&request), true),
        (of_backend(&request), true),
        (filter("{type: URLRewrite, urlRewrite: {hostname: a.example}}"), true),
        (filter("{type: RequestMirror, requestMirror: {backendRef: {name: web, port: 80}}}"), true),
        (filter("{type: CORS, cors: {allowOrigins: ['*']}}"), true),
        ("[{filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]}]".into(), true),
    ] {
        let router = HttpRouter::new(&table(&http_routes(&[("shop", &rules)])));
        assert_eq!(router.looks_at_fields(), want, "{rules}");
    }
    let of_consumer = ("away", "[{matches: [{headers: [{name: a, value: b}]}]}]");
    let router = HttpRouter::new(&table(&http_routes(&[("shop", "[{}]"), of_consumer])));
    assert!(router.looks_at_fields(), "one consumer's rule is enough");
}

#[test]
fn a_port_without_routes_has_no_table() {
    let objects = http_routes(&[("shop", "[{}]")]);
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

/// The first row, in the table's order, that a GET of this path with this value of the header `x` is like.
fn naive(table: &HttpTable, method: &str, path: &str, x: Option<&str>) -> Option<String> {
    let has = |wanted: &ValueMatch| {
        x.is_some_and(|x| match &wanted.value {
            ValuePattern::Exact(text) => text == x,
            ValuePattern::Expression(expression) => expression.matches(x.as_bytes()),
        })
    };
    let like = |row: &&TableRow| {
        let path_is = match &row.condition.path {
            PathMatch::Exact(exact) => exact == path,
            PathMatch::Expression(expression) => expression.matches(path.as_bytes()),
            PathMatch::Prefix(prefix) => {
                let prefix = prefix.trim_end_matches('/');
                path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        };
        path_is
            && row.condition.method.as_ref().is_none_or(|it| it == method)
            && row.condition.headers.iter().all(has)
    };
    table.producer.iter().find(like)?.rule.name.clone()
}

/// A match of a path, and of more.
fn written() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        3 => "(/[ab]{1,2}){1,4}/?".prop_map(|it| format!("type: PathPrefix, value: {it}")),
        2 => "(/[ab]{1,2}){1,4}/?".prop_map(|it| format!("type: Exact, value: {it}")),
        1 => "/(a|b|\\[ab\\])(\\+|\\*)(/|b)?(\\.\\*)?".prop_map(|it| format!("type: RegularExpression, value: '{it}'")),
    ];
    let method = prop_oneof![3 => Just(""), 1 => Just(", method: GET"), 1 => Just(", method: POST")];
    let header = prop_oneof![
        3 => Just(""),
        1 => Just(", headers: [{name: x, value: a}]"),
        1 => Just(", headers: [{type: RegularExpression, name: X, value: '[ab]'}]"),
    ];
    (path, method, header).prop_map(|(path, method, header)| format!("path: {{{path}}}{method}{header}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn many_routes_are_found_as_by_walking_through_them(
        matches in proptest::collection::vec(written(), 1..60),
        asked in proptest::collection::vec(("(/[ab]{1,2}){1,5}/?", any::<bool>(), proptest::option::of("[abc]")), 40),
    ) {
        let rules: Vec<String> =
            matches.iter().enumerate().map(|(index, it)| format!("{{name: n{index}, matches: [{{{it}}}]}}")).collect();
        // A route has at most 16 rules.
        let lists: Vec<String> = rules.chunks(16).map(|chunk| format!("[{}]", chunk.join(", "))).collect();
        let routes: Vec<(&str, &str)> = lists.iter().map(|list| ("shop", list.as_str())).collect();
        let table = table(&http_routes(&routes));
        let router = HttpRouter::new(&table);
        for (path, post, x) in &asked {
            let method = if *post { "POST" } else { "GET" };
            let want = naive(&table, method, path, x.as_deref()).unwrap_or_else(|| "404".into());
            let headers: Vec<_> = x.iter().map(|it| ("x", it.as_str())).collect();
            prop_assert_eq!(found(&router, "shop", method, path, &headers), want, "{} {} {:?}", method, path, x);
        }
    }
}
