//! What callers of one service's port get.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use wabe_model::{
    Expression, FaultInjection, GrpcMatch, GrpcMethod, HttpFilter, HttpMatch, InvalidBackend, Kind, Mirror,
    ObjectName, Objects, PathMatch, Reference, RequestLimit, Retry, Route, RouteRule, Service, ServicePort,
    Timeouts,
};

/// All rows for one service's port, in the order of precedence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpTable {
    /// For callers of the service's own namespace, and of all that have none of their own.
    pub producer: Vec<TableRow>,
    /// A namespace's routes, for its own callers: they count instead of the producer's.
    pub consumers: BTreeMap<String, Vec<TableRow>>,
}

/// One match of one rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableRow {
    /// What a request must be like.
    pub condition: HttpMatch,
    /// What then becomes of it.
    pub rule: Arc<TableRule>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableRule {
    /// `HTTPRoute` or `GRPCRoute`: what fails under the latter is told as a gRPC status.
    pub kind: Kind,
    /// Whose.
    pub route: ObjectName,
    /// Which of its rules, from 0.
    pub rule: usize,
    /// The rule's name.
    pub name: Option<String>,
    /// What is done to requests and answers. Mirrors that lead nowhere are left out.
    pub filters: Vec<HttpFilter>,
    /// Where requests go.
    pub backends: Vec<TableBackend>,
    /// How long an answer may take.
    pub timeouts: Timeouts,
    /// When a backend is asked again.
    pub retry: Option<Retry>,
    /// What is looked at before a request goes anywhere.
    #[serde(default)]
    pub guards: Guards,
}

/// Wabe's own filters of a rule, which it names by `extensionRef`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guards {
    /// How many requests pass.
    pub limit: Option<RequestLimit>,
    /// What goes wrong on purpose.
    pub fault: Option<FaultInjection>,
    /// One is named that there is none of: requests are answered by 500, as the standard says of filters.
    pub missing: bool,
}

impl Guards {
    fn of(objects: &Objects, filters: &[HttpFilter]) -> Self {
        let mut guards = Self::default();
        for filter in filters {
            match filter {
                HttpFilter::Limit(name) => {
                    guards.limit = objects.request_limit(name).cloned();
                    guards.missing |= guards.limit.is_none();
                }
                HttpFilter::Fault(name) => {
                    guards.fault = objects.fault_injection(name).cloned();
                    guards.missing |= guards.fault.is_none();
                }
                HttpFilter::RequestHeaders(_)
                | HttpFilter::ResponseHeaders(_)
                | HttpFilter::Redirect(_)
                | HttpFilter::Rewrite(_)
                | HttpFilter::Mirror(_)
                | HttpFilter::Cors(_) => {}
            }
        }
        guards
    }
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableBackend {
    /// A service.
    pub service: ObjectName,
    /// A port of it.
    pub port: u16,
    /// Its share.
    pub weight: u32,
    /// Why there is nothing: its share of requests is answered by 500.
    pub invalid: Option<InvalidBackend>,
    /// What is done to requests that go here, and to their answers, after the rule's own filters. Mirrors that lead nowhere are
    /// left out.
    pub filters: Vec<HttpFilter>,
}

impl HttpTable {
    /// From all routes that are attached to this service and port; `None` if there is none. A route of another namespace than
    /// the service's is a *consumer* route.
    pub fn compile(objects: &Objects, service: &Service, port: &ServicePort) -> Option<Self> {
        let mut producer = Vec::new();
        let mut consumers: BTreeMap<String, Vec<Ranked>> = BTreeMap::new();
        let routes = attached(objects, service, port);
        for route in &routes {
            let namespace = &route.name().namespace;
            let rows = if *namespace == service.name.namespace {
                &mut producer
            } else {
                consumers.entry(namespace.clone()).or_default()
            };
            rows.extend(rows_of(objects, *route, &service.name));
        }
        let consumers = consumers.into_iter().map(|(namespace, rows)| (namespace, in_order(rows)));
        let table = Self { producer: in_order(producer), consumers: consumers.collect() };
        (!routes.is_empty()).then_some(table)
    }

    /// All rules, each once for each of its matches.
    pub fn rules(&self) -> impl Iterator<Item = &TableRule> {
        self.consumers.values().chain([&self.producer]).flatten().map(|row| &*row.rule)
    }
}

impl TableRow {
    /// Whether its condition or its filters look at a request's header fields, change them or its target, or copy it.
    pub(super) fn looks_at_fields(&self) -> bool {
        let of_backends = self.rule.backends.iter().flat_map(|it| &it.filters);
        !self.condition.headers.is_empty()
            || self.rule.filters.iter().chain(of_backends).any(|filter| match filter {
                HttpFilter::RequestHeaders(_)
                | HttpFilter::Redirect(_)
                | HttpFilter::Rewrite(_)
                | HttpFilter::Mirror(_)
                | HttpFilter::Cors(_) => true,
                HttpFilter::ResponseHeaders(_) | HttpFilter::Limit(_) | HttpFilter::Fault(_) => false,
            })
    }
}

impl TableRule {
    /// The services' ports that it leads to: where requests and their copies go.
    pub fn destinations(&self) -> impl Iterator<Item = (&ObjectName, u16)> {
        let valid = self.backends.iter().filter(|it| it.invalid.is_none());
        let filters = self.filters.iter().chain(self.backends.iter().flat_map(|it| &it.filters));
        let copies = filters.filter_map(mirror).map(|it| (&it.service, it.port));
        valid.map(|it| (&it.service, it.port)).chain(copies)
    }
}

/// The routes that are attached to a service's port and hold there, by kind, namespace and name.
///
/// Kinds are not mixed: of one namespace's routes, `HTTPRoute`s do not hold where there is a `GRPCRoute` (GEP-1294).
pub fn attached<'a>(objects: &'a Objects, service: &Service, port: &ServicePort) -> Vec<Route<'a>> {
    let of_calls = |route: Route<'a>| match route {
        Route::Grpc(grpc) => Some(grpc.name.namespace.as_str()),
        Route::Http(_) | Route::Tls(_) | Route::Tcp(_) => None,
    };
    let calls: BTreeSet<&str> = objects.routes_about(service, port).filter_map(of_calls).collect();
    let holds = |route: &Route<'_>| match route {
        Route::Grpc(_) => true,
        Route::Http(http) => !calls.contains(http.name.namespace.as_str()),
        // Their bytes are not read: see `stream`.
        Route::Tls(_) | Route::Tcp(_) => false,
    };
    objects.routes_about(service, port).filter(holds).collect()
}

/// The larger one goes first, by the first place that differs.
type Rank = [usize; 5];
type Ranked = (Rank, TableRow);

/// The sort is stable, so that the order of routes and rules decides what else is equal.
fn in_order(mut rows: Vec<Ranked>) -> Vec<TableRow> {
    rows.sort_by_key(|(rank, _)| Reverse(*rank));
    rows.into_iter().map(|(_, row)| row).collect()
}

fn rows_of(objects: &Objects, route: Route<'_>, dialled: &ObjectName) -> Vec<Ranked> {
    let rules = route.rules().into_iter().enumerate();
    let compiled = rules.map(|(index, rule)| compile(objects, route, dialled, index, rule));
    let mut rows = Vec::new();
    match route {
        Route::Http(route) => {
            for (rule, written) in compiled.zip(&route.rules) {
                let rule =
                    Arc::new(TableRule { timeouts: written.timeouts, retry: written.retry.clone(), ..rule });
                rows.extend(
                    written.matches.iter().map(|it| {
                        (http_rank(it), TableRow { condition: it.clone(), rule: Arc::clone(&rule) })
                    }),
                );
            }
        }
        Route::Grpc(route) => {
            for (rule, written) in compiled.zip(&route.rules) {
                let rule = Arc::new(rule);
                rows.extend(written.matches.iter().filter_map(|it| {
                    Some((grpc_rank(it), TableRow { condition: as_request(it)?, rule: Arc::clone(&rule) }))
                }));
            }
        }
        // Never attached here.
        Route::Tls(_) | Route::Tcp(_) => {}
    }
    rows
}

fn compile(
    objects: &Objects,
    route: Route<'_>,
    dialled: &ObjectName,
    index: usize,
    rule: RouteRule<'_>,
) -> TableRule {
    let invalid = |to: Reference<'_>| objects.invalid_backend(route, Some(dialled), to);
    let filters = |list: &[HttpFilter]| {
        let leads = |it: &&HttpFilter| mirror(it).is_none_or(|mirror| invalid(mirror.reference()).is_none());
        list.iter().filter(leads).cloned().collect::<Vec<_>>()
    };
    let backends = rule.backends.iter().map(|backend| TableBackend {
        service: backend.service.clone(),
        port: backend.port,
        weight: backend.weight,
        invalid: invalid(backend.reference()),
        filters: filters(&backend.filters),
    });
    TableRule {
        kind: route.kind(),
        route: route.name().clone(),
        rule: index,
        name: rule.name.cloned(),
        filters: filters(rule.filters),
        backends: backends.collect(),
        timeouts: Timeouts::default(),
        retry: None,
        guards: Guards::of(objects, rule.filters),
    }
}

fn mirror(filter: &HttpFilter) -> Option<&Mirror> {
    if let HttpFilter::Mirror(mirror) = filter { Some(mirror) } else { None }
}

/// The standard's order. Where expressions of paths stand in it is left to us: before prefixes, since behind a `/` for
/// everything else they would never hold.
fn http_rank(condition: &HttpMatch) -> Rank {
    let (kind, length) = match &condition.path {
        PathMatch::Exact(path) => (2, path.chars().count()),
        PathMatch::Expression(path) => (1, path.as_str().chars().count()),
        // A slash at its end is ignored.
        PathMatch::Prefix(path) => (0, path.trim_end_matches('/').chars().count()),
    };
    let method = usize::from(condition.method.is_some());
    [kind, length, method, condition.headers.len(), condition.query.len()]
}

/// The standard's order; names before expressions.
fn grpc_rank(condition: &GrpcMatch) -> Rank {
    let length = |it: Option<&str>| it.map_or(0, |it| it.chars().count());
    let headers = condition.headers.len();
    match &condition.method {
        None => [0, 0, 0, 0, headers],
        Some(GrpcMethod::Exact { service, method }) => {
            [length(service.as_deref()), length(method.as_deref()), 0, 0, headers]
        }
        Some(GrpcMethod::Expression { service, method }) => {
            let length = |it: &Option<Expression>| length(it.as_ref().map(Expression::as_str));
            [0, 0, length(service), length(method), headers]
        }
    }
}

/// A call is a POST of `/SERVICE/METHOD`. `None` if its expressions make none, which nobody who reads manifests lets through.
fn as_request(condition: &GrpcMatch) -> Option<HttpMatch> {
    let path = match &condition.method {
        None => PathMatch::Prefix("/".into()),
        Some(GrpcMethod::Exact { service: Some(service), method: Some(method) }) => {
            PathMatch::Exact(format!("/{service}/{method}"))
        }
        Some(GrpcMethod::Exact { service: Some(service), method: None }) => {
            PathMatch::Prefix(format!("/{service}"))
        }
        Some(GrpcMethod::Exact { service: None, method }) => {
            let method = method.as_deref().map(|it| {
                Expression::new(it)
                    .expect("invariant: a method's name is letters, digits and _, which stand for themselves")
            });
            PathMatch::Expression(Expression::path_of_call(None, method.as_ref()).ok()?)
        }
        Some(GrpcMethod::Expression { service, method }) => {
            PathMatch::Expression(Expression::path_of_call(service.as_ref(), method.as_ref()).ok()?)
        }
    };
    let headers = condition.headers.clone();
    Some(HttpMatch { path, method: Some("POST".into()), headers, query: Vec::new() })
}
