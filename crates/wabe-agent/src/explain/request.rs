//! What would become of a request: which route and rule hold for it, and where it may go. By what the proxy reads, and with the
//! function by which it decides.

use std::net::IpAddr;

use serde::Serialize;
use wabe_model::{AppProtocol, HeaderChange, HttpFilter, ObjectName, PathChange, PathMatch};
use wabe_policy::http::{
    HttpRequest, HttpRouter, InvalidBackend, Routed, TableBackend, TableRule, is_preflight, joined,
};
use wabe_proxy::{EndpointFacts, Snapshot, figures::BackendFigures, foresee};

use crate::figures::Live;

/// A request that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The caller's workload.
    pub from: u32,
    /// What it dials.
    pub destination: IpAddr,
    /// The port that it dials.
    pub port: u16,
    /// As sent: `GET`.
    pub method: String,
    /// The path, and the query if there is one: `/a?b=c`.
    pub target: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestExplanation {
    /// The generation of what the proxy reads.
    pub generation: u64,
    /// `namespace/name` of the service that is dialled.
    pub service: String,
    /// Its port.
    pub port: u16,
    /// What becomes of the request.
    pub outcome: Outcome,
    /// The rule that holds, if one does.
    pub rule: Option<RuleView>,
    /// Where the request may go; of a rule, by weight. None if nobody but the proxy answers.
    pub backends: Vec<BackendView>,
    /// How old what the proxy told of its endpoints is, in milliseconds; `None` if no proxy that runs has told anything.
    pub figures_age: Option<u64>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It goes to one of the backends.
    Forwarded,
    /// The caller is sent elsewhere.
    Redirected,
    /// A browser asks what it may ask for, and the filter `CORS` of the rule, or of all its backends, answers.
    Preflight,
    /// No route holds for the caller: it goes to the service itself.
    Unrouted,
    /// Routes hold for the caller, and none of their rules for the request: 404, of a gRPC call `UNIMPLEMENTED`.
    NoRule,
    /// The rule leads to nothing: 500, of a gRPC call `UNAVAILABLE`.
    NoBackend,
    /// The rule names a RequestLimit or FaultInjection that there is none of: 500, of a gRPC call `UNAVAILABLE`.
    NoFilter,
    /// Nobody serves any of its backends: 503, of a gRPC call `UNAVAILABLE`.
    NoEndpoint,
    /// Policies of all endpoints refuse it: 403, of a gRPC call `PERMISSION_DENIED`.
    Refused,
}

impl Outcome {
    /// Whether the request is answered as its caller hopes, as far as that is the mesh's business.
    pub fn is_good(self) -> bool {
        match self {
            Self::Forwarded | Self::Redirected | Self::Preflight | Self::Unrouted => true,
            Self::NoRule | Self::NoBackend | Self::NoFilter | Self::NoEndpoint | Self::Refused => false,
        }
    }
}

/// A rule of a route.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleView {
    /// `HTTPRoute` or `GRPCRoute`.
    pub kind: &'static str,
    /// `namespace/name` of the route.
    pub route: String,
    /// Which of its rules, from 0.
    pub rule: usize,
    /// The rule's name.
    pub name: Option<String>,
    /// The path of the match that holds.
    pub path: String,
    /// What is done to the request and its answer, in this order.
    pub filters: Vec<String>,
    /// How long it may take and how often it is tried, if the route says so.
    pub limits: Vec<String>,
}

/// Where a request may go.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendView {
    /// `namespace/name` of the service.
    pub service: String,
    /// Its port.
    pub port: u16,
    /// Its weight.
    pub weight: u32,
    /// Its share of requests, 0 to 1.
    pub share: f64,
    /// Why it is no backend: its share is answered by 500.
    pub invalid: Option<&'static str>,
    /// What is done to requests that go here, after the rule's own filters.
    pub filters: Vec<String>,
    /// Who serves it now.
    pub endpoints: Vec<EndpointView>,
}

/// A place where a backend is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// Its number.
    #[serde(skip)]
    pub id: u32,
    /// `namespace/name` of the workload there.
    pub workload: String,
    /// Its address, of the family that was dialled.
    pub address: IpAddr,
    /// The port that it listens on.
    pub port: u16,
    /// Its weight.
    pub weight: u32,
    /// Whether the kernel lets the proxy connect there on the caller's behalf; `None` if it was not asked.
    pub admitted: Option<bool>,
    /// What its policies that look at requests say; `None` if it has none.
    pub policy: Option<PolicyView>,
    /// How the proxy finds it; `None` if it does not say.
    pub live: Option<LiveView>,
}

/// What an endpoint's policies say of the request, as it is after the filters. Headers that the proxy itself adds are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyView {
    /// Whether it goes there.
    pub allowed: bool,
    /// The rule that decides, if one does.
    pub rule: Option<String>,
    /// It is refused since its path is read as another by some servers.
    pub ambiguous_path: bool,
    /// The AUDIT rule that matches, if one does.
    pub audit: Option<String>,
    /// What policies in dry run would make of it: `allow` or `deny`.
    pub dry_run: Option<&'static str>,
}

/// What the choice among endpoints goes by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveView {
    /// Requests under way there.
    pub under_way: u32,
    /// What it is expected to take, in microseconds: the latest latencies count most, slow ones at once. `None` if it never
    /// answered.
    pub latency: Option<u64>,
    /// The share of its weight that holds now, 1 to 100 percent: less while it warms up.
    pub warmth: u32,
    /// For how many more milliseconds it gets nothing.
    pub ejected_for: Option<u64>,
}

impl EndpointView {
    fn refuses(&self) -> bool {
        self.admitted == Some(false) || self.policy.as_ref().is_some_and(|it| !it.allowed)
    }
}

impl RequestExplanation {
    /// Adds what the kernel says of each endpoint, and what follows from that for the request.
    pub fn admit(&mut self, admits: impl Fn(&EndpointView) -> bool) {
        for endpoint in self.backends.iter_mut().flat_map(|it| &mut it.endpoints) {
            endpoint.admitted = Some(admits(endpoint));
        }
        match self.outcome {
            Outcome::Forwarded | Outcome::Unrouted => {}
            Outcome::Redirected
            | Outcome::Preflight
            | Outcome::NoRule
            | Outcome::NoBackend
            | Outcome::NoFilter
            | Outcome::NoEndpoint
            | Outcome::Refused => return,
        }
        let drawn = self.backends.iter().filter(|it| it.weight > 0 && it.invalid.is_none());
        let mut endpoints = drawn.flat_map(|it| &it.endpoints).peekable();
        if endpoints.peek().is_none() {
            self.outcome = Outcome::NoEndpoint;
        } else if endpoints.all(EndpointView::refuses) {
            self.outcome = Outcome::Refused;
        }
    }

    /// Adds what a proxy told. Numbers only, of endpoints that there are.
    pub fn add(&mut self, told: &Live) {
        self.figures_age = Some(u64::try_from(told.age.as_millis()).unwrap_or(u64::MAX));
        for view in &mut self.backends {
            let same = |it: &&BackendFigures| it.port == view.port && it.service.to_string() == view.service;
            let Some(figures) = told.figures.backends.iter().find(same) else { continue };
            for endpoint in &mut view.endpoints {
                let figures = figures.endpoints.iter().find(|it| it.workload == endpoint.id);
                let weight = endpoint.weight.max(1);
                endpoint.live = figures.map(|it| LiveView {
                    under_way: it.under_way,
                    latency: it.latency,
                    warmth: (it.weight / weight).min(100),
                    ejected_for: it.ejected_for,
                });
            }
        }
    }
}

/// Decides as the proxy would; `None` if the caller is not led there from what it dials, or nobody there looks at requests.
pub fn explain_request(snapshot: &Snapshot, asked: &Asked) -> Option<RequestExplanation> {
    let facts = snapshot
        .ports
        .iter()
        .find(|it| it.port == asked.port && it.addresses.contains(&asked.destination.to_canonical()))?;
    let namespace = snapshot.workloads.get(&asked.from).map_or("", |it| it.namespace.as_str());
    match facts.protocol_of(namespace) {
        AppProtocol::Http | AppProtocol::Http2 | AppProtocol::Grpc | AppProtocol::Detect => {}
        AppProtocol::Tls | AppProtocol::Tcp => return None,
    }
    let router = HttpRouter::new(&facts.table);
    let answer = |outcome, rule, backends| RequestExplanation {
        generation: snapshot.generation,
        service: facts.service.to_string(),
        port: facts.port,
        outcome,
        rule,
        backends,
        figures_age: None,
    };
    let itself = || BackendView {
        service: facts.service.to_string(),
        port: facts.port,
        weight: 1,
        share: 1.0,
        invalid: None,
        filters: Vec::new(),
        endpoints: endpoints(snapshot, asked, (&facts.service, facts.port), None, &[]),
    };
    Some(match find(&router, namespace, asked) {
        Routed::Unrouted => answer(Outcome::Unrouted, None, vec![itself()]),
        Routed::NotFound => answer(Outcome::NoRule, None, Vec::new()),
        Routed::Rule(rule, path) => {
            let backends = backends(snapshot, asked, rule, path);
            let redirects = rule.filters.iter().any(|it| matches!(it, HttpFilter::Redirect(_)));
            let asks = is_preflight(&asked.method, |name| {
                asked.headers.iter().any(|it| it.0.eq_ignore_ascii_case(name))
            });
            let answers = |list: &[HttpFilter]| list.iter().any(|it| matches!(it, HttpFilter::Cors(_)));
            let mut drawn = rule.backends.iter().filter(|it| it.weight > 0).peekable();
            // Where not all of them have the filter, chance decides.
            let every =
                drawn.peek().is_some() && drawn.all(|it| it.invalid.is_none() && answers(&it.filters));
            let answers = answers(&rule.filters) || every;
            let outcome = if rule.guards.missing {
                Outcome::NoFilter
            } else if asks && answers {
                Outcome::Preflight
            } else if redirects {
                Outcome::Redirected
            } else if backends.iter().any(|it| it.invalid.is_none() && it.weight > 0) {
                Outcome::Forwarded
            } else {
                Outcome::NoBackend
            };
            answer(outcome, Some(rule_view(rule, path)), backends)
        }
    })
}

fn find<'a>(router: &'a HttpRouter, namespace: &str, asked: &Asked) -> Routed<'a> {
    let (path, query) = match asked.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (asked.target.as_str(), None),
    };
    let header = |name: &str| {
        let named = asked.headers.iter().filter(|it| it.0.eq_ignore_ascii_case(name));
        joined(named.map(|it| it.1.as_bytes()))
    };
    router.find(namespace, &HttpRequest { method: &asked.method, path, query, header: &header })
}

fn backends(snapshot: &Snapshot, asked: &Asked, rule: &TableRule, path: &PathMatch) -> Vec<BackendView> {
    let total: u64 = rule.backends.iter().map(|it| u64::from(it.weight)).sum();
    let view = |it: &TableBackend| BackendView {
        service: it.service.to_string(),
        port: it.port,
        weight: it.weight,
        share: f64::from(it.weight) / total.max(1) as f64,
        invalid: it.invalid.map(|invalid| match invalid {
            InvalidBackend::NoSuchService => "there is no such service",
            InvalidBackend::NoSuchPort => "it has no such port for TCP",
            InvalidBackend::NotGranted => "no ReferenceGrant of its namespace allows it",
            InvalidBackend::OtherKind => "it is no service",
            InvalidBackend::UnsupportedProtocol => "its port speaks no HTTP",
        }),
        filters: it.filters.iter().map(filter).collect(),
        endpoints: match it.invalid {
            Some(_) => Vec::new(),
            None => {
                let filters = [rule.filters.as_slice(), it.filters.as_slice()];
                endpoints(snapshot, asked, (&it.service, it.port), Some(path), &filters)
            }
        },
    };
    rule.backends.iter().map(view).collect()
}

fn endpoints(
    snapshot: &Snapshot,
    asked: &Asked,
    (service, port): (&ObjectName, u16),
    path: Option<&PathMatch>,
    filters: &[&[HttpFilter]],
) -> Vec<EndpointView> {
    let backend = snapshot.backends.iter().find(|it| it.service == *service && it.port == port);
    let view = |it: &EndpointFacts| {
        let named = snapshot.workloads.get(&it.workload);
        EndpointView {
            id: it.workload,
            workload: named.map_or_else(String::new, |it| format!("{}/{}", it.namespace, it.name)),
            address: if asked.destination.is_ipv4() { it.v4.into() } else { it.v6.into() },
            port: it.port,
            weight: it.weight,
            admitted: None,
            policy: policy(snapshot, asked, it, path, filters),
            live: None,
        }
    };
    backend.into_iter().flat_map(|it| &it.endpoints).map(view).collect()
}

fn policy(
    snapshot: &Snapshot,
    asked: &Asked,
    endpoint: &EndpointFacts,
    path: Option<&PathMatch>,
    filters: &[&[HttpFilter]],
) -> Option<PolicyView> {
    let Asked { from, destination, method, target, headers, .. } = asked;
    let question = foresee::Question { from: *from, v4: destination.is_ipv4(), method, target, headers };
    let told = foresee::foresee(snapshot, &question, endpoint, path, filters)?;
    Some(PolicyView {
        allowed: told.allowed,
        rule: told.rule,
        ambiguous_path: told.ambiguous_path,
        audit: told.audit,
        dry_run: told.dry_run.map(|allowed| if allowed { "allow" } else { "deny" }),
    })
}

fn rule_view(rule: &TableRule, path: &PathMatch) -> RuleView {
    let timeouts = [("request", rule.timeouts.request), ("backendRequest", rule.timeouts.backend_request)];
    let mut limits: Vec<String> = timeouts
        .iter()
        .filter_map(|(name, time)| time.map(|time| format!("{name} within {time:?}")))
        .collect();
    limits.extend(rule.retry.as_ref().map(|retry| {
        let codes: Vec<String> = retry.codes.iter().map(u16::to_string).collect();
        let after = retry.backoff.map_or_else(String::new, |it| format!(", {it:?} apart at least"));
        let on = if codes.is_empty() { String::new() } else { format!(" after {}", codes.join(", ")) };
        format!("tried again {} times at most{on}{after}", retry.attempts)
    }));
    RuleView {
        kind: rule.kind.as_str(),
        route: rule.route.to_string(),
        rule: rule.rule,
        name: rule.name.clone(),
        path: match path {
            PathMatch::Exact(path) => path.clone(),
            PathMatch::Prefix(path) => format!("{}/*", path.trim_end_matches('/')),
            PathMatch::Expression(path) => format!("~ {}", path.as_str()),
        },
        filters: rule.filters.iter().map(filter).collect(),
        limits,
    }
}

/// A filter in a line.
fn filter(filter: &HttpFilter) -> String {
    match filter {
        HttpFilter::RequestHeaders(it) => format!("the request's headers: {}", headers(it)),
        HttpFilter::ResponseHeaders(it) => format!("the answer's headers: {}", headers(it)),
        HttpFilter::Redirect(it) => {
            let port = it.port.map(|port| format!("port {port}"));
            let parts = [it.scheme.clone(), it.hostname.clone(), port, it.path.as_ref().map(path)];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            format!("redirected with {}: {}", it.status, parts.join(", "))
        }
        HttpFilter::Rewrite(it) => {
            let parts = [it.hostname.as_ref().map(|it| format!("host {it}")), it.path.as_ref().map(path)];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            format!("rewritten: {}", parts.join(", "))
        }
        HttpFilter::Mirror(it) => {
            format!("{} of {} copied to {}:{}", it.numerator, it.denominator, it.service, it.port)
        }
        HttpFilter::Cors(it) => {
            let origins: Vec<String> = it.origins.iter().map(ToString::to_string).collect();
            format!("CORS for {}", if origins.is_empty() { "no origin".into() } else { origins.join(", ") })
        }
        HttpFilter::Limit(name) => format!("limited by RequestLimit {name}"),
        HttpFilter::Fault(name) => format!("made to fail by FaultInjection {name}"),
    }
}

fn path(change: &PathChange) -> String {
    match change {
        PathChange::Full(path) => format!("path {path}"),
        PathChange::Prefix(path) => format!("prefix {path}"),
    }
}

fn headers(change: &HeaderChange) -> String {
    let set = change.set.iter().map(|(name, value)| format!("set {name}: {value}"));
    let add = change.add.iter().map(|(name, value)| format!("add {name}: {value}"));
    let remove = change.remove.iter().map(|name| format!("remove {name}"));
    set.chain(add).chain(remove).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wabe_model::{AccessLog, Manifest, Objects, check, parse};
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
        assert_eq!(
            (told.outcome, told.generation, told.service.as_str()),
            (Outcome::Forwarded, 7, "shop/web")
        );
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
        let mut told =
            explain_request(&snapshot, &asked("/a", &[("canary", "1")])).expect("led to the proxy");
        told.admit(|_| unreachable!("nobody is there"));
        assert_eq!(told.outcome, Outcome::NoEndpoint);
    }

    #[test]
    fn who_reads_no_requests_foresees_nothing_of_them() {
        let mut snapshot = snapshot();
        for (protocol, looks) in
            [(AppProtocol::Tcp, false), (AppProtocol::Tls, false), (AppProtocol::Grpc, true)]
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
}
