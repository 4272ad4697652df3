//! The names of one snapshot, as `wabe dns` reads them.

use std::{collections::BTreeMap, net::IpAddr};

use wabe_dns::{EndpointNames, Names, Port, ServiceNames, Transport};
use wabe_model::{ClusterIps, Objects, Service};

use crate::{
    snapshot::{Node, Selected, target_port},
    state::{Ids, Instance},
};

/// The domain under which services' names are; Kubernetes' default, which search lists and charts assume.
const DOMAIN: &str = "cluster.local";

/// Computes the names.
pub fn names<'a>(
    node: &Node,
    objects: &Objects,
    instances: impl Iterator<Item = &'a Instance> + Clone,
    ids: &Ids,
    generation: u64,
) -> Names {
    let selected = Selected::of(instances.clone());
    let mut clients = BTreeMap::new();
    for instance in instances {
        for address in instance.addresses() {
            clients.insert(address, instance.spec.name.namespace.clone());
        }
    }
    Names {
        domain: DOMAIN.into(),
        generation,
        resolver: vec![IpAddr::V4(node.v4), IpAddr::V6(node.v6)],
        services: objects
            .services()
            .map(|service| service_names(service, selected.by(service), ids))
            .collect(),
        clients,
    }
}

fn service_names<'a>(
    service: &Service,
    instances: impl Iterator<Item = &'a Instance>,
    ids: &Ids,
) -> ServiceNames {
    let headless = service.cluster_ips == ClusterIps::Headless;
    let selected: Vec<&Instance> = instances
        .filter(|instance| !instance.is_leaving())
        .filter(|instance| instance.ready || service.publish_not_ready)
        .collect();
    let own = ids.addresses_of(&service.name).list();
    ServiceNames {
        namespace: service.name.namespace.clone(),
        name: service.name.name.clone(),
        addresses: if headless { selected.iter().flat_map(|it| it.addresses()).collect() } else { own },
        headless,
        ports: ports(service, headless, &selected),
        endpoints: selected.iter().map(|instance| endpoint(instance)).collect(),
    }
}

/// A headless service's clients connect to workloads, so the ports are theirs.
fn ports(service: &Service, headless: bool, selected: &[&Instance]) -> Vec<Port> {
    let number = |port: &wabe_model::ServicePort| {
        let theirs = selected.iter().find_map(|instance| target_port(port, instance));
        if headless { theirs.unwrap_or(port.port) } else { port.port }
    };
    let transport = |port: &wabe_model::ServicePort| match port.transport {
        wabe_model::Transport::Tcp => Transport::Tcp,
        wabe_model::Transport::Udp => Transport::Udp,
    };
    let convert = |port: &wabe_model::ServicePort| Port {
        name: port.name.clone(),
        port: number(port),
        transport: transport(port),
    };
    service.ports.iter().map(convert).collect()
}

fn endpoint(instance: &Instance) -> EndpointNames {
    EndpointNames {
        hostname: format!("{}-{}", instance.spec.name.name, instance.replica),
        addresses: instance.addresses(),
    }
}
