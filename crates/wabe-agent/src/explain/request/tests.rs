use std::time::Duration;

use wabe_model::{AccessLog, Locality, Manifest, Objects, check, parse};
use wabe_policy::http::HttpTable;
use wabe_proxy::{
    BackendFacts, ServiceFacts, Speaks, TrafficPolicy, WorkloadFacts,
    figures::{EndpointFigures, Figures},
};

use super::*;

const TEXT: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: canary, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: web}]
  rules:
  - name: new
    matches: [{path: {value: /a}, headers: [{name: canary, value: '1'}]}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]
    backendRefs: [{name: web, port: 80, weight: 3}, {name: gone, port: 80}]
    timeouts: {request: 2s}
    retry: {codes: [503], attempts: 2}
  - matches: [{path: {type: Exact, value: /moved}}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: a.b, statusCode: 301}}]
  - matches: [{path: {type: Exact, value: /nothing}}]
  - matches: [{path: {type: Exact, value: /pages}}]
    filters: [{type: CORS, cors: {allowOrigins: ['https://*.a.b:8443', 'http://c']}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {type: Exact, value: /own}}]
    backendRefs: [{name: web, port: 80, filters: [{type: CORS, cors: {allowOrigins: ['http://c']}}]}, {name: web, port: 80, weight: 0}]
  - matches: [{path: {type: Exact, value: /some}}]
    backendRefs: [{name: web, port: 80, filters: [{type: CORS, cors: {allowOrigins: ['http://c']}}]}, {name: web, port: 80}]
  - matches: [{path: {type: Exact, value: /limited}}]
    filters: [{type: ExtensionRef, extensionRef: {group: mesh.wabe.dev, kind: RequestLimit, name: gone}}]
  - matches: [{path: {type: Exact, value: /guarded}}]
    filters:
    - {type: ExtensionRef, extensionRef: {group: mesh.wabe.dev, kind: RequestLimit, name: few}}
    - {type: ExtensionRef, extensionRef: {group: mesh.wabe.dev, kind: FaultInjection, name: some}}
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {type: Exact, value: /broken}}]
    filters:
    - {type: RequestRedirect, requestRedirect: {hostname: a.b}}
    - {type: ExtensionRef, extensionRef: {group: mesh.wabe.dev, kind: FaultInjection, name: all}}
  - matches: [{path: {type: Exact, value: /late}}]
    filters: [{type: ExtensionRef, extensionRef: {group: mesh.wabe.dev, kind: FaultInjection, name: late}}]
    backendRefs: [{name: web, port: 80}]
    timeouts: {request: 1s}
  - matches: [{path: {type: Exact, value: /slow}}]
    filters: [{type: ExtensionRef, extensionRef: {group: mesh.wabe.dev, kind: FaultInjection, name: late}}]
    backendRefs: [{name: web, port: 80}]
---
apiVersion: mesh.wabe.dev/v1alpha1
kind: RequestLimit
metadata: {name: few, namespace: shop}
spec: {requests: 10, per: 1s, burst: 5, each: Caller}
---
apiVersion: mesh.wabe.dev/v1alpha1
kind: FaultInjection
metadata: {name: some, namespace: shop}
spec: {abort: {status: 503, percent: 50}, delay: {time: 2s, fraction: {numerator: 1, denominator: 1000}}}
---
apiVersion: mesh.wabe.dev/v1alpha1
kind: FaultInjection
metadata: {name: all, namespace: shop}
spec: {abort: {status: 418}}
---
apiVersion: mesh.wabe.dev/v1alpha1
kind: FaultInjection
metadata: {name: late, namespace: shop}
spec: {delay: {time: 2s}}
";

fn snapshot() -> Snapshot {
    let parsed = parse(&[Manifest::new("x.yaml", "/", TEXT)]).unwrap_or_else(|error| panic!("{error}"));
    let (objects, _) = check(&parsed, &Objects::default()).unwrap_or_else(|error| panic!("{error}"));
    let service = objects.services().next().expect("the service");
    let workload = |name: &str, last| WorkloadFacts {
        namespace: "shop".into(),
        name: name.into(),
        identity: String::new(),
        v4: [10, 1, 0, last].into(),
        v6: "fd00::1".parse().expect("an address"),
        locality: Default::default(),
        leaving: false,
    };
    let endpoint = EndpointFacts {
        workload: 2,
        v4: [10, 1, 0, 2].into(),
        v6: "fd00::2".parse().expect("an address"),
        port: 8080,
        weight: 100,
        locality: Default::default(),
    };
    Snapshot {
        access_log: AccessLog::default(),
        workers: None,
        generation: 7,
        workloads: [(1, workload("front", 1)), (2, workload("web", 2))].into(),
        ports: vec![ServiceFacts {
            service: service.name.clone(),
            addresses: vec![[10, 2, 0, 1].into()],
            port: 80,
            protocol: Default::default(),
            consumers: Default::default(),
            table: HttpTable::compile(&objects, service, &service.ports[0]).expect("a route"),
            tls: None,
            tcp: None,
        }],
        backends: vec![BackendFacts {
            service: service.name.clone(),
            port: 80,
            speaks: Speaks::AsCaller,
            endpoints: vec![endpoint],
            traffic: TrafficPolicy::default(),
        }],
        ..Snapshot::default()
    }
}

fn asked(target: &str, headers: &[(&str, &str)]) -> Asked {
    Asked {
        from: 1,
        destination: [10, 2, 0, 1].into(),
        port: 80,
        method: "GET".into(),
        target: target.into(),
        headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
    }
}

fn ask(target: &str, headers: &[(&str, &str)]) -> RequestExplanation {
    explain_request(&snapshot(), &asked(target, headers)).expect("led to the proxy")
}

#[test]
fn the_rule_its_backends_and_their_endpoints_are_told() {
    let told = ask("/a/c?d=e", &[("Canary", "1")]);
    assert_eq!((told.outcome, told.generation, told.service.as_str()), (Outcome::Forwarded, 7, "shop/web"));
    let rule = told.rule.expect("a rule");
    assert_eq!((rule.kind, rule.route.as_str(), rule.rule), ("HTTPRoute", "shop/canary", 0));
    assert_eq!((rule.name.as_deref(), rule.path.as_str()), (Some("new"), "/a/*"));
    assert_eq!(rule.filters, ["rewritten: prefix /b"]);
    assert_eq!(rule.limits, ["request within 2s", "tried again 2 times at most after 503"]);
    let [web, gone] = told.backends.as_slice() else { panic!("two backends") };
    assert_eq!((web.share, web.invalid, gone.share), (0.75, None, 0.25));
    assert_eq!(gone.invalid, Some("there is no such service"));
    let [endpoint] = web.endpoints.as_slice() else { panic!("one endpoint") };
    assert_eq!((endpoint.workload.as_str(), endpoint.port), ("shop/web", 8080));
}

#[test]
fn what_the_proxy_told_is_added_to_the_endpoints_that_there_are() {
    let endpoint = |workload, weight| EndpointFigures {
        workload,
        weight,
        under_way: 5,
        latency: Some(1500),
        ejected_for: Some(30_000),
    };
    let backend = BackendFigures {
        service: ObjectName::new("shop", "web"),
        port: 80,
        connections: 0,
        pending: 0,
        requests: 0,
        ejections: 0,
        ejected: 0,
        endpoints: vec![endpoint(9, 10_000), endpoint(2, 2_500)],
    };
    let figures = |backends| Figures { backends, ..Figures::default() };
    let mut told = ask("/a", &[("canary", "1")]);
    assert_eq!((told.figures_age, &told.backends[0].endpoints[0].live), (None, &None));
    let other = BackendFigures { port: 81, endpoints: vec![endpoint(2, 10_000)], ..backend.clone() };
    told.add(&Live { figures: figures(vec![other, backend]), age: Duration::from_millis(40) });
    assert_eq!((told.figures_age, told.backends[0].endpoints.len()), (Some(40), 1));
    let live = LiveView { under_way: 5, latency: Some(1500), warmth: 25, ejected_for: Some(30_000) };
    assert_eq!(told.backends[0].endpoints[0].live, Some(live));
    // Six requests for a quarter of its weight of 100.
    assert_eq!(told.backends[0].endpoints[0].score, Some(0.24));
}

#[test]
fn what_becomes_of_it_depends_on_who_is_there_and_whom_they_admit() {
    for (target, admits, outcome) in [
        ("/a", true, Outcome::Forwarded),
        ("/a", false, Outcome::Refused),
        ("/nothing", false, Outcome::NoBackend),
        ("/moved", false, Outcome::Redirected),
    ] {
        let mut told = ask(target, &[("canary", "1")]);
        told.admit(|it| {
            assert_eq!(it.workload, "shop/web");
            admits
        });
        assert_eq!(told.outcome, outcome, "{target}");
    }
    let mut snapshot = snapshot();
    snapshot.backends[0].endpoints.clear();
    let mut told = explain_request(&snapshot, &asked("/a", &[("canary", "1")])).expect("led to the proxy");
    told.admit(|_| unreachable!("nobody is there"));
    assert_eq!(told.outcome, Outcome::NoEndpoint);
}

#[test]
fn whom_nobody_chooses_admits_nobody() {
    let mut snapshot = snapshot();
    let zone = |zone: &str| Locality { region: "r".into(), zone: zone.into(), subzone: String::new() };
    snapshot.workloads.get_mut(&1).expect("the caller").locality = zone("a");
    let backend = &mut snapshot.backends[0];
    backend.traffic.near = true;
    backend.endpoints[0].locality = zone("b");
    let near = EndpointFacts { workload: 3, locality: zone("a"), ..backend.endpoints[0].clone() };
    backend.endpoints.push(near);
    for (admits, outcome) in [(2, Outcome::Refused), (3, Outcome::Forwarded)] {
        let mut told =
            explain_request(&snapshot, &asked("/a", &[("canary", "1")])).expect("led to the proxy");
        let held: Vec<_> = told.backends[0].endpoints.iter().map(|it| it.withheld).collect();
        assert_eq!(held, [Some(Withheld::NotNearest), None]);
        told.admit(|it| it.id == admits);
        assert_eq!(told.outcome, outcome, "{admits}");
    }
}

#[test]
fn how_often_it_is_tried_depends_on_what_may_be_repeated() {
    let upgrade = [("canary", "1"), ("Connection", "upgrade"), ("Upgrade", "websocket")];
    for (method, headers, told) in [
        ("GET", &upgrade[..1], "tried again 2 times at most after 503"),
        ("DELETE", &upgrade[..1], "tried again 2 times at most after 503"),
        (
            "POST",
            &upgrade[..1],
            "tried again 2 times at most, as long as no endpoint has begun on it: POST is never repeated after that",
        ),
        (
            "PATCH",
            &upgrade[..1],
            "tried again 2 times at most, as long as no endpoint has begun on it: PATCH is never repeated after that",
        ),
        (
            "GET",
            &upgrade,
            "tried again 2 times at most, as long as no endpoint has begun on it: what asks for another protocol is never repeated after that",
        ),
    ] {
        let asked = Asked { method: method.into(), ..asked("/a", headers) };
        let rule = explain_request(&snapshot(), &asked).expect("led to the proxy").rule.expect("a rule");
        assert_eq!(rule.limits[1], told, "{method}");
    }
}

#[test]
fn who_reads_no_requests_foresees_nothing_of_them() {
    let mut snapshot = snapshot();
    for (protocol, looks) in [(AppProtocol::Tcp, false), (AppProtocol::Tls, false), (AppProtocol::Grpc, true)]
    {
        snapshot.ports[0].protocol = protocol;
        assert_eq!(explain_request(&snapshot, &asked("/a", &[])).is_some(), looks, "{protocol:?}");
    }
}

#[test]
fn what_the_proxy_answers_itself_is_told() {
    for (target, outcome, rule) in [
        ("/limited", Outcome::NoFilter, Some(6)),
        ("/a", Outcome::NoRule, None),
        ("/moved", Outcome::Redirected, Some(1)),
        ("/nothing", Outcome::NoBackend, Some(2)),
    ] {
        let told = ask(target, &[]);
        assert_eq!((told.outcome, told.rule.map(|it| it.rule)), (outcome, rule), "{target}");
        assert!(told.backends.is_empty());
    }
    let redirect = ask("/moved", &[]).rule.expect("a rule");
    assert_eq!(redirect.filters, ["redirected with 301: a.b"]);
}

#[test]
fn what_guards_a_rule_is_told_and_what_always_fails_is_not_forwarded() {
    let told = ask("/guarded", &[]);
    let rule = told.rule.expect("a rule");
    assert_eq!(
        (told.outcome, rule.filters.as_slice()),
        (
            Outcome::Forwarded,
            &[
                "limited by RequestLimit shop/few: 10 in 1s, burst 5, per caller".to_owned(),
                "made to fail by FaultInjection shop/some: 50 % answered by 503, 0.1 % late by 2s".to_owned()
            ][..]
        )
    );
    let limit = LimitView { name: "shop/few".into(), requests: 10, per: 1000, burst: 5, each: "caller" };
    assert_eq!(rule.request_limit, Some(limit));
    let fault = FaultView {
        name: "shop/some".into(),
        abort: Some(AbortView { status: 503, share: 0.5 }),
        delay: Some(DelayView { time: 2000, share: 0.001 }),
        always: None,
    };
    assert_eq!(rule.fault, Some(fault));
    for (target, outcome, always) in [
        ("/broken", Outcome::Faulted, Some(418)),
        ("/late", Outcome::Faulted, Some(504)),
        ("/slow", Outcome::Forwarded, None),
    ] {
        let mut told = ask(target, &[]);
        told.admit(|_| true);
        assert_eq!((told.outcome, told.outcome.is_good()), (outcome, always.is_none()), "{target}");
        let fault = told.rule.expect("a rule").fault.expect("a fault");
        assert_eq!(fault.always, always, "{target}");
    }
    let missing = ask("/limited", &[]).rule.expect("a rule");
    assert_eq!(missing.filters, ["limited by RequestLimit shop/gone, which does not exist"]);
}

#[test]
fn a_browser_that_asks_for_leave_is_answered_by_the_route() {
    let preflight = [("Origin", "http://c"), ("Access-Control-Request-Method", "PUT")];
    for (method, headers, outcome) in [
        ("OPTIONS", &preflight[..], Outcome::Preflight),
        ("OPTIONS", &preflight[..1], Outcome::Forwarded),
        ("PUT", &preflight[..], Outcome::Forwarded),
    ] {
        let asked = Asked { method: method.into(), ..asked("/pages", headers) };
        let told = explain_request(&snapshot(), &asked).expect("led to the proxy");
        assert_eq!(told.outcome, outcome, "{method} {headers:?}");
        assert_eq!(told.rule.expect("a rule").filters, ["CORS for https://*.a.b:8443, http://c"]);
    }
    for (path, outcome) in [("/own", Outcome::Preflight), ("/some", Outcome::Forwarded)] {
        let asked = Asked { method: "OPTIONS".into(), ..asked(path, &preflight) };
        let told = explain_request(&snapshot(), &asked).expect("led to the proxy");
        assert_eq!(told.outcome, outcome, "{path}");
        assert_eq!(told.backends[0].filters, ["CORS for http://c"]);
    }
}

#[test]
fn who_is_not_led_to_the_proxy_is_not_told_of_rules() {
    let ask = |address: [u8; 4], port| Asked {
        from: 1,
        destination: address.into(),
        port,
        method: "GET".into(),
        target: "/".into(),
        headers: Vec::new(),
    };
    assert_eq!(explain_request(&snapshot(), &ask([10, 2, 0, 1], 81)), None);
    assert_eq!(explain_request(&snapshot(), &ask([10, 1, 0, 2], 80)), None);
}
