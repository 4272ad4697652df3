//! The decision: what a name means for the workload that asks.
//!
//! A name is looked up the way a Kubernetes search list would spell it, because the host's `resolv.conf`, which
//! workloads use unchanged, has no such list:
//!
//! 1. the name below `<client's namespace>.svc.<domain>`, below `svc.<domain>` and below `<domain>`;
//! 2. the same without one of the *host's* search suffixes, which resolvers add before they try the name itself.
//!
//! The first spelling that exists is answered, with the asked name as owner. What exists in no spelling is NXDOMAIN
//! inside the cluster domain (and below `svc`), and forwarded elsewhere.

use std::net::IpAddr;

use hickory_proto::{
    op::Query,
    rr::{DNSClass, Name, Record, RecordType},
};

use crate::{Index, SearchList, index::Found, records, reverse};

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Answer {
    /// NOERROR with records.
    Records {
        /// Never empty.
        answers: Vec<Record>,
        /// Addresses of SRV targets.
        additionals: Vec<Record>,
    },
    /// NOERROR without records: the name exists, not with this type.
    NoData {
        /// For how long that may be cached.
        soa: Box<Record>,
    },
    /// NXDOMAIN.
    NoName {
        /// For how long that may be cached.
        soa: Box<Record>,
    },
    /// REFUSED: zone transfers, and classes other than IN inside the cluster domain.
    Refused,
    /// Not a name of the mesh.
    Forward,
}

/// Answers `query` for the workload at `client`. `search` is the host's; `turn` (the query's id, say) chooses which
/// address comes first.
pub fn answer(index: &Index, client: IpAddr, query: &Query, search: &SearchList, turn: u16) -> Answer {
    let name = query.name();
    let labels: Vec<String> = name.iter().map(lower).collect();
    let zone = enclosing_zone(index, &labels, search);
    if matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR) {
        return Answer::Refused;
    }
    if query.query_class() != DNSClass::IN {
        return if zone.is_some() { Answer::Refused } else { Answer::Forward };
    }
    let soa = |labels: usize| Box::new(records::soa(name.trim_to(labels), index));

    if let Some(names) = reverse::address_of(name).and_then(|address| index.names_of(address)) {
        let wanted = matches!(query.query_type(), RecordType::PTR | RecordType::ANY);
        return match wanted.then(|| records::ptr(name, names)) {
            Some(answers) if !answers.is_empty() => Answer::Records { answers, additionals: Vec::new() },
            Some(_) | None => Answer::NoData { soa: soa(labels.len()) },
        };
    }
    if let Some(found) = first_that_exists(index, client, &labels, search) {
        let (answers, additionals) = records_of(&found, name, query.query_type(), turn);
        if !answers.is_empty() {
            return Answer::Records { answers, additionals };
        }
        // A zone that has the asked name within; the name itself where it was spelled outside of the cluster domain.
        return Answer::NoData { soa: soa(zone.unwrap_or(labels.len())) };
    }
    match zone {
        Some(zone) if zone == labels.len() && query.query_type() == RecordType::SOA => {
            Answer::Records { answers: vec![*soa(zone)], additionals: Vec::new() }
        }
        Some(zone) if exists_empty(index, &labels, zone) => Answer::NoData { soa: soa(zone) },
        Some(zone) => Answer::NoName { soa: soa(zone) },
        None => Answer::Forward,
    }
}

/// How many labels at the name's end make the zone that is ours alone; none if the name is outside of it.
fn enclosing_zone(index: &Index, labels: &[String], search: &SearchList) -> Option<usize> {
    if labels.ends_with(&index.domain) {
        return Some(index.domain.len());
    }
    // A full name with a suffix added. (Not so for `.svc`: hosts below `svc.corp.example` may well exist.)
    let full = search.strip(labels).find(|rest| rest.ends_with(&index.domain));
    if let Some(rest) = full {
        return Some(labels.len() - rest.len() + index.domain.len());
    }
    labels.last().is_some_and(|last| last == "svc").then_some(1)
}

fn first_that_exists<'a>(
    index: &'a Index,
    client: IpAddr,
    labels: &[String],
    search: &SearchList,
) -> Option<Found<'a>> {
    let namespace = index.namespace_of(client);
    let mut spellings = std::iter::once(labels).chain(search.strip(labels)).flat_map(|base| {
        let relative = namespace.map(|namespace| [base, &[namespace.to_owned()]].concat());
        let below_apex = strip_svc(base).map(<[String]>::to_vec);
        let full = strip_service_zone(index, base).map(<[String]>::to_vec);
        relative.into_iter().chain([base.to_vec()]).chain(below_apex).chain(full)
    });
    // Names that only have others below them are no answer to short spellings: `shop` may be a host.
    let something = |found: &Found<'_>| !matches!(found, Found::Empty);
    // Full names are in no danger from the shorter spellings: those have too few labels, or an underscore.
    spellings.find_map(|labels| index.find(&labels).filter(something))
}

/// Whether names below this one exist; only asked inside the zone.
fn exists_empty(index: &Index, labels: &[String], zone: usize) -> bool {
    if labels.len() == zone {
        return true;
    }
    let base = &labels[..labels.len() - zone];
    // The zone is `svc` itself, or the cluster domain (maybe with a suffix behind it), in which only `svc` has names.
    let inside = if zone == 1 && labels.last().is_some_and(|last| last == "svc") && index.domain != ["svc"] {
        Some(base)
    } else {
        strip_svc(base)
    };
    inside.is_some_and(|labels| index.find(labels).is_some())
}

fn strip_service_zone<'a>(index: &Index, labels: &'a [String]) -> Option<&'a [String]> {
    strip_svc(labels.strip_suffix(&index.domain[..])?)
}

fn strip_svc(labels: &[String]) -> Option<&[String]> {
    labels.split_last().filter(|(last, _)| *last == "svc").map(|(_, rest)| rest)
}

fn records_of(found: &Found<'_>, owner: &Name, kind: RecordType, turn: u16) -> (Vec<Record>, Vec<Record>) {
    let addresses = match found {
        Found::Empty => return (Vec::new(), Vec::new()),
        Found::Service(service) => &service.addresses,
        Found::Endpoint(endpoint) => &endpoint.addresses,
        Found::Port(service, port) => {
            let wanted = matches!(kind, RecordType::SRV | RecordType::ANY);
            return if wanted { records::srv(owner, service, *port, turn) } else { (Vec::new(), Vec::new()) };
        }
    };
    let of_family =
        |v4: bool| records::addresses(owner, addresses.iter().filter(|it| it.is_ipv4() == v4), turn);
    let answers = if kind == RecordType::A {
        of_family(true)
    } else if kind == RecordType::AAAA {
        of_family(false)
    } else if kind == RecordType::ANY {
        // RFC 8482, 4.1: one of the record sets.
        let v4 = of_family(true);
        if v4.is_empty() { of_family(false) } else { v4 }
    } else {
        Vec::new()
    };
    (answers, Vec::new())
}

/// Bytes that are no UTF-8 become U+FFFD, which is in no name of the mesh.
fn lower(label: &[u8]) -> String {
    String::from_utf8_lossy(label).to_ascii_lowercase()
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
