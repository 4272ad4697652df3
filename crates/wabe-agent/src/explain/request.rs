//! What would become of a request: which route and rule hold for it, and where it may go. By what the proxy reads, and with the
//! function by which it decides.

use std::net::IpAddr;

use serde::Serialize;
use wabe_model::{AppProtocol, HttpFilter, ObjectName, PathMatch};
use wabe_policy::http::{
    HttpRequest, HttpRouter, InvalidBackend, Routed, TableBackend, TableRule, is_preflight, joined,
};
use wabe_proxy::{EndpointFacts, Snapshot, figures::BackendFigures, foresee};

use crate::figures::Live;

mod choice;
mod text;

use choice::Choice;

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
    /// A FaultInjection of the rule answers all requests, before anything else is done.
    Faulted,
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
            Self::NoRule
            | Self::NoBackend
            | Self::NoFilter
            | Self::Faulted
            | Self::NoEndpoint
            | Self::Refused => false,
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
    /// The RequestLimit that it names.
    pub request_limit: Option<LimitView>,
    /// The FaultInjection that it names.
    pub fault: Option<FaultView>,
}

/// How many requests pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitView {
    /// `namespace/name`.
    pub name: String,
    /// So many.
    pub requests: u32,
    /// In so many milliseconds.
    pub per: u64,
    /// So many may come at once.
    pub burst: u32,
    /// Whose are counted together: `route` or `caller`.
    pub each: &'static str,
}

/// What goes wrong on purpose.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultView {
    /// `namespace/name`.
    pub name: String,
    /// Requests that are answered by an error.
    pub abort: Option<AbortView>,
    /// Requests that wait first.
    pub delay: Option<DelayView>,
    /// The status that every request gets, so that none goes on; `None` if some do.
    pub always: Option<u16>,
}

/// An error that is made up.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AbortView {
    /// 400 to 599.
    pub status: u16,
    /// Of which share of requests, 0 to 1.
    pub share: f64,
}

/// A time that is waited for nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DelayView {
    /// In milliseconds.
    pub time: u64,
    /// Of which share of requests, 0 to 1.
    pub share: f64,
}

/// Where a request may go.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
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
    /// How an endpoint is chosen unless a hash says where a request goes, if any may be: `two-choices`, `peak-ewma`, `round-robin`, `random`.
    pub balance: Option<&'static str>,
    /// What of a request says where it goes, if something does.
    pub hash: Option<HashView>,
    /// Only the endpoints nearest to the caller get requests.
    pub near: bool,
    /// Where fewer endpoints than this percentage are not ejected all get requests; `None` if none is ever ejected.
    pub min_health_percent: Option<u32>,
    /// That is so now.
    pub ejections_ignored: bool,
    /// Who serves it now.
    pub endpoints: Vec<EndpointView>,
}

/// What of a request says which endpoint it goes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HashView {
    /// `source` (the caller's address), `header`, `query`, `cookie`.
    pub by: &'static str,
    /// Of the header, parameter or cookie.
    pub name: Option<String>,
    /// This request has it, or is given it (a cookie). If not, it is balanced as if there were no hash.
    pub given: bool,
}

/// Why an endpoint gets nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Withheld {
    /// Requests to it failed.
    Ejected,
    /// Others are nearer to the caller.
    NotNearest,
}

/// A place where a backend is served.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// How near to the caller it is.
    #[serde(skip)]
    pub nearness: u32,
    /// Why it gets nothing now; `None` if it may be chosen.
    pub withheld: Option<Withheld>,
    /// How often it is drawn, 0 to 1: its part of the weights of those that may be chosen. `None` where the hash decides.
    pub share: Option<f64>,
    /// The one with the lower score of two that are drawn is chosen: requests under way and this one, by the weight that holds
    /// now, of `peak-ewma` times the latency in microseconds. `None` where the choice goes by something else, and where that
    /// is not known.
    pub score: Option<f64>,
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
    /// Adds what the kernel says of each endpoint, and what follows from that for the request. After [`Self::add`], if a proxy
    /// told anything.
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
            | Outcome::Faulted
            | Outcome::NoEndpoint
            | Outcome::Refused => return,
        }
        let drawn = self.backends.iter().filter(|it| it.weight > 0 && it.invalid.is_none());
        let mut endpoints = drawn.flat_map(|it| &it.endpoints).peekable();
        if endpoints.peek().is_none() {
            self.outcome = Outcome::NoEndpoint;
        // Whom policies admit is not looked at when an endpoint is chosen.
        } else if endpoints.filter(|it| it.withheld.is_none()).all(EndpointView::refuses) {
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
            choice::judge(view, self.figures_age.unwrap_or(0));
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
    let itself = || {
        let view = BackendView {
            service: facts.service.to_string(),
            port: facts.port,
            weight: 1,
            share: 1.0,
            ..BackendView::default()
        };
        served(snapshot, asked, view, (&facts.service, facts.port), None, &[])
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
            let rule_view = text::rule_view(rule, path, asked);
            let outcome = if rule.guards.missing {
                Outcome::NoFilter
            } else if rule_view.fault.as_ref().is_some_and(|it| it.always.is_some()) {
                Outcome::Faulted
            } else if asks && answers {
                Outcome::Preflight
            } else if redirects {
                Outcome::Redirected
            } else if backends.iter().any(|it| it.invalid.is_none() && it.weight > 0) {
                Outcome::Forwarded
            } else {
                Outcome::NoBackend
            };
            answer(outcome, Some(rule_view), backends)
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
    let view = |it: &TableBackend| {
        let view = BackendView {
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
            filters: it.filters.iter().map(|it| text::filter(it, None)).collect(),
            ..BackendView::default()
        };
        let filters = [rule.filters.as_slice(), it.filters.as_slice()];
        match it.invalid {
            Some(_) => view,
            None => served(snapshot, asked, view, (&it.service, it.port), Some(path), &filters),
        }
    };
    rule.backends.iter().map(view).collect()
}

/// Adds who serves it and how one of them is chosen.
fn served(
    snapshot: &Snapshot,
    asked: &Asked,
    view: BackendView,
    (service, port): (&ObjectName, u16),
    path: Option<&PathMatch>,
    filters: &[&[HttpFilter]],
) -> BackendView {
    let facts = snapshot.backends.iter().find(|it| it.service == *service && it.port == port);
    let caller = snapshot.workloads.get(&asked.from).map(|it| &it.locality);
    let endpoint = |it: &EndpointFacts| {
        let named = snapshot.workloads.get(&it.workload);
        EndpointView {
            id: it.workload,
            workload: named.map_or_else(String::new, |it| format!("{}/{}", it.namespace, it.name)),
            address: if asked.destination.is_ipv4() { it.v4.into() } else { it.v6.into() },
            port: it.port,
            weight: it.weight,
            nearness: caller
                .zip(facts)
                .map_or(0, |(caller, facts)| caller.nearness(&it.locality, &facts.traffic.failover)),
            withheld: None,
            share: None,
            score: None,
            admitted: None,
            policy: policy(snapshot, asked, it, path, filters),
            live: None,
        }
    };
    let endpoints = facts.into_iter().flat_map(|it| &it.endpoints).map(endpoint).collect();
    let Choice { balance, hash, near, min_health_percent } = Choice::of(facts, asked, caller);
    let mut view = BackendView { balance: Some(balance), hash, near, min_health_percent, endpoints, ..view };
    choice::judge(&mut view, 0);
    view
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

#[cfg(test)]
mod tests;
