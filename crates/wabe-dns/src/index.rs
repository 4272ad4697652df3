//! [`Names`], arranged for look-ups.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use hickory_proto::rr::Name;

use crate::{EndpointNames, Names, Port, ServiceNames, Transport};

/// Names of one snapshot, ready to be asked.
#[derive(Debug)]
pub struct Index {
    pub(crate) domain: Vec<String>,
    pub(crate) serial: u32,
    pub(crate) resolver: Vec<IpAddr>,
    apex: Name,
    services: HashMap<String, HashMap<String, Service>>,
    reverse: HashMap<IpAddr, Vec<Name>>,
    clients: HashMap<IpAddr, String>,
    unnamable: Vec<String>,
}

/// A service with its names spelled out.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: Name,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) headless: bool,
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    ports: Vec<Port>,
}

/// A workload of a service.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: Name,
    pub(crate) addresses: Vec<IpAddr>,
}

/// What a name below `svc.<domain>` stands for.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// Nothing itself, but names below it exist (RFC 8020: not NXDOMAIN).
    Empty,
    /// A service.
    Service(&'a Service),
    /// A service's workload.
    Endpoint(&'a Endpoint),
    /// A service's named port, by its number.
    Port(&'a Service, u16),
}

/// Why [`Names`] can't be used at all.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// The cluster domain.
    #[error("domain `{0}` is no domain name; set the trust domain to one, as `cluster.local`")]
    Domain(String),
}

impl Index {
    /// Arranges `names`. What can't be a name in DNS is left out (see [`Index::unnamable`]) instead of taking all other
    /// names with it.
    ///
    /// # Errors
    /// If the cluster domain is no domain name.
    pub fn new(names: Names) -> Result<Self, NamesError> {
        let domain: Vec<String> =
            names.domain.trim_end_matches('.').split('.').map(str::to_ascii_lowercase).collect();
        let apex = Name::from_labels(domain.iter().map(String::as_bytes)).ok();
        let Some(apex) = apex.filter(|_| domain.iter().all(|label| is_label(label))) else {
            return Err(NamesError::Domain(names.domain));
        };
        let mut index = Self {
            domain,
            serial: names.generation as u32,
            resolver: names.resolver.iter().map(IpAddr::to_canonical).collect(),
            apex,
            services: HashMap::new(),
            reverse: HashMap::new(),
            clients: names.clients.into_iter().map(|(ip, ns)| (ip.to_canonical(), lower(&ns))).collect(),
            unnamable: Vec::new(),
        };
        let mut services = names.services;
        // Services' own addresses come first in reverse look-ups, then workloads' by headless services (whose names are
        // meant to be used), then by others.
        services
            .sort_by(|a, b| (!a.headless, &a.namespace, &a.name).cmp(&(!b.headless, &b.namespace, &b.name)));
        for service in services {
            index.add(service);
        }
        Ok(index)
    }

    /// Services and endpoints that have no name in DNS, because theirs is no label or too long.
    pub fn unnamable(&self) -> &[String] {
        &self.unnamable
    }

    /// The namespace of the client at this address; none if it is no workload.
    pub(crate) fn namespace_of(&self, client: IpAddr) -> Option<&str> {
        self.clients.get(&client.to_canonical()).map(String::as_str)
    }

    /// Names of an address; `Some` but empty if the mesh knows the address and has no name for it.
    pub(crate) fn names_of(&self, address: IpAddr) -> Option<&[Name]> {
        match self.reverse.get(&address) {
            Some(names) => Some(names),
            None => self.clients.contains_key(&address).then_some(&[]),
        }
    }

    /// What `labels` (lower case, relative to `svc.<domain>`) stand for.
    pub(crate) fn find<S: AsRef<str>>(&self, labels: &[S]) -> Option<Found<'_>> {
        let labels: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
        let service = |namespace: &str, name: &str| self.services.get(namespace)?.get(name);
        match labels[..] {
            [] => Some(Found::Empty),
            [namespace] => self.services.contains_key(namespace).then_some(Found::Empty),
            [name, namespace] => service(namespace, name).map(Found::Service),
            [first, name, namespace] => {
                let service = service(namespace, name)?;
                match transport_of(first) {
                    Some(transport) => service.has_named_port(transport).then_some(Found::Empty),
                    None => service.endpoints.get(first).map(Found::Endpoint),
                }
            }
            [port, transport, name, namespace] => {
                let service = service(namespace, name)?;
                let number = service.port(port.strip_prefix('_')?, transport_of(transport)?)?;
                Some(Found::Port(service, number))
            }
            _ => None,
        }
    }

    /// `prefix` below the cluster domain.
    pub(crate) fn below_apex<'a>(&self, prefix: impl IntoIterator<Item = &'a str>) -> Option<Name> {
        let prefix = Name::from_labels(prefix.into_iter().map(str::as_bytes)).ok()?;
        prefix.append_domain(&self.apex).ok()
    }

    fn add(&mut self, service: ServiceNames) {
        let (namespace, own) = (lower(&service.namespace), lower(&service.name));
        let labels_fit = is_label(&namespace) && is_label(&own);
        let name = self.below_apex([own.as_str(), &namespace, "svc"]).filter(|_| labels_fit);
        let Some(name) = name else {
            return self.unnamable.push(format!("service {}/{}", service.namespace, service.name));
        };
        if !service.headless {
            for address in &service.addresses {
                // Before the workloads' names.
                self.reverse.entry(address.to_canonical()).or_default().insert(0, name.clone());
            }
        }
        let mut endpoints = BTreeMap::new();
        for EndpointNames { hostname, addresses } in &service.endpoints {
            let label = lower(hostname);
            let full =
                self.below_apex([label.as_str(), &own, &namespace, "svc"]).filter(|_| is_label(&label));
            let Some(full) = full else {
                self.unnamable.push(format!("endpoint {hostname} of {}/{}", service.namespace, service.name));
                continue;
            };
            let endpoint = endpoints
                .entry(label)
                .or_insert_with(|| Endpoint { name: full.clone(), addresses: Vec::new() });
            for address in addresses {
                endpoint.addresses.push(address.to_canonical());
                self.reverse.entry(address.to_canonical()).or_default().push(full.clone());
            }
        }
        let addresses = service.addresses.iter().map(IpAddr::to_canonical).collect();
        let entry = Service { name, addresses, headless: service.headless, endpoints, ports: service.ports };
        self.services.entry(namespace).or_default().insert(own, entry);
    }
}

impl Service {
    fn has_named_port(&self, transport: Transport) -> bool {
        self.ports.iter().any(|port| port.name.is_some() && port.transport == transport)
    }

    fn port(&self, name: &str, transport: Transport) -> Option<u16> {
        let is_it = |port: &&Port| {
            port.transport == transport
                && port.name.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(name))
        };
        self.ports.iter().find(is_it).map(|port| port.port)
    }
}

fn transport_of(label: &str) -> Option<Transport> {
    match label {
        "_tcp" => Some(Transport::Tcp),
        "_udp" => Some(Transport::Udp),
        _ => None,
    }
}

fn lower(text: &str) -> String {
    text.to_ascii_lowercase()
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::fixture;

    #[test]
    fn leaves_out_what_has_no_name_and_keeps_the_rest() {
        let mut names = fixture::names();
        names.services[0].endpoints[0].hostname = "dotted.name-0".into();
        names.services[1].name = "x".repeat(64);
        let (first, second) = (names.services[0].name.clone(), names.services.len());
        let index = Index::new(names).expect("usable");
        assert_eq!(index.unnamable().len(), 2, "{:?}", index.unnamable());
        assert!(index.find(&[first.as_str(), "shop"]).is_some());
        assert_eq!(index.services.values().map(HashMap::len).sum::<usize>(), second - 1);
    }

    #[test]
    fn refuses_a_domain_that_is_none() {
        for domain in ["", ".", "a..b", "sp ace", &"x".repeat(64), &"abc.".repeat(70)] {
            let names = Names { domain: domain.into(), ..fixture::names() };
            assert!(matches!(Index::new(names), Err(NamesError::Domain(_))), "{domain:?}");
        }
    }

    #[test]
    fn normalises_mapped_addresses_of_clients() {
        let index = Index::new(fixture::names()).expect("usable");
        assert_eq!(index.namespace_of("::ffff:10.1.0.9".parse().expect("address")), Some("shop"));
    }
}
