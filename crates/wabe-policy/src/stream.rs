//! Routes of connections whose bytes nobody reads (Gateway API, attached to Services): compiled to tables, looked up as pure
//! functions. [`tcp`] has those of TCPRoutes, [`tls`] those of TLSRoutes.
//!
//! A port has routes of one kind. If several are attached the more specific kind holds, as the standard says: HTTPRoute and
//! GRPCRoute before TLSRoute before TCPRoute; the others say nothing. What the Service itself says of the port comes first: where
//! it says `tcp`, there is no TLS or HTTP to look into.

pub mod tcp;
pub mod tls;

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

/// Which kind of route holds for a port of a service.
pub fn routing(objects: &Objects, service: &Service, port: &ServicePort) -> Routing {
    if objects.routes().any(|it| it.is_about(service, port)) {
        Routing::Http
    } else if tls::attached(objects, service, port).next().is_some() {
        Routing::Tls
    } else if tcp::attached(objects, service, port).next().is_some() {
        Routing::Tcp
    } else {
        Routing::Nothing
    }
}

/// Whether a route holds at a port of a service, for some of its callers.
pub fn holds(objects: &Objects, service: &Service, port: &ServicePort, route: Route<'_>) -> bool {
    let routing = routing(objects, service, port);
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

/// What the proxy takes the bytes of a port's connections for: what its routes need, else what the Service says.
pub fn protocol(objects: &Objects, service: &Service, port: &ServicePort) -> AppProtocol {
    match (routing(objects, service, port), port.protocol()) {
        (Routing::Http, AppProtocol::Detect) => AppProtocol::Http,
        (Routing::Http | Routing::Nothing, written) => written,
        (Routing::Tls, _) => AppProtocol::Tls,
        (Routing::Tcp, _) => AppProtocol::Tcp,
    }
}

impl Outlets {
    /// Of a route's only rule.
    fn of(objects: &Objects, route: Route<'_>) -> Self {
        let outlet = |backend: &HttpBackend| Outlet {
            service: backend.service.clone(),
            port: backend.port,
            weight: backend.weight,
            invalid: objects.invalid_backend(route, backend.reference()),
        };
        let rules = route.rules();
        let backends = rules.iter().flat_map(|rule| rule.backends).map(outlet).collect();
        let name = rules.first().and_then(|rule| rule.name.cloned());
        Self { kind: route.kind(), route: route.name().clone(), name, backends }
    }
}
