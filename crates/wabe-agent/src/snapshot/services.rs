//! Services' ports and the endpoints behind them.

use std::net::IpAddr;

use wabe_abi::{Balance, Be16, Ip, ServiceKey, TCP, UDP, service_flag};
use wabe_model::{
    ByLabels, DestinationRule, HashKey, ObjectName, Objects, Service, ServicePort, TargetPort, Transport,
};

use super::Desired;
use crate::{
    layer7::Leading,
    state::{Ids, Instance},
};

/// A service's port, or its address, as the tables should have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredService {
    /// The service's id.
    pub service: u32,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// For how many seconds a caller stays at its endpoint; 0 for no such promise.
    pub affinity: u32,
    /// [`wabe_abi::service_flag`] bits.
    pub flags: u8,
    /// Datagrams come, whose sockets stay at their endpoints.
    pub datagrams: bool,
    /// Where connections may go; empty for an address.
    pub endpoints: Vec<DesiredEndpoint>,
}

/// A place where a service's port is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredEndpoint {
    /// The workload there, which is also the endpoint's id.
    pub workload: u32,
    /// Its address.
    pub address: Ip,
    /// The port that it listens on.
    pub port: Be16,
    /// 1 or more.
    pub weight: u32,
}

/// Adds all services' ports and addresses. Headless services have neither: their names lead to workloads.
pub(super) fn add<'a>(
    desired: &mut Desired,
    root_namespace: &str,
    objects: &Objects,
    instances: impl Iterator<Item = &'a Instance> + Clone,
    ids: &mut Ids,
) {
    let leading = Leading::new(root_namespace, objects, instances.clone());
    let all = Selected::of(instances);
    ids.number_services(objects.services().map(|it| &it.name));
    for service in objects.services() {
        let id = ids.service(&service.name);
        let selected: Vec<&Instance> = all.by(service).collect();
        let balance = balance(service, objects.destination_rules_of(&service.name).next());
        let addresses = ids.addresses_of(&service.name);
        let led: Vec<bool> = service.ports.iter().map(|port| leading.leads(service, port)).collect();
        for virtual_address in addresses.list() {
            let affinity = service.affinity.unwrap_or(0);
            let with = |datagrams, endpoints| DesiredService {
                service: id,
                balance,
                affinity,
                flags: 0,
                datagrams,
                endpoints,
            };
            let key = ServiceKey::address(Ip::from(virtual_address));
            desired.services.insert(key, with(false, Vec::new()));
            for (port, led) in service.ports.iter().zip(&led) {
                let endpoints = endpoints(port, &selected, virtual_address.is_ipv4());
                let key =
                    ServiceKey::port(Ip::from(virtual_address), Be16::new(port.port), number(port.transport));
                let mut row = with(port.transport == Transport::Udp, endpoints);
                if *led {
                    row.flags |= service_flag::PROXY;
                }
                desired.services.insert(key, row);
            }
        }
        for port in &service.ports {
            warn_of_unknown_port(desired, &service.name, port, &selected);
        }
    }
}

/// Instances, each service's found at once.
pub(crate) struct Selected<'a>(ByLabels<'a, &'a Instance>);

impl<'a> Selected<'a> {
    /// From all.
    pub(crate) fn of(instances: impl Iterator<Item = &'a Instance>) -> Self {
        let by = |it: &'a Instance| (it.spec.name.namespace.as_str(), &it.spec.labels, it);
        Self(ByLabels::of(instances.map(by)))
    }

    /// A service's, ready or not, in the order in which they were given.
    pub(crate) fn by(&self, service: &Service) -> impl Iterator<Item = &'a Instance> {
        let candidates = self.0.candidates(&service.name.namespace, &service.selector);
        candidates.iter().copied().filter(|instance| selects(service, instance))
    }
}

/// Whether an instance is one of a service's, ready or not.
pub(crate) fn selects(service: &Service, instance: &Instance) -> bool {
    service.name.namespace == instance.spec.name.namespace
        && !service.selector.is_empty()
        && service.selector.iter().all(|(key, value)| instance.spec.labels.get(key) == Some(value))
}

/// The port on which an instance serves a service's port; `None` if it is named and the instance has no such name.
pub(crate) fn target_port(port: &ServicePort, instance: &Instance) -> Option<u16> {
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => {
            let named =
                |own: &&wabe_model::WorkloadPort| own.name == *name && own.transport == port.transport;
            instance.spec.ports.iter().find(named).map(|own| own.port)
        }
    }
}

fn endpoints(port: &ServicePort, selected: &[&Instance], v4: bool) -> Vec<DesiredEndpoint> {
    let ready = selected.iter().filter(|instance| instance.takes_connections());
    ready
        .filter_map(|instance| {
            let place = instance.place?;
            let address = if v4 { IpAddr::V4(place.v4) } else { IpAddr::V6(place.v6) };
            Some(DesiredEndpoint {
                workload: instance.id,
                address: Ip::from(address),
                port: Be16::new(target_port(port, instance)?),
                weight: instance.spec.weight.max(1),
            })
        })
        .collect()
}

fn warn_of_unknown_port(
    desired: &mut Desired,
    service: &ObjectName,
    port: &ServicePort,
    selected: &[&Instance],
) {
    let TargetPort::Name(name) = &port.target else { return };
    for instance in selected.iter().filter(|instance| target_port(port, instance).is_none()) {
        desired.warnings.insert(format!(
            "service {service}: workload {} has no port named {name}; it gets no connections for port {}",
            instance.workload(),
            port.port
        ));
    }
}

/// As the Service says, unless its DestinationRule says otherwise.
pub(crate) fn balance(service: &Service, rule: Option<&DestinationRule>) -> Balance {
    let by_source = rule.is_some_and(|rule| rule.hash == Some(HashKey::Source));
    if service.affinity.is_some() || by_source {
        return Balance::Consistent;
    }
    match rule.and_then(|rule| rule.balance).unwrap_or(service.balance) {
        // The kernel sees no answers.
        wabe_model::Balance::TwoChoices | wabe_model::Balance::PeakEwma => Balance::TwoChoices,
        wabe_model::Balance::Random => Balance::Random,
        wabe_model::Balance::RoundRobin => Balance::RoundRobin,
    }
}

/// The protocol's number.
pub(crate) fn number(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => TCP,
        Transport::Udp => UDP,
    }
}
