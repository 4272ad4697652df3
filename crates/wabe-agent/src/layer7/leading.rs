//! Whose callers are led to the proxy.

use std::collections::BTreeMap;

use wabe_model::{AuthorizationPolicy, Layer7, Objects, Service, ServicePort, Transport, Workload};
use wabe_policy::{
    applicable,
    stream::{Routing, audiences, routing},
};

use crate::state::Instance;

/// What leads services' callers to the proxy besides routes: computed once for all services of a mesh.
pub(crate) struct Leading<'a> {
    objects: &'a Objects,
    /// By namespace, workloads that ask for it or whose policies look at requests.
    workloads: BTreeMap<&'a str, Vec<&'a Workload>>,
}

impl<'a> Leading<'a> {
    /// From workloads as users wrote them and from those that run. While a workload that changed is replaced, what runs has the
    /// labels, and so the policies, that it was made with: as long as it takes connections they have to come by the proxy.
    pub(crate) fn new<'i: 'a>(
        root_namespace: &str,
        objects: &'a Objects,
        instances: impl Iterator<Item = &'i Instance>,
    ) -> Self {
        // Most meshes have no such policy, and there may be thousands of workloads.
        let deciding: Vec<&AuthorizationPolicy> =
            objects.policies().filter(|it| it.decides_by_requests()).collect();
        let is_judged = |it: &Workload| {
            let deciding = deciding.iter().copied();
            !applicable(deciding, root_namespace, &it.name.namespace, &it.labels).is_empty()
        };
        let mut workloads: BTreeMap<&str, Vec<&Workload>> = BTreeMap::new();
        let running = instances.filter(|it| !it.is_leaving()).map(|it| &it.spec);
        for workload in objects.workloads().chain(running) {
            if workload.layer7 == Layer7::Always || is_judged(workload) {
                workloads.entry(&workload.name.namespace).or_default().push(workload);
            }
        }
        Self { objects, workloads }
    }

    /// Whether callers of a service's port are led to the proxy: a route holds for it, the service or a workload that it leads to
    /// asks for that always, or policies of such a workload look at requests.
    ///
    /// A workload asks for all services that lead to it: its callers are known at `connect` by the service that they dial only.
    pub(crate) fn leads(&self, service: &Service, port: &ServicePort) -> bool {
        let selects = |it: &&Workload| !service.selector.is_empty() && it.has_labels(&service.selector);
        let mut workloads = self.workloads.get(service.name.namespace.as_str()).into_iter().flatten();
        port.transport == Transport::Tcp
            && (service.layer7 == Layer7::Always
                || is_routed(self.objects, service, port)
                || workloads.any(selects))
    }
}

fn is_routed(objects: &Objects, service: &Service, port: &ServicePort) -> bool {
    let holds = |callers: &str| routing(objects, service, port, callers) != Routing::Nothing;
    audiences(objects, service, port).into_iter().any(holds)
}
