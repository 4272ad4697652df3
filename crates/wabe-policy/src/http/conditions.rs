//! What has become of a route, for each service that it is attached to: the Gateway API's conditions.

use serde::Serialize;
use wabe_model::{ClusterIps, InvalidBackend, ObjectName, Objects, ParentRef, Route, ServicePort, Transport};

use crate::stream;

/// A statement about a route and one of its parents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub about: About,
    /// Whether it is so.
    pub status: Status,
    /// Why, for machines.
    pub reason: Reason,
    /// Why, for people; empty if all is well.
    pub message: String,
}

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum About {
    /// The route holds for callers of the parent.
    Accepted,
    /// All that it refers to is there and may be referred to. What is not is answered by 500; the rest of the route holds.
    ResolvedRefs,
    /// The proxy goes by it.
    Programmed,
}

/// Whether it is so, as the standard writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Status {
    /// It is.
    True,
    /// It is not.
    False,
}

/// The standard's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Reason {
    /// It holds.
    Accepted,
    /// There is no such service, or no such port of it, or nobody is led from it to the proxy.
    NoMatchingParent,
    /// A more specific route holds instead: a `GRPCRoute` of the same namespace (GEP-1294), or one that reads what a `TLSRoute` or
    /// `TCPRoute` would pass on.
    Conflicted,
    /// The Service says that the port speaks another protocol than the route is about.
    UnsupportedValue,
    /// All is there.
    ResolvedRefs,
    /// Something that is no service.
    InvalidKind,
    /// No such service, or no such port of it.
    BackendNotFound,
    /// A service of another namespace, which does not allow it.
    RefNotPermitted,
    /// A port of a Service that speaks no HTTP, as the Service says.
    UnsupportedProtocol,
    /// No such RequestLimit or FaultInjection: the standard has no reason of its own for that.
    FilterNotFound,
    /// The proxy goes by it.
    Programmed,
    /// It does not, since the route is not accepted.
    Invalid,
}

/// The conditions of a route for each of its parents, in the order in which they are written.
pub fn conditions(objects: &Objects, route: Route<'_>) -> Vec<[Condition; 3]> {
    let of = |parent: &ParentRef| {
        let accepted = accepted(objects, route, parent);
        let programmed = match accepted.status {
            Status::True => Condition::good(About::Programmed, Reason::Programmed),
            Status::False => {
                Condition::bad(About::Programmed, Reason::Invalid, "the route is not accepted".into())
            }
        };
        let dialled = match accepted.status {
            Status::True => Some(&parent.service),
            Status::False => None,
        };
        let resolved = resolved(objects, route, dialled);
        [accepted, resolved, programmed]
    };
    route.parents().iter().map(of).collect()
}

fn accepted(objects: &Objects, route: Route<'_>, parent: &ParentRef) -> Condition {
    let bad = |reason, message| Condition::bad(About::Accepted, reason, message);
    let name = &parent.service;
    let Some(service) = objects.service(name) else {
        return bad(Reason::NoMatchingParent, format!("there is no service {name}"));
    };
    if service.cluster_ips == ClusterIps::Headless {
        let message = format!(
            "service {name} has no address of its own, by which its callers could be led to the proxy"
        );
        return bad(Reason::NoMatchingParent, message);
    }
    let meant: Vec<&ServicePort> = service.ports.iter().filter(|port| parent.means(port)).collect();
    if meant.is_empty() {
        let tcp = service.ports.iter().filter(|port| port.transport == Transport::Tcp);
        let ports: Vec<String> = tcp.map(|port| port.port.to_string()).collect();
        let has = if ports.is_empty() { "none".into() } else { ports.join(", ") };
        return bad(
            Reason::NoMatchingParent,
            format!("service {name} has no such port for TCP; it has {has}"),
        );
    }
    let (held, lost): (Vec<_>, Vec<_>) =
        meant.into_iter().partition(|port| stream::holds(objects, service, port, route));
    if let Some(port) = lost.first() {
        let (reason, message) = lost_at(port, route);
        if held.is_empty() {
            return bad(reason, message);
        }
        return Condition { message, ..Condition::good(About::Accepted, Reason::Accepted) };
    }
    Condition::good(About::Accepted, Reason::Accepted)
}

/// Why a route does not hold at a port that it is attached to.
fn lost_at(port: &ServicePort, route: Route<'_>) -> (Reason, String) {
    let number = port.port;
    if !route.suits(port.protocol()) {
        let message = format!("port {number} speaks {}, as the Service says", port.protocol().as_str());
        return (Reason::UnsupportedValue, message);
    }
    let winner = match route {
        Route::Http(_) | Route::Grpc(_) => format!("a GRPCRoute of namespace {}", route.name().namespace),
        Route::Tls(_) => "an HTTPRoute or GRPCRoute".to_owned(),
        Route::Tcp(_) => format!(
            "another TCPRoute of namespace {}, or a route that reads what this one passes on,",
            route.name().namespace
        ),
    };
    (Reason::Conflicted, format!("at port {number} {winner} holds"))
}

/// The first thing that is wrong gives the reason; all are told. `dialled` is the parent if the route holds there.
fn resolved(objects: &Objects, route: Route<'_>, dialled: Option<&ObjectName>) -> Condition {
    let rules = route.rules();
    let filters = rules.iter().flat_map(|rule| rule.filters);
    let references = rules.iter().flat_map(|rule| {
        let backends = rule.backends.iter().map(|it| it.reference());
        backends.chain(rule.mirrors().map(|it| it.reference()))
    });
    let mut reason = None;
    let mut messages: Vec<String> = Vec::new();
    for to in references {
        let Some(invalid) = objects.invalid_backend(route, dialled, to) else { continue };
        reason.get_or_insert(match invalid {
            InvalidBackend::NoSuchService | InvalidBackend::NoSuchPort => Reason::BackendNotFound,
            InvalidBackend::NotGranted => Reason::RefNotPermitted,
            InvalidBackend::OtherKind => Reason::InvalidKind,
            InvalidBackend::UnsupportedProtocol => Reason::UnsupportedProtocol,
        });
        let message = invalid.message(to);
        if !messages.contains(&message) {
            messages.push(message);
        }
    }
    for (kind, name) in filters.filter_map(|it| objects.missing_filter(it)) {
        reason.get_or_insert(Reason::FilterNotFound);
        messages.push(format!("there is no {kind} {name}"));
    }
    match reason {
        Some(reason) => Condition::bad(About::ResolvedRefs, reason, messages.join("; ")),
        None => Condition::good(About::ResolvedRefs, Reason::ResolvedRefs),
    }
}

impl Condition {
    fn good(about: About, reason: Reason) -> Self {
        Self { about, status: Status::True, reason, message: String::new() }
    }

    fn bad(about: About, reason: Reason, message: String) -> Self {
        Self { about, status: Status::False, reason, message }
    }
}
