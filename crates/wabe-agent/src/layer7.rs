//! What the node's proxy has to know: the services that are led to it, their routes, and who serves what they lead to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use wabe_model::{AppProtocol, HashKey, Locality, Objects, Service, ServicePort, Transport};
use wabe_policy::{
    http::HttpTable,
    requests::RequestPolicy,
    stream::{Routing, audiences, spoken, tcp::TcpTable, tls::TlsTable},
};
use wabe_proxy::{
    BackendFacts, EndpointFacts, JudgedFacts, ServiceFacts, Snapshot, Speaks, TrafficPolicy, WorkloadFacts,
};

use crate::{
    judged::Judged,
    snapshot::{Node, Selected, identity_of, target_port},
    state::{Ids, Instance},
};

mod leading;
#[cfg(test)]
mod tests;

pub(crate) use leading::Leading;

/// Computes what the proxy reads.
pub(crate) fn snapshot<'a>(
    node: &Node,
    objects: &Objects,
    instances: impl Iterator<Item = &'a Instance> + Clone,
    ids: &Ids,
    judged: &Judged,
    generation: u64,
) -> Snapshot {
    let leading = Leading::new(&node.root_namespace, objects, instances.clone());
    let selected = Selected::of(instances.clone());
    let mut ports = Vec::new();
    let mut wanted = BTreeSet::new();
    for service in objects.services() {
        for port in service.ports.iter().filter(|port| leading.leads(service, port)) {
            let facts = facts(objects, service, port, ids);
            wanted.insert((service.name.clone(), port.port));
            let destinations = facts.table.rules().flat_map(|rule| rule.destinations());
            wanted.extend(destinations.map(|(service, port)| (service.clone(), port)));
            let outlets = facts.tls.iter().flat_map(TlsTable::outlets);
            let outlets = outlets.chain(facts.tcp.iter().flat_map(TcpTable::outlets));
            let outlets = outlets.flat_map(|it| &it.backends);
            wanted.extend(outlets.map(|it| (it.service.clone(), it.port)));
            ports.push(facts);
        }
    }
    let config = objects.mesh_config();
    let (access_log, workers) = (config.access_log, config.proxy_workers);
    let busy_poll = config.proxy_busy_poll;
    // Who was led here a moment ago is judged still.
    if ports.is_empty() && judged.iter().next().is_none() {
        return Snapshot { generation, access_log, workers, busy_poll, ..Snapshot::default() };
    }
    let backends = wanted.into_iter().filter_map(|(name, number)| {
        let service = objects.service(&name)?;
        let port =
            service.ports.iter().find(|port| port.port == number && port.transport == Transport::Tcp)?;
        let serving = selected
            .by(service)
            .filter(|instance| instance.takes_connections())
            .filter_map(|instance| endpoint(instance, port));
        let (endpoints, traffic) = (serving.collect(), traffic(objects, service));
        let speaks = speaks(port);
        Some(BackendFacts { service: name, port: number, speaks, endpoints, traffic })
    });
    let backends = backends.collect();
    let facts = |instance: &Instance| {
        let place = instance.place?;
        let identity = format!("spiffe://{}", identity_of(&instance.spec, &node.trust_domain).principal());
        let name = instance.spec.name.clone();
        let locality = Locality::of(&instance.spec);
        let facts = WorkloadFacts {
            namespace: name.namespace,
            name: name.name,
            identity,
            v4: place.v4,
            v6: place.v6,
            locality,
            leaving: instance.is_leaving(),
        };
        Some((instance.id, facts))
    };
    let workloads: BTreeMap<u32, WorkloadFacts> = instances.clone().filter_map(facts).collect();
    let (policies, judged) = policies(judged);
    Snapshot { generation, access_log, workers, busy_poll, workloads, ports, backends, policies, judged }
}

/// The policies that look at requests, each once, and whose they are.
fn policies(judged: &Judged) -> (Vec<RequestPolicy>, BTreeMap<u32, JudgedFacts>) {
    let mut policies: Vec<&Arc<RequestPolicy>> = Vec::new();
    let facts = judged.iter().map(|(workload, policy, generation)| {
        let known = policies.iter().position(|known| Arc::ptr_eq(known, policy));
        let policy = known.unwrap_or_else(|| {
            policies.push(policy);
            policies.len() - 1
        });
        (workload, JudgedFacts { policy, generation })
    });
    let facts = facts.collect();
    (policies.into_iter().map(|it| (**it).clone()).collect(), facts)
}

/// What the proxy has to know of a port whose callers are led to it.
fn facts(objects: &Objects, service: &Service, port: &ServicePort, ids: &Ids) -> ServiceFacts {
    let audiences = audiences(objects, service, port);
    let routed = |kind: Routing| audiences.iter().any(|(_, routing)| *routing == kind);
    let consumers = audiences.iter().skip(1);
    let own = audiences.first().map_or(Routing::Nothing, |(_, routing)| *routing);
    let mut facts = ServiceFacts {
        service: service.name.clone(),
        addresses: ids.addresses_of(&service.name).list(),
        port: port.port,
        protocol: spoken(port, own),
        consumers: consumers.map(|(callers, it)| ((*callers).to_owned(), spoken(port, *it))).collect(),
        table: HttpTable::default(),
        tls: None,
        tcp: None,
    };
    if routed(Routing::Http) {
        facts.table = HttpTable::compile(objects, service, port).unwrap_or_default();
    }
    if routed(Routing::Tls) {
        facts.tls = TlsTable::compile(objects, service, port);
    }
    if routed(Routing::Tcp) {
        facts.tcp = TcpTable::compile(objects, service, port);
    }
    facts
}

/// Which version of HTTP is spoken to a port. TLS and bytes say nothing of it.
fn speaks(port: &ServicePort) -> Speaks {
    match port.protocol() {
        AppProtocol::Http => Speaks::Http1,
        AppProtocol::Http2 | AppProtocol::Grpc => Speaks::Http2,
        AppProtocol::Tls | AppProtocol::Tcp | AppProtocol::Detect => Speaks::AsCaller,
    }
}

/// As the Service says, unless its DestinationRule says otherwise.
fn traffic(objects: &Objects, service: &Service) -> TrafficPolicy {
    let rule = objects.destination_rules_of(&service.name).next();
    let affinity = service.affinity.map(|_| HashKey::Source);
    let near = service.distribution.is_some();
    let Some(rule) = rule else {
        return TrafficPolicy { balance: service.balance, hash: affinity, near, ..TrafficPolicy::default() };
    };
    TrafficPolicy {
        balance: rule.balance.unwrap_or(service.balance),
        hash: rule.hash.clone().or(affinity),
        near: rule.near.unwrap_or(near),
        failover: rule.failover.clone(),
        warmup: rule.warmup,
        pool: rule.pool.clone(),
        outliers: rule.outliers.clone(),
    }
}

fn endpoint(instance: &Instance, port: &ServicePort) -> Option<EndpointFacts> {
    let place = instance.place?;
    Some(EndpointFacts {
        workload: instance.id,
        v4: place.v4,
        v6: place.v6,
        port: target_port(port, instance)?,
        weight: instance.spec.weight.max(1),
        locality: Locality::of(&instance.spec),
    })
}
