//! `TLSRoute`: where connections go by the name that their ClientHello asks for.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use wabe_model::{HostPattern, Objects, Route, Service, ServicePort, TlsRoute};

use super::Outlets;

/// What callers of one service's port get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsTable {
    /// For callers of the service's own namespace, and of all that have none of their own.
    pub producer: TlsNames,
    /// A namespace's routes, for its own callers: they count instead of the producer's.
    pub consumers: BTreeMap<String, TlsNames>,
}

/// Routes by the names that they are about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsNames {
    /// By the whole name.
    pub exact: BTreeMap<String, Arc<Outlets>>,
    /// By the name that it lies below.
    pub below: BTreeMap<String, Arc<Outlets>>,
    /// Whatever the name, and without one.
    pub any: Option<Arc<Outlets>>,
}

/// What becomes of a TLS connection.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsRouted<'a> {
    /// It goes there.
    To(&'a Outlets),
    /// Routes hold for this caller, and none is about this name: it is refused.
    NotFound,
    /// No route holds for this caller: it goes to the service itself.
    Unrouted,
}

impl TlsTable {
    /// From all routes that are attached to this service and port; `None` if there is none. Of several that are about the same name
    /// and hold for the same callers the first by the route's name counts.
    pub fn compile(objects: &Objects, service: &Service, port: &ServicePort) -> Option<Self> {
        let mut table = Self::default();
        let mut any = false;
        for route in attached(objects, service, port) {
            any = true;
            let names = if route.name.namespace == service.name.namespace {
                &mut table.producer
            } else {
                table.consumers.entry(route.name.namespace.clone()).or_default()
            };
            names.add(route, Outlets::of(objects, Route::Tls(route), &service.name));
        }
        any.then_some(table)
    }

    /// What becomes of a connection of a caller in this namespace that asks for this name (in lower case, without a dot at its end).
    /// The exact name decides, then the longest that it lies below, then a route about all.
    pub fn find(&self, namespace: &str, name: Option<&str>) -> TlsRouted<'_> {
        let names = self.consumers.get(namespace).unwrap_or(&self.producer);
        if names.is_empty() {
            return TlsRouted::Unrouted;
        }
        names.find(name).map_or(TlsRouted::NotFound, TlsRouted::To)
    }

    /// All that routes say.
    pub fn outlets(&self) -> impl Iterator<Item = &Outlets> {
        let names = [&self.producer].into_iter().chain(self.consumers.values());
        names
            .flat_map(|it| it.exact.values().chain(it.below.values()).chain(&it.any))
            .map(|outlets| &**outlets)
    }
}

impl TlsNames {
    fn add(&mut self, route: &TlsRoute, outlets: Outlets) {
        let outlets = Arc::new(outlets);
        for pattern in &route.hostnames {
            let (names, name) = match pattern {
                HostPattern::Exact(name) => (&mut self.exact, name),
                HostPattern::Below(name) => (&mut self.below, name),
            };
            names.entry(name.clone()).or_insert_with(|| Arc::clone(&outlets));
        }
        if route.hostnames.is_empty() {
            self.any.get_or_insert(outlets);
        }
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.below.is_empty() && self.any.is_none()
    }

    fn find(&self, name: Option<&str>) -> Option<&Outlets> {
        let named = name.and_then(|name| {
            let mut parents = std::iter::successors(above(name), |it| above(it));
            self.exact.get(name).or_else(|| parents.find_map(|it| self.below.get(it)))
        });
        named.or(self.any.as_ref()).map(|outlets| &**outlets)
    }
}

/// A host's name without its first label.
fn above(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, above)| above)
}

/// The routes that are attached to a service's port, by their names.
pub fn attached<'a>(
    objects: &'a Objects,
    service: &'a Service,
    port: &'a ServicePort,
) -> impl Iterator<Item = &'a TlsRoute> {
    objects.routes_about(service, port).filter_map(|route| match route {
        Route::Tls(route) => Some(route),
        Route::Http(_) | Route::Grpc(_) | Route::Tcp(_) => None,
    })
}
