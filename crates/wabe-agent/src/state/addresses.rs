//! Virtual addresses of services: fixed ones as written, others chosen once and kept.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{Ipv4Net, Ipv6Net};
use wabe_model::{ClusterIps, ObjectName, Service};

use super::ids::{Ids, ServiceAddresses};

/// Where services' addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceRanges {
    /// IPv4.
    pub v4: Ipv4Net,
    /// IPv6.
    pub v6: Ipv6Net,
}

/// Why services can't have the addresses they ask for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A fixed address is not one of this mesh.
    #[error(
        "service {service}: clusterIP {address} is not in the mesh's service range {range}; leave it out, or set the \
         range in MeshConfig and start the mesh again"
    )]
    OutOfRange {
        /// The service.
        service: ObjectName,
        /// What it asks for.
        address: IpAddr,
        /// Where it should be.
        range: String,
    },
    /// Another service has it.
    #[error("service {service}: clusterIP {address} is that of service {other}; leave one of them out")]
    Taken {
        /// The service.
        service: ObjectName,
        /// What it asks for.
        address: IpAddr,
        /// Who has it.
        other: ObjectName,
    },
    /// The range is full.
    #[error(
        "service {service}: no address is left in {range}; set a larger range in MeshConfig and start again"
    )]
    Full {
        /// The service.
        service: ObjectName,
        /// What is full.
        range: String,
    },
}

/// Gives each service its addresses. One that was given before stays unless the service now asks for another.
pub fn assign(services: &[&Service], ranges: &ServiceRanges, ids: &mut Ids) -> Result<(), AddressError> {
    let mut taken = Taken::default();
    // Fixed ones and kept ones first: a new service never takes an address that somebody has.
    for service in services {
        let kept = ids.addresses_of(&service.name);
        let ClusterIps::Virtual { v4, v6 } = &service.cluster_ips else { continue };
        let v4 = v4.and_then(|fixed| fixed.or(kept.v4));
        let v6 = v6.and_then(|fixed| fixed.or(kept.v6));
        for (address, range) in [
            (v4.map(IpAddr::V4), ipnet::IpNet::V4(ranges.v4)),
            (v6.map(IpAddr::V6), ipnet::IpNet::V6(ranges.v6)),
        ] {
            let Some(address) = address else { continue };
            if !range.contains(&address) {
                let (service, range) = (service.name.clone(), range.to_string());
                return Err(AddressError::OutOfRange { service, address, range });
            }
            taken.claim(address, &service.name)?;
        }
        ids.set_addresses(&service.name, ServiceAddresses { v4, v6 });
    }
    for service in services {
        let mut addresses = ids.addresses_of(&service.name);
        let ClusterIps::Virtual { v4, v6 } = &service.cluster_ips else { continue };
        if v4.is_some() && addresses.v4.is_none() {
            addresses.v4 = Some(taken.choose_v4(&service.name, ranges)?);
        }
        if v6.is_some() && addresses.v6.is_none() {
            addresses.v6 = Some(taken.choose_v6(&service.name, ranges)?);
        }
        ids.set_addresses(&service.name, addresses);
    }
    Ok(())
}

#[derive(Default)]
struct Taken {
    by: BTreeMap<IpAddr, ObjectName>,
}

impl Taken {
    fn claim(&mut self, address: IpAddr, service: &ObjectName) -> Result<(), AddressError> {
        match self.by.insert(address, service.clone()) {
            Some(other) if other != *service => {
                Err(AddressError::Taken { service: service.clone(), address, other })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn choose_v4(&mut self, service: &ObjectName, ranges: &ServiceRanges) -> Result<Ipv4Addr, AddressError> {
        let first = u32::from(ranges.v4.network());
        let size = 1u64 << (32 - ranges.v4.prefix_len());
        let at = |place: u64| Ipv4Addr::from(first + place as u32);
        let free = probe(service, size - 1, |place| !self.by.contains_key(&IpAddr::V4(at(place))));
        let address = at(free.ok_or_else(|| full(service, &ranges.v4))?);
        self.by.insert(IpAddr::V4(address), service.clone());
        Ok(address)
    }

    fn choose_v6(&mut self, service: &ObjectName, ranges: &ServiceRanges) -> Result<Ipv6Addr, AddressError> {
        let first = u128::from(ranges.v6.network());
        let size = 1u64 << (128 - u32::from(ranges.v6.prefix_len())).min(32);
        let at = |place: u64| Ipv6Addr::from(first + u128::from(place));
        let free = probe(service, size - 1, |place| !self.by.contains_key(&IpAddr::V6(at(place))));
        let address = at(free.ok_or_else(|| full(service, &ranges.v6))?);
        self.by.insert(IpAddr::V6(address), service.clone());
        Ok(address)
    }
}

fn full(service: &ObjectName, range: &impl ToString) -> AddressError {
    AddressError::Full { service: service.clone(), range: range.to_string() }
}

/// A free place from 1 to below `end`, beginning where the name's hash points: the same name gets the same address in
/// every mesh unless another name came first.
fn probe(service: &ObjectName, end: u64, free: impl Fn(u64) -> bool) -> Option<u64> {
    let places = end.checked_sub(1).filter(|places| *places > 0)?;
    let start = fnv1a(&service.to_string()) % places;
    (0..places).map(|step| (start + step) % places + 1).find(|place| free(*place))
}

/// FNV-1a, 64 bits: not the standard library's hash, which may change between releases.
fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges() -> ServiceRanges {
        ServiceRanges { v4: "10.9.0.0/24".parse().expect("range"), v6: "fd09::/112".parse().expect("range") }
    }

    fn service(name: &str, v4: Option<&str>) -> Service {
        Service {
            name: ObjectName::new("shop", name),
            selector: BTreeMap::from([("app".to_owned(), name.to_owned())]),
            ports: Vec::new(),
            cluster_ips: ClusterIps::Virtual {
                v4: Some(v4.map(|text| text.parse().expect("address"))),
                v6: Some(None),
            },
            publish_not_ready: false,
            balance: wabe_model::Balance::default(),
            affinity: None,
            distribution: None,
            layer7: Default::default(),
        }
    }

    #[test]
    fn an_address_is_the_same_every_time_and_never_moves() {
        let (one, two) = (service("one", None), service("two", None));
        let mut ids = Ids::default();
        assign(&[&one], &ranges(), &mut ids).expect("assigned");
        let first = ids.addresses_of(&one.name);
        assign(&[&two, &one], &ranges(), &mut ids).expect("assigned");
        assert_eq!(ids.addresses_of(&one.name), first);
        assert_ne!(ids.addresses_of(&two.name), first);
        let mut others = Ids::default();
        assign(&[&one], &ranges(), &mut others).expect("assigned");
        assert_eq!(others.addresses_of(&one.name), first);
    }

    #[test]
    fn every_address_but_the_first_and_last_can_be_used() {
        let services: Vec<Service> = (0..254).map(|index| service(&format!("s{index}"), None)).collect();
        let mut ids = Ids::default();
        assign(&services.iter().collect::<Vec<_>>(), &ranges(), &mut ids).expect("all fit");
        let more = service("one-more", None);
        let error = assign(&services.iter().chain([&more]).collect::<Vec<_>>(), &ranges(), &mut ids)
            .expect_err("full");
        assert!(matches!(error, AddressError::Full { .. }), "{error}");
    }

    #[test]
    fn a_fixed_address_must_be_in_the_range_and_free() {
        let mut ids = Ids::default();
        let outside = service("a", Some("10.1.1.1"));
        let error = assign(&[&outside], &ranges(), &mut ids).expect_err("outside");
        assert!(matches!(error, AddressError::OutOfRange { .. }), "{error}");
        let (one, two) = (service("a", Some("10.9.0.7")), service("b", Some("10.9.0.7")));
        let error = assign(&[&one, &two], &ranges(), &mut ids).expect_err("taken");
        assert!(error.to_string().contains("shop/a"), "{error}");
    }

    #[test]
    fn a_service_that_asks_for_one_family_gets_one() {
        let mut only_v6 = service("a", None);
        only_v6.cluster_ips = ClusterIps::Virtual { v4: None, v6: Some(None) };
        let mut ids = Ids::default();
        assign(&[&only_v6], &ranges(), &mut ids).expect("assigned");
        let addresses = ids.addresses_of(&only_v6.name);
        assert!(addresses.v4.is_none() && addresses.v6.is_some());
    }
}
