//! Records of the mesh.

use std::net::IpAddr;

use hickory_proto::rr::{
    Name, RData, Record,
    rdata::{PTR, SOA, SRV},
};

use crate::{
    Index,
    index::{Endpoint, Service},
};

/// Seconds that an answer about the mesh may be cached. The same as in Kubernetes' resolver by default.
pub const TTL: u32 = 5;

/// Seconds that the absence of a name may be cached: less than [`TTL`], since people ask for a service moments before
/// they make it.
pub const NEGATIVE_TTL: u32 = 2;

/// A or AAAA records; the first one is chosen by `turn`, so that clients that take the first spread out.
pub(crate) fn addresses<'a>(
    owner: &Name,
    addresses: impl IntoIterator<Item = &'a IpAddr>,
    turn: u16,
) -> Vec<Record> {
    let mut records: Vec<Record> = addresses
        .into_iter()
        .map(|address| match address {
            IpAddr::V4(v4) => RData::A((*v4).into()),
            IpAddr::V6(v6) => RData::AAAA((*v6).into()),
        })
        .map(|data| Record::from_rdata(owner.clone(), TTL, data))
        .collect();
    if !records.is_empty() {
        let first = usize::from(turn) % records.len();
        records.rotate_left(first);
    }
    records
}

/// SRV records of a service's port, and the addresses of their targets.
pub(crate) fn srv(owner: &Name, service: &Service, port: u16, turn: u16) -> (Vec<Record>, Vec<Record>) {
    let record = |target: &Name| {
        Record::from_rdata(owner.clone(), TTL, RData::SRV(SRV::new(0, 100, port, target.clone())))
    };
    if !service.headless {
        return (vec![record(&service.name)], addresses(&service.name, &service.addresses, turn));
    }
    let mut endpoints: Vec<&Endpoint> = service.endpoints.values().collect();
    if !endpoints.is_empty() {
        let first = usize::from(turn) % endpoints.len();
        endpoints.rotate_left(first);
    }
    (
        endpoints.iter().map(|endpoint| record(&endpoint.name)).collect(),
        endpoints.iter().flat_map(|endpoint| addresses(&endpoint.name, &endpoint.addresses, 0)).collect(),
    )
}

/// PTR records.
pub(crate) fn ptr(owner: &Name, names: &[Name]) -> Vec<Record> {
    names.iter().map(|name| Record::from_rdata(owner.clone(), TTL, RData::PTR(PTR(name.clone())))).collect()
}

/// The SOA record of the zone `zone`, which says for how long an absence may be cached (RFC 2308: the smaller of its
/// TTL and its minimum).
pub(crate) fn soa(zone: Name, index: &Index) -> Record {
    let server = index.below_apex(["ns", "dns"]).unwrap_or_else(Name::root);
    let person = index.below_apex(["hostmaster"]).unwrap_or_else(Name::root);
    let soa = SOA::new(server, person, index.serial, 7200, 1800, 86_400, NEGATIVE_TTL);
    Record::from_rdata(zone, NEGATIVE_TTL, RData::SOA(soa))
}
