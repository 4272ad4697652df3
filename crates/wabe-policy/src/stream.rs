//! Routes of connections whose bytes nobody reads (Gateway API, attached to Services): compiled to tables, looked up as pure
//! functions. [`tcp`] has those of TCPRoutes, [`tls`] those of TLSRoutes.
//!
//! For a caller a port has routes of one kind: those of the caller's own namespace, and if that has none, those of the service's
//! (GEP-1294: a namespace's routes are nobody else's business). If several kinds are attached the more specific one holds, as the
//! standard says: HTTPRoute and GRPCRoute before TLSRoute before TCPRoute; the others say nothing. What the Service itself says
//! of the port comes first: where it says `tcp`, there is no TLS or HTTP to look into.

pub mod tcp;
pub mod tls;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wabe_model::{
    AppProtocol, HttpBackend, InvalidBackend, Kind, ObjectName, Objects, Route, Service, ServicePort,
};

use crate::http;

/// What becomes of connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlets {
    /// `TCPRoute` or `TLSRoute`.
    pub kind: Kind,
    /// Whose.
    pub route: ObjectName,
    /// The rule's name.
    pub name: Option<String>,
    /// Where they go, by weight. If all weights are 0 they go nowhere.
    pub backends: Vec<Outlet>,
}

/// Where connections go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlet {
    /// A service.
    pub service: ObjectName,
    /// A port of it.
    pub port: u16,
    /// Its share.
    pub weight: u32,
    /// Why there is nothing: its share of connections is reset.
    pub invalid: Option<InvalidBackend>,
}

/// Which kind of route holds for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// HTTPRoutes and GRPCRoutes.
    Http,
    /// TLSRoutes.
    Tls,
    /// TCPRoutes.
    Tcp,
    /// None is attached.
    Nothing,
}

impl Routing {
    fn by(route: Route<'_>) -> Self {
        match route {
            Route::Http(_) | Route::Grpc(_) => Self::Http,
            Route::Tls(_) => Self::Tls,
            Route::Tcp(_) => Self::Tcp,
        }
    }
}

/// Which kind of route holds for callers of a namespace at a port of a service.
pub fn routing(objects: &Objects, service: &Service, port: &ServicePort, callers: &str) -> Routing {
    match of_namespace(objects, service, port, callers) {
        Routing::Nothing => of_namespace(objects, service, port, &service.name.namespace),
        own @ (Routing::Http | Routing::Tls | Routing::Tcp) => own,
    }
}

fn of_namespace(objects: &Objects, service: &Service, port: &ServicePort, namespace: &str) -> Routing {
    // They come by kind, the more specific ones first.
    let mut its = objects.routes_about(service, port).filter(|it| it.name().namespace == namespace);
    its.next().map_or(Routing::Nothing, Routing::by)
}

/// Whose callers get something of their own at a port of a service, and which kind of route holds for them: the service's namespace,
/// which all others that have no routes for it count as, and then those that have.
pub fn audiences<'a>(
    objects: &'a Objects,
    service: &'a Service,
    port: &ServicePort,
) -> Vec<(&'a str, Routing)> {
    let mut others: BTreeMap<&str, Routing> = BTreeMap::new();
    for route in objects.routes_about(service, port) {
        others.entry(route.name().namespace.as_str()).or_insert(Routing::by(route));
    }
    let own = service.name.namespace.as_str();
    let of_own = others.remove(own).unwrap_or(Routing::Nothing);
    [(own, of_own)].into_iter().chain(others).collect()
}

/// Whether a route holds at a port of a service, for some of its callers.
pub fn holds(objects: &Objects, service: &Service, port: &ServicePort, route: Route<'_>) -> bool {
    let routing = routing(objects, service, port, &route.name().namespace);
    route.is_about(service, port)
        && match route {
            Route::Http(_) | Route::Grpc(_) => {
                routing == Routing::Http && http::attached(objects, service, port).contains(&route)
            }
            Route::Tls(_) => routing == Routing::Tls,
            Route::Tcp(own) => {
                let mut siblings = tcp::attached(objects, service, port)
                    .filter(|it| it.name.namespace == own.name.namespace);
                routing == Routing::Tcp && siblings.next().is_some_and(|first| first.name == own.name)
            }
        }
}

/// What the proxy takes the bytes of connections for that callers of a namespace have to a port: what its routes need, else what
/// the Service says.
pub fn protocol(objects: &Objects, service: &Service, port: &ServicePort, callers: &str) -> AppProtocol {
    spoken(port, routing(objects, service, port, callers))
}

/// The same for callers for whom routes of this kind hold.
pub fn spoken(port: &ServicePort, routing: Routing) -> AppProtocol {
    match (routing, port.protocol()) {
        (Routing::Http, AppProtocol::Detect) => AppProtocol::Http,
        (Routing::Http | Routing::Nothing, written) => written,
        (Routing::Tls, _) => AppProtocol::Tls,
        (Routing::Tcp, _) => AppProtocol::Tcp,
    }
}

impl Outlets {
    /// Of a route's only rule, for callers of a service that it is attached to.
    fn of(objects: &Objects, route: Route<'_>, dialled: &ObjectName) -> Self {
        let outlet = |backend: &HttpBackend| Outlet {
            service: backend.service.clone(),
            port: backend.port,
            weight: backend.weight,
            invalid: objects.invalid_backend(route, Some(dialled), backend.reference()),
        };
        let rules = route.rules();
        let backends = rules.iter().flat_map(|rule| rule.backends).map(outlet).collect();
        let name = rules.first().and_then(|rule| rule.name.cloned());
        Self { kind: route.kind(), route: route.name().clone(), name, backends }
    }
}
