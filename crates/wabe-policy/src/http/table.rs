//! What callers of one service's port get.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use wabe_model::{
    HttpFilter, HttpMatch, HttpRoute, InvalidBackend, Kind, ObjectName, Objects, ParentRef, PathMatch, Retry,
    Service, ServicePort, Timeouts, Transport,
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
    /// What is done to requests that go here, and to their answers, after the rule's own filters.
    pub filters: Vec<HttpFilter>,
}

impl HttpTable {
    /// From all routes that are attached to this service and port; `None` if there is none. A route of another namespace than
    /// the service's is a *consumer* route.
    pub fn compile(objects: &Objects, service: &Service, port: &ServicePort) -> Option<Self> {
        let mut table = Self::default();
        let mut any = false;
        for route in attached(objects, service, port) {
            any = true;
            let rows = if route.name.namespace == service.name.namespace {
                &mut table.producer
            } else {
                table.consumers.entry(route.name.namespace.clone()).or_default()
            };
            rows.extend(rows_of(objects, route));
        }
        table
            .consumers
            .values_mut()
            .chain([&mut table.producer])
            .for_each(|rows| rows.sort_by_key(precedence));
        any.then_some(table)
    }
}

/// The routes that are attached to a service's port, by their names.
pub fn attached<'a>(
    objects: &'a Objects,
    service: &'a Service,
    port: &'a ServicePort,
) -> impl Iterator<Item = &'a HttpRoute> {
    let is_parent = |parent: &ParentRef| {
        parent.service == service.name
            && parent.port.is_none_or(|number| number == port.port)
            && parent.section.as_ref().is_none_or(|name| port.name.as_ref() == Some(name))
    };
    let tcp = port.transport == Transport::Tcp;
    objects.http_routes().filter(move |route| tcp && route.parents.iter().any(is_parent))
}

/// Sorting by it is stable, so that the order of routes and rules decides what else is equal.
fn precedence(row: &TableRow) -> (u8, Reverse<usize>, bool, Reverse<usize>, Reverse<usize>) {
    let condition = &row.condition;
    let (kind, length) = match &condition.path {
        PathMatch::Exact(path) => (0, path.chars().count()),
        PathMatch::Expression(path) => (1, path.as_str().chars().count()),
        PathMatch::Prefix(path) => (2, path.chars().count()),
    };
    let (headers, query) = (condition.headers.len(), condition.query.len());
    (kind, Reverse(length), condition.method.is_none(), Reverse(headers), Reverse(query))
}

fn rows_of(objects: &Objects, route: &HttpRoute) -> Vec<TableRow> {
    let mut rows = Vec::new();
    for (index, rule) in route.rules.iter().enumerate() {
        let backends = rule.backends.iter().map(|backend| {
            let invalid = match objects.service(&backend.service) {
                None => Some(InvalidBackend::NoSuchService),
                Some(service) => {
                    let has = |it: &ServicePort| it.port == backend.port && it.transport == Transport::Tcp;
                    (!service.ports.iter().any(has)).then_some(InvalidBackend::NoSuchPort)
                }
            };
            let (service, port, weight) = (backend.service.clone(), backend.port, backend.weight);
            TableBackend { service, port, weight, invalid, filters: backend.filters.clone() }
        });
        let compiled = Arc::new(TableRule {
            kind: Kind::HttpRoute,
            route: route.name.clone(),
            rule: index,
            name: rule.name.clone(),
            filters: rule.filters.clone(),
            backends: backends.collect(),
            timeouts: rule.timeouts,
            retry: rule.retry.clone(),
        });
        let row =
            |condition: &HttpMatch| TableRow { condition: condition.clone(), rule: Arc::clone(&compiled) };
        rows.extend(rule.matches.iter().map(row));
    }
    rows
}
