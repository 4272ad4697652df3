//! `TCPRoute`: where all connections to a port go.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wabe_model::{Objects, Route, Service, ServicePort, TcpRoute};

use super::Outlets;

/// What callers of one service's port get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpTable {
    /// For callers of the service's own namespace, and of all that have none of their own.
    pub producer: Option<Outlets>,
    /// A namespace's route, for its own callers: it counts instead of the producer's.
    pub consumers: BTreeMap<String, Outlets>,
}

impl TcpTable {
    /// From all routes that are attached to this service and port; `None` if there is none. Of several that hold for the same
    /// callers the first by name counts.
    pub fn compile(objects: &Objects, service: &Service, port: &ServicePort) -> Option<Self> {
        let mut table = Self::default();
        let mut any = false;
        for route in attached(objects, service, port) {
            any = true;
            let outlets = || Outlets::of(objects, Route::Tcp(route), &service.name);
            if route.name.namespace == service.name.namespace {
                table.producer.get_or_insert_with(outlets);
            } else {
                table.consumers.entry(route.name.namespace.clone()).or_insert_with(outlets);
            }
        }
        any.then_some(table)
    }

    /// Where connections of a caller in this namespace go; `None` if no route holds for it: to the service itself.
    pub fn find(&self, namespace: &str) -> Option<&Outlets> {
        self.consumers.get(namespace).or(self.producer.as_ref())
    }

    /// All that a route says.
    pub fn outlets(&self) -> impl Iterator<Item = &Outlets> {
        self.producer.iter().chain(self.consumers.values())
    }
}

/// The routes that are attached to a service's port, by their names.
pub fn attached<'a>(
    objects: &'a Objects,
    service: &'a Service,
    port: &'a ServicePort,
) -> impl Iterator<Item = &'a TcpRoute> {
    objects.routes_about(service, port).filter_map(|route| match route {
        Route::Tcp(route) => Some(route),
        Route::Http(_) | Route::Grpc(_) | Route::Tls(_) => None,
    })
}
