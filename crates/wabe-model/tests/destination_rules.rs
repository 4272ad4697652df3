//! DestinationRules: what is read from them, and what is said about them.
#![expect(clippy::unwrap_used, reason = "in tests")]

use std::time::Duration;

use wabe_model::{
    Balance, ConnectionPool, DestinationRule, HashCookie, HashKey, Manifest, Object, Objects,
    OutlierDetection, RetryBudget, check, parse,
};

const HEAD: &str =
    "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: web}\nspec:\n  host: web\n";

fn policy(text: &str) -> String {
    format!("{HEAD}  trafficPolicy: {text}\n")
}

/// With annotations.
fn annotated(annotations: &str, text: &str) -> String {
    policy(text).replace("{name: web}", &format!("{{name: web, annotations: {{{annotations}}}}}"))
}

fn rule(text: &str) -> DestinationRule {
    let parsed = parse(&[Manifest::new("x.yaml", "/", text)]).unwrap_or_else(|it| panic!("{it}"));
    let Object::DestinationRule(rule) = parsed.objects[0].object.clone() else { panic!("{parsed:?}") };
    rule
}

fn told(text: &str) -> Vec<String> {
    let problems = parse(&[Manifest::new("x.yaml", "/", text)]).expect_err("it is wrong");
    problems.0.iter().map(|it| it.to_string().strip_prefix("x.yaml:").unwrap().to_owned()).collect()
}

#[test]
fn what_is_hashed() {
    let cookie = |path: Option<&str>, seconds: Option<u64>| {
        let (name, path) = ("cart".to_owned(), path.map(ToOwned::to_owned));
        Some(HashKey::Cookie(HashCookie { name, path, lifetime: seconds.map(Duration::from_secs) }))
    };
    for (written, wanted) in [
        ("useSourceIp: true", Some(HashKey::Source)),
        ("useSourceIp: false", None),
        ("httpHeaderName: X-User", Some(HashKey::Header("x-user".into()))),
        ("httpQueryParameterName: User", Some(HashKey::Query("User".into()))),
        ("httpCookie: {name: cart}", cookie(None, None)),
        ("httpCookie: {name: cart, path: /, ttl: 0s}", cookie(Some("/"), Some(0))),
        ("httpCookie: {name: cart, ttl: 1h}", cookie(None, Some(3600))),
    ] {
        let text = policy(&format!("{{loadBalancer: {{consistentHash: {{{written}}}}}}}"));
        assert_eq!(rule(&text).hash, wanted, "{written}");
    }
}

#[test]
fn how_endpoints_are_chosen() {
    let peak = "mesh.wabe.dev/balance: peak-ewma";
    assert_eq!(rule(&annotated(peak, "{}")).balance, Some(Balance::PeakEwma));
    let simple = "{loadBalancer: {simple: RANDOM}}";
    assert_eq!(rule(&policy(simple)).balance, Some(Balance::Random));
    assert_eq!(
        told(&annotated(peak, simple)),
        [
            "3:60: metadata.annotations[\"mesh.wabe.dev/balance\"]: the rule's loadBalancer says how endpoints are chosen, \
             too (leave one of them out)"
        ]
    );
}

#[test]
fn connection_pools() {
    let text = policy(
        "{connectionPool: {tcp: {maxConnections: 5, connectTimeout: 30ms, idleTimeout: 1h}, http: \
         {http1MaxPendingRequests: 1, http2MaxRequests: 2, maxRequestsPerConnection: 3, maxRetries: 4, idleTimeout: 9s, \
         h2UpgradePolicy: UPGRADE}}}",
    );
    let wanted = ConnectionPool {
        connections: Some(5),
        connect_timeout: Some(Duration::from_millis(30)),
        stream_idle: Some(Duration::from_secs(3600)),
        pending: Some(1),
        requests: Some(2),
        requests_per_connection: Some(3),
        retries: Some(4),
        retry_budget: None,
        idle: Some(Duration::from_secs(9)),
        http2: true,
    };
    assert_eq!(rule(&text).pool, wanted);
    let unlimited =
        "{connectionPool: {http: {maxRequestsPerConnection: 0, h2UpgradePolicy: DO_NOT_UPGRADE}}}";
    assert!(rule(&policy(unlimited)).pool.is_empty());
}

#[test]
fn budgets_of_retries() {
    for (written, percent, least) in
        [("{}", 20, 3), ("{percent: 0}", 0, 3), ("{percent: 35, minRetryConcurrency: 0}", 35, 0)]
    {
        let pool = rule(&policy(&format!("{{retryBudget: {written}}}"))).pool;
        assert_eq!(pool.retry_budget, Some(RetryBudget { percent, least }), "{written}");
    }
}

#[test]
fn failed_connections_are_counted_by_the_first_count_that_is_written() {
    for (written, failures, server_errors, gateway_errors) in [
        ("", 5, 5, 0),
        ("consecutive5xxErrors: 7", 7, 7, 0),
        ("consecutive5xxErrors: 7, consecutiveGatewayErrors: 3", 3, 7, 3),
        ("consecutiveLocalOriginFailures: 2, consecutiveGatewayErrors: 3", 2, 5, 3),
        ("consecutiveLocalOriginFailures: 0", 0, 5, 0),
        ("consecutive5xxErrors: 7, consecutiveGatewayErrors: 0", 7, 7, 0),
        ("consecutive5xxErrors: 0, consecutiveGatewayErrors: 0", 0, 0, 0),
    ] {
        let read = rule(&policy(&format!("{{outlierDetection: {{{written}}}}}"))).outliers.unwrap();
        let wanted =
            OutlierDetection { failures, server_errors, gateway_errors, ..OutlierDetection::default() };
        assert_eq!(read, wanted, "{written}");
    }
}

#[test]
fn failed_connections_that_are_told_apart_have_a_count_of_their_own() {
    for (written, failures) in
        [("", 5), ("consecutiveLocalOriginFailures: 2", 2), ("consecutive5xxErrors: 0", 5)]
    {
        let written = format!("{{outlierDetection: {{splitExternalLocalOriginErrors: true, {written}}}}}");
        assert_eq!(rule(&policy(&written)).outliers.unwrap().failures, failures, "{written}");
    }
}

#[test]
fn deviations_are_read_as_thousandths() {
    for (written, wanted) in [("1.9", 1900), ("2", 2000), ("0.125", 125), ("10", 10_000)] {
        let text = annotated(
            &format!("mesh.wabe.dev/success-rate-deviations: \"{written}\""),
            "{outlierDetection: {}}",
        );
        assert_eq!(rule(&text).outliers.unwrap().deviations, Some(wanted), "{written}");
    }
    for wrong in ["", "0", "0.05", "11", "1.", ".5", "1.2345", "1,9", "-1", "1e1"] {
        let text = annotated(
            &format!("mesh.wabe.dev/success-rate-deviations: \"{wrong}\""),
            "{outlierDetection: {}}",
        );
        assert!(told(&text)[0].contains("is no number of standard deviations"), "{wrong}");
    }
    assert_eq!(
        told(&annotated("mesh.wabe.dev/success-rate-deviations: \"2\"", "{}")),
        [
            "3:76: metadata.annotations[\"mesh.wabe.dev/success-rate-deviations\"]: the rule has no outlierDetection, whose \
             times and percentages hold (write `outlierDetection: {}` in spec.trafficPolicy)"
        ]
    );
}

#[test]
fn what_is_refused_names_the_nearest() {
    const TABLE: &str = "the table is Maglev's";
    for (text, wanted) in [
        (
            "{loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 101}}}}",
            "leave it out; the proxy's table",
        ),
        ("{loadBalancer: {consistentHash: {maglev: {}}}}", "nothing says what is hashed"),
        ("{loadBalancer: {consistentHash: {useSourceIp: true, ringHash: {}}}}", TABLE),
        ("{loadBalancer: {consistentHash: {}}}", "nothing says what is hashed"),
        (
            "{loadBalancer: {consistentHash: {useSourceIp: true, httpHeaderName: a}}}",
            "several things are to be hashed",
        ),
        ("{loadBalancer: {consistentHash: {httpHeaderName: 'a b'}}}", "`a b` can't be the name of a header"),
        ("{loadBalancer: {consistentHash: {httpCookie: {name: 'a;b'}}}}", "can't be the name of a cookie"),
        (
            "{loadBalancer: {consistentHash: {httpCookie: {name: a, path: '/;b'}}}}",
            "can't be the path of a cookie",
        ),
        ("{loadBalancer: {consistentHash: {httpCookie: {name: a, ttl: 1}}}}", "1 has no unit"),
        ("{loadBalancer: {simple: RANDOM, consistentHash: {useSourceIp: true}}}", "contradict each other"),
        ("{loadBalancer: {simple: PASSTHROUGH}}", "`PASSTHROUGH` is not supported here"),
        ("{connectionPool: {tcp: {tcpKeepalive: {}}}}", "the nearest is `http.idleTimeout`"),
        ("{connectionPool: {http: {http2MaxRequests: 0}}}", "0 is out of range for a number of requests"),
        (
            "{connectionPool: {http: {maxRetries: 2000000}}}",
            "2000000 is out of range for a number of retries",
        ),
        ("{connectionPool: {http: {h2UpgradePolicy: MAYBE}}}", "supported: DEFAULT, DO_NOT_UPGRADE, UPGRADE"),
        ("{outlierDetection: {consecutiveErrors: 1}}", "write `consecutive5xxErrors`"),
        ("{outlierDetection: {consecutive5xxErrors: 1001}}", "1001 is out of range for a number of failures"),
        (
            "{loadBalancer: {localityLbSetting: {failover: [{from: a, to: a}]}}}",
            "a region can't come after itself",
        ),
        (
            "{loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}, {from: a, to: c}]}}}",
            "two regions come after `a`",
        ),
        ("{loadBalancer: {localityLbSetting: {failover: [{from: a/b, to: c}]}}}", "`a/b` can't be a region"),
        (
            "{loadBalancer: {localityLbSetting: {enabled: false, failover: [{from: a, to: b}]}}}",
            "failover says nothing if `enabled` is false",
        ),
        (
            "{loadBalancer: {localityLbSetting: {failoverPriority: [a]}}}",
            "then the region that `failover` names",
        ),
        ("{retryBudget: {percent: 101}}", "101 is out of range for a percentage"),
        ("{retryBudget: {minRetryConcurrency: -1}}", "-1 is out of range for a number of retries"),
    ] {
        let told = told(&policy(text));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("6:") && told[0].contains(wanted), "{told:?} instead of {wanted}");
    }
    let regions =
        |count: u32| (0..count).map(|it| format!("{{from: a{it}, to: b}}")).collect::<Vec<_>>().join(", ");
    let failover = |count| {
        policy(&format!("{{loadBalancer: {{localityLbSetting: {{failover: [{}]}}}}}}", regions(count)))
    };
    assert_eq!(rule(&failover(64)).failover.len(), 64);
    assert!(told(&failover(65))[0].contains("65 regions (write at most 64)"), "{:?}", told(&failover(65)));
    let subsets = format!("{HEAD}  subsets: [{{name: v2}}]\n");
    assert_eq!(
        told(&subsets),
        [
            "6:3: spec.subsets: is not supported: a route can't name a subset (write a Service for each subset, with its \
             labels in `selector`, and give them weights in an HTTPRoute)"
        ]
    );
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n\
                       spec: {selector: {app: web}, ports: [{port: 80}]}\n---\n";
const WORKLOAD: &str = "apiVersion: mesh.wabe.dev/v1alpha1\nkind: Workload\nmetadata: {name: web, labels: {app: web}}\n\
                        spec: {command: [web]}\n---\n";

fn warned(text: &str) -> Vec<String> {
    let parsed = parse(&[Manifest::new("x.yaml", "/", format!("{SERVICE}{WORKLOAD}{text}"))]).unwrap();
    let (_, warnings) = check(&parsed, &Objects::default()).unwrap();
    warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn what_needs_requests_is_warned_about_where_none_come() {
    let all = annotated(
        "mesh.wabe.dev/balance: peak-ewma, mesh.wabe.dev/success-rate-deviations: \"2\"",
        "{connectionPool: {http: {maxRetries: 1}}, outlierDetection: {}, retryBudget: {}}",
    );
    let told = warned(&all);
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(
        told[1],
        "x.yaml:16:35: warning: spec.trafficPolicy.connectionPool: has no effect as long as nothing comes to service \
         default/web through the node's proxy: callers' own connections have no such limits (attach an HTTPRoute to the \
         service, write its annotation `mesh.wabe.dev/l7: always`, or leave it out)"
    );
    assert_eq!(warned(&policy("{loadBalancer: {consistentHash: {httpHeaderName: a}}}")).len(), 1);
    for fine in [
        "{loadBalancer: {consistentHash: {useSourceIp: true}}}",
        "{loadBalancer: {consistentHash: {useSourceIp: true, maglev: {}}}}",
        "{loadBalancer: {simple: RANDOM, warmup: {duration: 9s}}, outlierDetection: {consecutive5xxErrors: 1}}",
    ] {
        assert!(warned(&policy(fine)).is_empty(), "{fine}");
    }
    let route = |parent: &str, backend: &str| {
        format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r}}\nspec:\n  \
             parentRefs: [{{group: '', kind: Service, name: {parent}}}]\n  \
             rules: [{{backendRefs: [{{name: {backend}, port: 80}}]}}]\n"
        )
    };
    for (parent, backend, wanted) in [("web", "other", 0), ("other", "web", 0), ("other", "other", 4)] {
        let told = warned(&format!("{all}{}", route(parent, backend)));
        let about = told.iter().filter(|it| it.contains("has no effect")).count();
        assert_eq!(about, wanted, "{parent} {backend}: {told:?}");
    }
}
