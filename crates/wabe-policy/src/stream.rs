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
    AppProtocol, Kind, ObjectName, Objects, ParentRef, Service, ServicePort, StreamBackend, Transport,
};

use crate::http::{self, InvalidBackend};

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
    let written = port.protocol();
    let allows = |wanted: &[AppProtocol]| written == AppProtocol::Detect || wanted.contains(&written);
    if http::may_speak(port) && !http::attached(objects, service, port).is_empty() {
        Routing::Http
    } else if allows(&[AppProtocol::Tls]) && tls::attached(objects, service, port).next().is_some() {
        Routing::Tls
    } else if tcp::attached(objects, service, port).next().is_some() {
        Routing::Tcp
    } else {
        Routing::Nothing
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

fn is_attached(parents: &[ParentRef], service: &Service, port: &ServicePort) -> bool {
    let means = |parent: &ParentRef| {
        parent.service == service.name
            && parent.port.is_none_or(|number| number == port.port)
            && parent.section.as_ref().is_none_or(|name| port.name.as_ref() == Some(name))
    };
    port.transport == Transport::Tcp && parents.iter().any(means)
}

impl Outlets {
    fn of(objects: &Objects, kind: Kind, route: &ObjectName, rule: &wabe_model::StreamRule) -> Self {
        let outlet = |backend: &StreamBackend| Outlet {
            service: backend.service.clone(),
            port: backend.port,
            weight: backend.weight,
            invalid: invalid(objects, kind, route, backend),
        };
        let backends = rule.backends.iter().map(outlet).collect();
        Self { kind, route: route.clone(), name: rule.name.clone(), backends }
    }
}

fn invalid(
    objects: &Objects,
    kind: Kind,
    route: &ObjectName,
    backend: &StreamBackend,
) -> Option<InvalidBackend> {
    if backend.other_kind.is_some() {
        return Some(InvalidBackend::OtherKind);
    }
    if !objects.may_refer(kind, &route.namespace, &backend.service) {
        return Some(InvalidBackend::NotGranted);
    }
    let Some(service) = objects.service(&backend.service) else {
        return Some(InvalidBackend::NoSuchService);
    };
    let has = |it: &ServicePort| it.port == backend.port && it.transport == Transport::Tcp;
    (!service.ports.iter().any(has)).then_some(InvalidBackend::NoSuchPort)
}
