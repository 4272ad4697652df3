//! What the kinds of routes have in common, and what they may refer to.

use serde::{Deserialize, Serialize};

use crate::{
    AppProtocol, GrpcRoute, HttpBackend, HttpFilter, HttpRoute, Kind, Mirror, Object, ObjectName, Objects,
    OtherKind, ParentRef, Service, ServicePort, StreamRule, TcpRoute, TlsRoute, Transport,
};

/// A route of any kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Route<'a> {
    /// Of requests.
    Http(&'a HttpRoute),
    /// Of calls.
    Grpc(&'a GrpcRoute),
    /// Of TLS connections.
    Tls(&'a TlsRoute),
    /// Of connections.
    Tcp(&'a TcpRoute),
}

/// What a rule says, whatever its route's kind, about where requests go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RouteRule<'a> {
    /// Its name.
    pub name: Option<&'a String>,
    /// What is done to requests and answers.
    pub filters: &'a [HttpFilter],
    /// Where requests go.
    pub backends: &'a [HttpBackend],
}

/// Why a backend is none: its share of requests is answered by 500, of calls by `UNAVAILABLE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InvalidBackend {
    /// There is no such service.
    NoSuchService,
    /// It has no such port for TCP.
    NoSuchPort,
    /// It is in another namespace, where no `ReferenceGrant` allows it.
    NotGranted,
    /// It is no service.
    OtherKind,
    /// Its Service says that this is spoken there: no HTTP, which is what the route's requests are.
    UnsupportedProtocol,
}

/// What a backend or a mirror refers to.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    /// A service.
    pub service: &'a ObjectName,
    /// A port of it.
    pub port: u16,
    /// What it is if it is no service.
    pub other_kind: Option<&'a OtherKind>,
}

impl InvalidBackend {
    /// What is wrong, in a sentence without its end.
    pub fn message(self, to: Reference<'_>) -> String {
        let Reference { service, port, other_kind } = to;
        match self {
            Self::NoSuchService => format!("there is no service {service}"),
            Self::NoSuchPort => format!("service {service} has no port {port} for TCP"),
            Self::NotGranted => format!("service {service} is of another namespace, which does not allow it"),
            Self::OtherKind => {
                let kind = other_kind.map_or("", |it| it.kind.as_str());
                format!("requests can't be sent to the {kind} {service}")
            }
            Self::UnsupportedProtocol => {
                format!("port {port} of service {service} speaks no HTTP, as the Service says")
            }
        }
    }
}

impl<'a> Route<'a> {
    /// The route, if an object is one.
    pub fn of(object: &'a Object) -> Option<Self> {
        match object {
            Object::HttpRoute(route) => Some(Self::Http(route)),
            Object::GrpcRoute(route) => Some(Self::Grpc(route)),
            Object::TlsRoute(route) => Some(Self::Tls(route)),
            Object::TcpRoute(route) => Some(Self::Tcp(route)),
            Object::Namespace { .. }
            | Object::ServiceAccount { .. }
            | Object::Service(_)
            | Object::Workload(_)
            | Object::MeshConfig(_)
            | Object::AuthorizationPolicy(_)
            | Object::DestinationRule(_)
            | Object::ReferenceGrant(_)
            | Object::RequestLimit(_)
            | Object::FaultInjection(_) => None,
        }
    }

    /// Its kind.
    pub fn kind(self) -> Kind {
        match self {
            Self::Http(_) => Kind::HttpRoute,
            Self::Grpc(_) => Kind::GrpcRoute,
            Self::Tls(_) => Kind::TlsRoute,
            Self::Tcp(_) => Kind::TcpRoute,
        }
    }

    /// Its name.
    pub fn name(self) -> &'a ObjectName {
        match self {
            Self::Http(route) => &route.name,
            Self::Grpc(route) => &route.name,
            Self::Tls(route) => &route.name,
            Self::Tcp(route) => &route.name,
        }
    }

    /// The services that it is attached to.
    pub fn parents(self) -> &'a [ParentRef] {
        match self {
            Self::Http(route) => &route.parents,
            Self::Grpc(route) => &route.parents,
            Self::Tls(route) => &route.parents,
            Self::Tcp(route) => &route.parents,
        }
    }

    /// Whether it says anything of a port over which this is spoken. Any protocol can be passed on as bytes.
    pub fn suits(self, protocol: AppProtocol) -> bool {
        match (self, protocol) {
            (_, AppProtocol::Detect)
            | (Self::Tcp(_), _)
            | (Self::Tls(_), AppProtocol::Tls)
            | (Self::Http(_) | Self::Grpc(_), AppProtocol::Http | AppProtocol::Http2 | AppProtocol::Grpc) => {
                true
            }
            (Self::Tls(_), AppProtocol::Http | AppProtocol::Http2 | AppProtocol::Grpc | AppProtocol::Tcp)
            | (Self::Http(_) | Self::Grpc(_), AppProtocol::Tls | AppProtocol::Tcp) => false,
        }
    }

    /// Whether it is attached to this port of a service, and says anything of it.
    pub fn is_about(self, service: &Service, port: &ServicePort) -> bool {
        self.parents().iter().any(|parent| parent.service == service.name && parent.means(port))
            && self.suits(port.protocol())
    }

    /// Its rules in their order.
    pub fn rules(self) -> Vec<RouteRule<'a>> {
        match self {
            Self::Http(route) => {
                let rules = route.rules.iter();
                rules.map(|it| RouteRule::of(it.name.as_ref(), &it.filters, &it.backends)).collect()
            }
            Self::Grpc(route) => {
                let rules = route.rules.iter();
                rules.map(|it| RouteRule::of(it.name.as_ref(), &it.filters, &it.backends)).collect()
            }
            Self::Tls(TlsRoute { rule, .. }) | Self::Tcp(TcpRoute { rule, .. }) => {
                let StreamRule { name, backends } = rule;
                vec![RouteRule::of(name.as_ref(), &[], backends)]
            }
        }
    }
}

impl<'a> RouteRule<'a> {
    fn of(name: Option<&'a String>, filters: &'a [HttpFilter], backends: &'a [HttpBackend]) -> Self {
        Self { name, filters, backends }
    }

    /// All mirrors of the rule and its backends.
    pub fn mirrors(self) -> impl Iterator<Item = &'a Mirror> {
        let filters = self.filters.iter().chain(self.backends.iter().flat_map(|it| &it.filters));
        filters.filter_map(|it| if let HttpFilter::Mirror(mirror) = it { Some(mirror) } else { None })
    }
}

impl ParentRef {
    /// Whether it means this port of its service: all that is routed needs TCP.
    pub fn means(&self, port: &ServicePort) -> bool {
        port.transport == Transport::Tcp
            && self.port.is_none_or(|number| number == port.port)
            && self.section.as_ref().is_none_or(|name| port.name.as_ref() == Some(name))
    }
}

impl HttpBackend {
    /// What it refers to.
    pub fn reference(&self) -> Reference<'_> {
        Reference { service: &self.service, port: self.port, other_kind: self.other_kind.as_ref() }
    }
}

impl Mirror {
    /// What it refers to.
    pub fn reference(&self) -> Reference<'_> {
        Reference { service: &self.service, port: self.port, other_kind: self.other_kind.as_ref() }
    }
}

impl Objects {
    /// All routes of requests and calls, first those of requests, by kind, namespace and name.
    pub fn routes(&self) -> impl Iterator<Item = Route<'_>> {
        self.http_routes().map(Route::Http).chain(self.grpc_routes().map(Route::Grpc))
    }

    /// What a filter names and there is none of; `None` if there is, or it names nothing.
    pub fn missing_filter<'a>(&self, filter: &'a HttpFilter) -> Option<(Kind, &'a ObjectName)> {
        match filter {
            HttpFilter::Limit(name) if self.request_limit(name).is_none() => Some((Kind::RequestLimit, name)),
            HttpFilter::Fault(name) if self.fault_injection(name).is_none() => {
                Some((Kind::FaultInjection, name))
            }
            HttpFilter::Limit(_)
            | HttpFilter::Fault(_)
            | HttpFilter::RequestHeaders(_)
            | HttpFilter::ResponseHeaders(_)
            | HttpFilter::Redirect(_)
            | HttpFilter::Rewrite(_)
            | HttpFilter::Mirror(_)
            | HttpFilter::Cors(_) => None,
        }
    }

    /// Why what a route refers to can't be a backend for callers of one of the services that it is attached to; `None` if it can.
    /// `dialled` is that service, if the route is attached there.
    ///
    /// A route may lead to services of its own namespace, to the one that was dialled (its callers would have reached it anyway),
    /// and to those of other namespaces where a `ReferenceGrant` allows it.
    pub fn invalid_backend(
        &self,
        route: Route<'_>,
        dialled: Option<&ObjectName>,
        to: Reference<'_>,
    ) -> Option<InvalidBackend> {
        if to.other_kind.is_some() {
            return Some(InvalidBackend::OtherKind);
        }
        if dialled != Some(to.service) && !self.may_refer(route.kind(), &route.name().namespace, to.service) {
            return Some(InvalidBackend::NotGranted);
        }
        match self.service(to.service) {
            None => Some(InvalidBackend::NoSuchService),
            Some(service) => {
                let is_meant = |it: &&ServicePort| it.port == to.port && it.transport == Transport::Tcp;
                match service.ports.iter().find(is_meant).map(ServicePort::protocol) {
                    None => Some(InvalidBackend::NoSuchPort),
                    Some(AppProtocol::Tls | AppProtocol::Tcp)
                        if matches!(route, Route::Http(_) | Route::Grpc(_)) =>
                    {
                        Some(InvalidBackend::UnsupportedProtocol)
                    }
                    Some(_) => None,
                }
            }
        }
    }
}
