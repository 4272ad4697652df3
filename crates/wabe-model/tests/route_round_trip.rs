//! What is written from a route or a grant is read as the same one.
#![expect(clippy::unwrap_used, reason = "in tests")]

use std::time::Duration;

use proptest::{
    collection::btree_map, collection::btree_set, collection::vec, option, prelude::*, sample::select,
};
use wabe_model::{
    Allowed, Cors, Expression, GrantFrom, GrantTo, GrpcMatch, GrpcMethod, GrpcRoute, GrpcRouteRule,
    HeaderChange, HostPattern, HttpBackend, HttpFilter, HttpMatch, HttpRoute, HttpRouteRule, Manifest,
    Mirror, Object, ObjectName, OriginPattern, OtherKind, ParentRef, PathChange, PathMatch, Redirect,
    ReferenceGrant, Retry, Rewrite, Scheme, Timeouts, ValueMatch, ValuePattern, parse, to_manifest, to_yaml,
};

fn path() -> impl Strategy<Value = String> {
    "(/[a-z0-9]{1,5}){1,3}/?"
}

fn expression() -> impl Strategy<Value = Expression> {
    "[a-z/ :#]{0,4}(\\(a\\|b\\)|\\[0-9\\]\\+|\\.\\*)".prop_map(|it| Expression::new(&it).unwrap())
}

/// Of each header one change.
fn change() -> impl Strategy<Value = HeaderChange> {
    let changes = btree_map("x-[a-z]{1,5}", (0..3, "[!-~]{1,8}"), 0..8);
    changes.prop_map(|changes| {
        let mut change = HeaderChange { set: Vec::new(), add: Vec::new(), remove: Vec::new() };
        for (name, (kind, value)) in changes {
            match kind {
                0 => change.set.push((name, value)),
                1 => change.add.push((name, value)),
                _ => change.remove.push(name),
            }
        }
        change
    })
}

fn service() -> impl Strategy<Value = ObjectName> {
    (select(vec!["shop", "other"]), "[a-z]{1,5}")
        .prop_map(|(namespace, name)| ObjectName::new(namespace, name))
}

fn other_kind() -> impl Strategy<Value = Option<OtherKind>> {
    option::weighted(0.2, ("[a-z]{1,4}\\.[a-z]{1,4}", "[A-Z][a-z]{1,4}"))
        .prop_map(|it| it.map(|(group, kind)| OtherKind { group, kind }))
}

fn mirrors() -> impl Strategy<Value = Vec<HttpFilter>> {
    let share = prop_oneof![(0_u32..=100, Just(100_u32)), (0_u32..50, 50_u32..2_000_000)];
    let mirror = (service(), 1_u16.., other_kind(), share).prop_map(
        |(service, port, other_kind, (numerator, denominator))| {
            HttpFilter::Mirror(Mirror { service, port, other_kind, numerator, denominator })
        },
    );
    vec(mirror, 0..3)
}

/// Those that every rule and backend can have.
fn plain_filters() -> impl Strategy<Value = Vec<HttpFilter>> {
    let changes = (
        option::of(change().prop_map(HttpFilter::RequestHeaders)),
        option::of(change().prop_map(HttpFilter::ResponseHeaders)),
    );
    (changes, mirrors()).prop_map(|((one, two), mirrors)| one.into_iter().chain(two).chain(mirrors).collect())
}

fn allowed(names: impl Strategy<Value = String>) -> impl Strategy<Value = Allowed> {
    prop_oneof![1 => Just(Allowed::All), 4 => btree_set(names, 0..4).prop_map(|it| Allowed::Named(it.into_iter().collect()))]
}

fn cors() -> impl Strategy<Value = HttpFilter> {
    let host = "[a-z0-9]{1,3}(\\.[a-z-]{1,3}){0,2}";
    let host = prop_oneof![
        Just(None),
        host.prop_map(|it| Some(HostPattern::Exact(it))),
        host.prop_map(|it| Some(HostPattern::Below(it))),
    ];
    let origin = (select(vec![Scheme::Http, Scheme::Https]), host, prop_oneof![Just(80), Just(443), 1_u16..])
        .prop_map(|(scheme, host, port)| OriginPattern::Of { scheme, host, port });
    let origins = prop_oneof![
        Just(vec![OriginPattern::Any]),
        vec(origin, 0..3).prop_map(|list| {
            let mut unlike: Vec<OriginPattern> = Vec::new();
            list.into_iter().for_each(|it| {
                if !unlike.contains(&it) {
                    unlike.push(it)
                }
            });
            unlike
        }),
    ];
    let methods = allowed(select(vec!["GET", "PUT", "DELETE"]).prop_map(str::to_owned));
    let headers = || allowed("x-[a-z]{1,5}");
    (origins, any::<bool>(), methods, headers(), headers(), 1_u32..i32::MAX as u32).prop_map(
        |(origins, credentials, methods, headers, expose, max_age)| {
            HttpFilter::Cors(Cors { origins, credentials, methods, headers, expose, max_age })
        },
    )
}

fn rewrite() -> impl Strategy<Value = HttpFilter> {
    (host(), option::of(new_path()))
        .prop_map(|(hostname, path)| HttpFilter::Rewrite(Rewrite { hostname, path }))
}

fn new_path() -> impl Strategy<Value = PathChange> {
    prop_oneof![path().prop_map(PathChange::Full), path().prop_map(PathChange::Prefix)]
}

fn host() -> impl Strategy<Value = Option<String>> {
    option::of("[a-z]{1,5}\\.[a-z]{1,5}")
}

/// And whether they send callers elsewhere.
fn filters() -> impl Strategy<Value = (Vec<HttpFilter>, bool)> {
    let redirect = (
        option::of(select(vec!["http", "https"])),
        host(),
        option::of(new_path()),
        option::of(1_u16..),
        select(vec![301_u16, 302, 303, 307, 308]),
    )
        .prop_map(|(scheme, hostname, path, port, status)| {
            HttpFilter::Redirect(Redirect { scheme: scheme.map(Into::into), hostname, path, port, status })
        });
    let target = prop_oneof![
        Just((None, false)),
        redirect.prop_map(|it| (Some(it), true)),
        rewrite().prop_map(|it| (Some(it), false)),
    ];
    (plain_filters(), option::of(cors()), target).prop_map(|(plain, cors, (target, redirects))| {
        (plain.into_iter().chain(cors).chain(target).collect(), redirects)
    })
}

fn values(names: &'static str) -> impl Strategy<Value = Vec<ValueMatch>> {
    let value = prop_oneof![
        "[!-~]{1,6}".prop_map(ValuePattern::Exact),
        expression().prop_map(ValuePattern::Expression),
    ];
    vec((names, value), 0..3).prop_map(|list| {
        let mut list: Vec<_> = list.into_iter().map(|(name, value)| ValueMatch { name, value }).collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list.dedup_by(|a, b| a.name == b.name);
        list
    })
}

fn backends(filters: impl Strategy<Value = Vec<HttpFilter>>) -> impl Strategy<Value = Vec<HttpBackend>> {
    let backend = (service(), 1_u16.., other_kind(), 0_u32..=1_000_000, filters).prop_map(
        |(service, port, other_kind, weight, filters)| HttpBackend {
            service,
            port,
            other_kind,
            weight,
            filters,
        },
    );
    vec(backend, 0..3)
}

fn retry() -> impl Strategy<Value = Retry> {
    let parts = (btree_set(400_u16..600, 0..4), 1_u32..=10, option::of(0_u64..9_000));
    parts.prop_map(|(codes, attempts, backoff)| Retry {
        codes: codes.into_iter().collect(),
        attempts,
        backoff: backoff.map(Duration::from_millis),
    })
}

fn http_rule() -> impl Strategy<Value = HttpRouteRule> {
    let method = option::of(select(vec!["GET", "POST", "DELETE"]));
    let matching = (path(), method, values("x-[a-z]{1,4}"), values("[a-zA-Z]{1,4}")).prop_map(
        |(path, method, headers, query)| HttpMatch {
            path: PathMatch::Prefix(path),
            method: method.map(Into::into),
            headers,
            query,
        },
    );
    let timeouts =
        (option::of(2_000_u64..9_000), option::of(1_u64..2_000)).prop_map(|(request, backend)| Timeouts {
            request: request.map(Duration::from_millis),
            backend_request: backend.map(Duration::from_millis),
        });
    let backends = backends(
        (plain_filters(), option::of(rewrite()), option::of(cors()))
            .prop_map(|(plain, rewrite, cors)| plain.into_iter().chain(rewrite).chain(cors).collect()),
    );
    (vec(matching, 1..3), filters(), backends, timeouts, option::of(retry())).prop_map(
        |(matches, (mut filters, redirects), backends, timeouts, retry)| {
            let cors = |it: &HttpFilter| matches!(it, HttpFilter::Cors(_));
            let backends: Vec<HttpBackend> = if redirects { Vec::new() } else { backends };
            if backends.iter().any(|it| it.filters.iter().any(cors)) {
                filters.retain(|it| !cors(it));
            }
            let rewrites = |it: &HttpFilter| matches!(it, HttpFilter::Rewrite(Rewrite { path: Some(_), .. }));
            if backends.iter().any(|it| it.filters.iter().any(rewrites)) {
                filters.retain(|it| !rewrites(it));
            }
            HttpRouteRule { name: None, matches, filters, backends, timeouts, retry }
        },
    )
}

fn grpc_rule() -> impl Strategy<Value = GrpcRouteRule> {
    let exact = (option::of("[a-z]{1,4}(\\.[A-Z][a-z]{1,4})?"), option::of("[A-Z][a-z_]{0,4}"))
        .prop_filter("something", |(service, method)| service.is_some() || method.is_some())
        .prop_map(|(service, method)| GrpcMethod::Exact { service, method });
    let described = (option::of(expression()), expression())
        .prop_map(|(service, method)| GrpcMethod::Expression { service, method: Some(method) });
    let matching = (option::of(prop_oneof![exact, described]), values("x-[a-z]{1,4}"))
        .prop_map(|(method, headers)| GrpcMatch { method, headers });
    (option::of("[a-z]{1,5}"), vec(matching, 1..3), plain_filters(), backends(plain_filters()))
        .prop_map(|(name, matches, filters, backends)| GrpcRouteRule { name, matches, filters, backends })
}

fn object() -> impl Strategy<Value = Object> {
    let parents = || {
        (option::of(1_u16..), option::of("[a-z]{1,5}")).prop_map(|(port, section)| {
            vec![ParentRef { service: ObjectName::new("other", "web"), port, section }]
        })
    };
    let name = || ObjectName::new("shop", "r");
    let http = (parents(), vec(http_rule(), 1..4))
        .prop_map(move |(parents, rules)| Object::HttpRoute(HttpRoute { name: name(), parents, rules }));
    let grpc = (parents(), vec(grpc_rule(), 1..4)).prop_map(move |(parents, mut rules)| {
        rules.iter_mut().skip(1).for_each(|rule| rule.name = None);
        Object::GrpcRoute(GrpcRoute { name: name(), parents, rules })
    });
    let from = ("[a-z]{1,4}\\.[a-z]{1,4}", "[A-Z][a-z]{1,4}", "[a-z]{1,5}")
        .prop_map(|(group, kind, namespace)| GrantFrom { group, kind, namespace });
    let to = ("[a-z]{0,4}", "[A-Z][a-z]{1,4}", option::of("[a-z]{1,5}"))
        .prop_map(|(group, kind, name)| GrantTo { group, kind, name });
    let grant = (vec(from, 1..4), vec(to, 1..4))
        .prop_map(move |(from, to)| Object::ReferenceGrant(ReferenceGrant { name: name(), from, to }));
    prop_oneof![4 => http, 3 => grpc, 1 => grant]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn yaml_is_read_as_the_object_it_was_written_from(object in object()) {
        let text = to_yaml(&to_manifest(&object));
        let parsed = parse(&[Manifest::new("x.yaml", "/", text.clone())]);
        let parsed = parsed.map_err(|it| TestCaseError::fail(format!("{it}\n{text}")))?;
        prop_assert_eq!(&parsed.objects[0].object, &object, "{}", text);
        // As the agent keeps it.
        let kept: Object = serde_json::from_str(&serde_json::to_string(&object).unwrap()).unwrap();
        prop_assert_eq!(kept, object);
    }
}
