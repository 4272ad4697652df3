//! Whose callers are led to the proxy.

use wabe_model::{AuthorizationPolicy, ByLabels, Layer7, Objects, Service, ServicePort, Transport, Workload};
use wabe_policy::applicable;

use crate::state::Instance;

/// What leads services' callers to the proxy besides routes: computed once for all services of a mesh.
pub(crate) struct Leading<'a> {
    objects: &'a Objects,
    /// Workloads that ask for it or whose policies look at requests.
    workloads: ByLabels<'a, &'a Workload>,
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
        let running = instances.filter(|it| !it.is_leaving()).map(|it| &it.spec);
        let all = objects.workloads().chain(running);
        let leading = all.filter(|it| it.layer7 == Layer7::Always || is_judged(it));
        let workloads = ByLabels::of(leading.map(|it| (it.name.namespace.as_str(), &it.labels, it)));
        Self { objects, workloads }
    }

    /// Whether callers of a service's port are led to the proxy: a route holds for it, the service or a workload that it leads to
    /// asks for that always, or policies of such a workload look at requests.
    ///
    /// A workload asks for all services that lead to it: its callers are known at `connect` by the service that they dial only.
    pub(crate) fn leads(&self, service: &Service, port: &ServicePort) -> bool {
        let workloads = self.workloads.candidates(&service.name.namespace, &service.selector);
        port.transport == Transport::Tcp
            && (service.layer7 == Layer7::Always
                || self.objects.routes_about(service, port).next().is_some()
                || workloads.iter().any(|it| it.has_labels(&service.selector)))
    }
}
