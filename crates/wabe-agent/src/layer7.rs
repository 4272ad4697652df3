//! What the node's proxy has to know: the services that are led to it, their routes, and who serves what they lead to.

use std::collections::{BTreeMap, BTreeSet};

use wabe_model::{Objects, Service, ServicePort, Transport};
use wabe_policy::http::{HttpTable, attached};
use wabe_proxy::{BackendFacts, EndpointFacts, ServiceFacts, Snapshot, WorkloadFacts};

use crate::{
    snapshot::{Node, identity_of, selects, target_port},
    state::{Ids, Instance},
};

/// Whether callers of a service's port are led to the proxy: a route is attached to it.
pub(crate) fn is_led_to_proxy(objects: &Objects, service: &Service, port: &ServicePort) -> bool {
    !attached(objects, service, port).is_empty()
}

/// Computes what the proxy reads.
pub(crate) fn snapshot<'a>(
    node: &Node,
    objects: &Objects,
    instances: impl Iterator<Item = &'a Instance> + Clone,
    ids: &Ids,
    generation: u64,
) -> Snapshot {
    let mut ports = Vec::new();
    let mut wanted = BTreeSet::new();
    for service in objects.services() {
        for port in service.ports.iter().filter(|port| is_led_to_proxy(objects, service, port)) {
            let Some(table) = HttpTable::compile(objects, service, port) else { continue };
            wanted.insert((service.name.clone(), port.port));
            let destinations = table.rules().flat_map(|rule| rule.destinations());
            wanted.extend(destinations.map(|(service, port)| (service.clone(), port)));
            ports.push(ServiceFacts {
                service: service.name.clone(),
                addresses: ids.addresses_of(&service.name).list(),
                port: port.port,
                table,
            });
        }
    }
    if ports.is_empty() {
        return Snapshot { generation, ..Snapshot::default() };
    }
    let backends = wanted.into_iter().filter_map(|(name, number)| {
        let service = objects.service(&name)?;
        let port =
            service.ports.iter().find(|port| port.port == number && port.transport == Transport::Tcp)?;
        let serving = instances
            .clone()
            .filter(|instance| selects(service, instance) && instance.takes_connections())
            .filter_map(|instance| endpoint(instance, port));
        Some(BackendFacts { service: name, port: number, endpoints: serving.collect() })
    });
    let backends = backends.collect();
    let facts = |instance: &Instance| {
        let place = instance.place?;
        let identity = format!("spiffe://{}", identity_of(&instance.spec, &node.trust_domain).principal());
        let name = instance.spec.name.clone();
        let (v4, v6) = (place.v4, place.v6);
        Some((instance.id, WorkloadFacts { namespace: name.namespace, name: name.name, identity, v4, v6 }))
    };
    let workloads: BTreeMap<u32, WorkloadFacts> = instances.clone().filter_map(facts).collect();
    Snapshot { generation, workloads, ports, backends }
}

fn endpoint(instance: &Instance, port: &ServicePort) -> Option<EndpointFacts> {
    let place = instance.place?;
    Some(EndpointFacts {
        workload: instance.id,
        v4: place.v4,
        v6: place.v6,
        port: target_port(port, instance)?,
        weight: instance.spec.weight.max(1),
    })
}
