//! Finding address ranges for a mesh that nobody else on this host uses.

use std::{collections::BTreeMap, fmt, io, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_route::{
    address::AddressAttribute,
    link::LinkAttribute,
    route::{RouteAddress, RouteAttribute},
};
use thiserror::Error;

use crate::{
    layout::{MeshFile, Ranges},
    net::rtnl::Rtnl,
};

/// How many addresses a workload range has at least: 4096 workloads, and 256 for node, host and later use.
pub const SMALLEST: u32 = 4096 + 256;

/// Ranges that users asked for; the others are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Workloads' IPv4 addresses.
    pub workloads_v4: Option<Ipv4Net>,
    /// Services' IPv4 addresses.
    pub services_v4: Option<Ipv4Net>,
    /// Workloads' IPv6 addresses.
    pub workloads_v6: Option<Ipv6Net>,
    /// Services' IPv6 addresses.
    pub services_v6: Option<Ipv6Net>,
}

/// Addresses that somebody uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    /// Which.
    pub range: IpNet,
    /// By whom.
    pub by: User,
}

/// Who uses addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// An interface of the host has an address there.
    Address {
        /// Its name.
        interface: String,
    },
    /// The host has a route there.
    Route {
        /// The name of the interface that it leads to, if it leads to one.
        interface: Option<String>,
    },
    /// Another mesh on this host.
    Mesh {
        /// Its name.
        name: String,
    },
    /// Another range of the same mesh.
    Same {
        /// What for: `workloads` or `services`.
        purpose: &'static str,
    },
}

/// Why there are no ranges.
#[derive(Debug, Error)]
pub enum RangeError {
    /// One that was asked for is in use.
    #[error(
        "{field} {wanted} overlaps {}, used by {}: write another range, or leave the field out and a free one is found",
        user.range, user.by
    )]
    Taken {
        /// The field of MeshConfig.
        field: &'static str,
        /// What it says.
        wanted: IpNet,
        /// Who has it.
        user: InUse,
    },
    /// One that was asked for has too few addresses.
    #[error("{field} {wanted} is too small: it must be at least a /{largest_prefix}")]
    TooSmall {
        /// The field of MeshConfig.
        field: &'static str,
        /// What it says.
        wanted: IpNet,
        /// The longest prefix that does.
        largest_prefix: u8,
    },
    /// Everything that would be tried is in use.
    #[error("no free address range: {range} is used by {by}, and so on; write `{field}` in a MeshConfig")]
    NoneFree {
        /// The field of MeshConfig.
        field: &'static str,
        /// The last one that was tried.
        range: IpNet,
        /// Who has it.
        by: User,
    },
    /// The host could not be asked.
    #[error("can't read the host's addresses and routes: {0}")]
    Host(#[from] io::Error),
}

/// Finds ranges that overlap neither other meshes' nor the host's. The calling thread must be in the host's network
/// namespace.
///
/// # Errors
/// If a wanted range is in use or too small, or none is free; the message names the user.
pub fn find(others: &[MeshFile], wanted: &Wanted) -> Result<Ranges, RangeError> {
    let mut used = host()?;
    for other in others {
        used.extend(
            crate::net::ranges(other)
                .map(|range| InUse { range, by: User::Mesh { name: other.name.clone() } }),
        );
    }
    choose(used, wanted)
}

/// What the host itself uses: addresses, and routes but for default ones.
///
/// # Errors
/// If the kernel doesn't tell.
pub fn host() -> io::Result<Vec<InUse>> {
    let rtnl = Rtnl::open()?;
    let mut names = BTreeMap::new();
    for link in rtnl.links()? {
        let name = link.attributes.into_iter().find_map(|attribute| {
            if let LinkAttribute::IfName(name) = attribute { Some(name) } else { None }
        });
        names.extend(name.map(|name| (link.header.index, name)));
    }
    let name = |index: u32| names.get(&index).cloned().unwrap_or_else(|| format!("interface {index}"));
    let mut used = Vec::new();
    for address in rtnl.addresses()? {
        for attribute in &address.attributes {
            let (AddressAttribute::Address(it) | AddressAttribute::Local(it)) = attribute else { continue };
            let range = IpNet::new(*it, address.header.prefix_len).ok();
            let by = || User::Address { interface: name(address.header.index) };
            used.extend(range.map(|range| InUse { range: range.trunc(), by: by() }));
        }
    }
    for route in rtnl.routes(false)?.into_iter().chain(rtnl.routes(true)?) {
        let mut destination = None;
        let mut interface = None;
        for attribute in &route.attributes {
            if let RouteAttribute::Destination(it) = attribute {
                destination = address_of(it);
            } else if let RouteAttribute::Oif(index) = attribute {
                interface = Some(name(*index));
            }
        }
        let prefix = route.header.destination_prefix_length;
        // A prefix of 1 is half of a default route, as VPNs like to set it.
        let range = destination.filter(|_| prefix > 1).and_then(|it| IpNet::new(it, prefix).ok());
        used.extend(range.map(|range| InUse { range: range.trunc(), by: User::Route { interface } }));
    }
    Ok(used)
}

fn address_of(address: &RouteAddress) -> Option<IpAddr> {
    if let RouteAddress::Inet(v4) = address {
        Some(IpAddr::V4(*v4))
    } else if let RouteAddress::Inet6(v6) = address {
        Some(IpAddr::V6(*v6))
    } else {
        None
    }
}

/// Ranges that overlap nothing of what is used.
fn choose(mut used: Vec<InUse>, wanted: &Wanted) -> Result<Ranges, RangeError> {
    // What users wrote goes first: what is found for the rest must not stand in its way.
    let workloads_v4 = reserve(&mut used, "workloadRangeV4", "workloads", wanted.workloads_v4)?;
    let services_v4 = reserve(&mut used, "serviceRangeV4", "services", wanted.services_v4)?;
    let workloads_v6 = reserve(&mut used, "workloadRangeV6", "workloads", wanted.workloads_v6)?;
    let services_v6 = reserve(&mut used, "serviceRangeV6", "services", wanted.services_v6)?;
    let (v4, wide_v4, v6) = (candidates_v4, wide_candidates_v4, candidates_v6);
    Ok(Ranges {
        workloads_v4: or_free(workloads_v4, &mut used, "workloadRangeV4", "workloads", v4())?.trunc(),
        services_v4: or_free(services_v4, &mut used, "serviceRangeV4", "services", wide_v4())?.trunc(),
        workloads_v6: or_free(workloads_v6, &mut used, "workloadRangeV6", "workloads", v6())?.trunc(),
        services_v6: or_free(services_v6, &mut used, "serviceRangeV6", "services", v6())?.trunc(),
    })
}

/// Checks a range that a user wrote, and takes it.
fn reserve<Net: Copy + Into<IpNet>>(
    used: &mut Vec<InUse>,
    field: &'static str,
    purpose: &'static str,
    wanted: Option<Net>,
) -> Result<Option<Net>, RangeError> {
    let Some(range) = wanted else { return Ok(None) };
    let wanted = range.into();
    let bits = if wanted.addr().is_ipv4() { 32 } else { 128 };
    // Services are fewer than workloads, but one rule is easier to remember than two.
    let largest_prefix = bits - (32 - (SMALLEST - 1).leading_zeros()).try_into().unwrap_or(bits);
    if wanted.prefix_len() > largest_prefix {
        return Err(RangeError::TooSmall { field, wanted, largest_prefix });
    }
    if let Some(user) = user_of(used, wanted) {
        return Err(RangeError::Taken { field, wanted, user: user.clone() });
    }
    used.push(InUse { range: wanted.trunc(), by: User::Same { purpose } });
    Ok(Some(range))
}

/// The range that was reserved, or the first candidate that is free.
fn or_free<Net: Copy + Into<IpNet>>(
    reserved: Option<Net>,
    used: &mut Vec<InUse>,
    field: &'static str,
    purpose: &'static str,
    candidates: impl Iterator<Item = Net>,
) -> Result<Net, RangeError> {
    if let Some(range) = reserved {
        return Ok(range);
    }
    let mut last = None;
    for candidate in candidates {
        match user_of(used, candidate.into()) {
            None => {
                used.push(InUse { range: candidate.into(), by: User::Same { purpose } });
                return Ok(candidate);
            }
            Some(user) => last = Some(RangeError::NoneFree { field, range: user.range, by: user.by.clone() }),
        }
    }
    Err(last.expect("invariant: there are candidates"))
}

fn user_of(used: &[InUse], range: IpNet) -> Option<&InUse> {
    used.iter().find(|user| user.range.contains(&range.trunc()) || range.contains(&user.range))
}

/// 10.128.0.0/16 upward, then the upper part of 172.16.0.0/12 for hosts whose company has all of 10.0.0.0/8.
fn candidates_v4() -> impl Iterator<Item = Ipv4Net> {
    let second = |first: u8, second: u8| Ipv4Net::new_assert([first, second, 0, 0].into(), 16);
    (128..=255).map(move |it| second(10, it)).chain((24..=31).map(move |it| second(172, it)))
}

/// The same twice as wide, for 100 000 services and more; then as narrow as these, for hosts with little left.
fn wide_candidates_v4() -> impl Iterator<Item = Ipv4Net> {
    let wide = candidates_v4().filter_map(|range| Ipv4Net::new(range.network(), 15).ok());
    let aligned = wide.filter(|range| range.network() == range.addr());
    aligned.chain(candidates_v4())
}

/// fd77:6162:6500::/64 upward.
fn candidates_v6() -> impl Iterator<Item = Ipv6Net> {
    (0x6500..=0x65ff).map(|third| Ipv6Net::new_assert([0xfd77, 0x6162, third, 0, 0, 0, 0, 0].into(), 64))
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { interface } => write!(f, "the host's {interface}"),
            Self::Route { interface: Some(interface) } => write!(f, "the host's route by {interface}"),
            Self::Route { interface: None } => write!(f, "a route of the host"),
            Self::Mesh { name } => write!(f, "the mesh `{name}`"),
            Self::Same { purpose } => write!(f, "this mesh's {purpose}"),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in tests")]
mod tests {
    use super::*;

    fn used(ranges: &[&str]) -> Vec<InUse> {
        let by = User::Route { interface: Some("tun0".into()) };
        ranges.iter().map(|range| InUse { range: range.parse().unwrap(), by: by.clone() }).collect()
    }

    #[test]
    fn an_idle_host_gets_the_first_ranges() {
        let ranges = choose(used(&["192.168.1.0/24", "fe80::/64"]), &Wanted::default()).unwrap();
        assert_eq!(ranges.workloads_v4.to_string(), "10.128.0.0/16");
        assert_eq!(ranges.services_v4.to_string(), "10.130.0.0/15");
        assert_eq!(ranges.workloads_v6.to_string(), "fd77:6162:6500::/64");
        assert_eq!(ranges.services_v6.to_string(), "fd77:6162:6501::/64");
    }

    #[test]
    fn what_is_used_is_skipped_be_it_wider_or_narrower() {
        let taken = used(&["10.128.0.0/15", "10.130.7.9/32", "10.132.0.0/16", "fd77:6162:6500::1/128"]);
        let ranges = choose(taken, &Wanted::default()).unwrap();
        assert_eq!(ranges.workloads_v4.to_string(), "10.131.0.0/16");
        assert_eq!(ranges.services_v4.to_string(), "10.134.0.0/15");
        assert_eq!(ranges.workloads_v6.to_string(), "fd77:6162:6501::/64");
    }

    #[test]
    fn a_company_network_of_all_ten_leaves_the_others() {
        let ranges = choose(used(&["10.0.0.0/8"]), &Wanted::default()).unwrap();
        assert_eq!(ranges.workloads_v4.to_string(), "172.24.0.0/16");
        assert_eq!(ranges.services_v4.to_string(), "172.26.0.0/15");
    }

    #[test]
    fn services_get_a_narrower_range_where_no_wide_one_is_free() {
        let ranges =
            choose(used(&["10.0.0.0/8", "172.24.0.0/14", "172.28.0.0/15"]), &Wanted::default()).unwrap();
        assert_eq!(ranges.workloads_v4.to_string(), "172.30.0.0/16");
        assert_eq!(ranges.services_v4.to_string(), "172.31.0.0/16");
    }

    #[test]
    fn a_wanted_range_in_use_is_an_error_that_names_the_user() {
        let wanted = Wanted { services_v4: Some("10.5.0.0/16".parse().unwrap()), ..Wanted::default() };
        let error = choose(used(&["10.0.0.0/8"]), &wanted).unwrap_err().to_string();
        assert!(error.contains("serviceRangeV4 10.5.0.0/16 overlaps 10.0.0.0/8"), "{error}");
        assert!(error.contains("the host's route by tun0"), "{error}");
    }

    #[test]
    fn two_wanted_ranges_must_not_overlap_and_found_ones_avoid_them() {
        let same = Wanted {
            workloads_v4: Some("10.64.0.0/12".parse().unwrap()),
            services_v4: Some("10.65.0.0/16".parse().unwrap()),
            ..Wanted::default()
        };
        let error = choose(Vec::new(), &same).unwrap_err().to_string();
        assert!(error.contains("this mesh's workloads"), "{error}");
        let services = Wanted { services_v4: Some("10.128.0.0/16".parse().unwrap()), ..Wanted::default() };
        let ranges = choose(Vec::new(), &services).unwrap();
        assert_eq!(ranges.workloads_v4.to_string(), "10.129.0.0/16");
    }

    #[test]
    fn a_range_must_hold_four_thousand_workloads() {
        let of = |text: &str| Wanted { workloads_v4: Some(text.parse().unwrap()), ..Wanted::default() };
        assert!(choose(Vec::new(), &of("10.1.0.0/19")).is_ok());
        let error = choose(Vec::new(), &of("10.1.0.0/20")).unwrap_err().to_string();
        assert!(error.contains("at least a /19"), "{error}");
        let narrow = Wanted { workloads_v6: Some("fd00::/116".parse().unwrap()), ..Wanted::default() };
        let error = choose(Vec::new(), &narrow).unwrap_err().to_string();
        assert!(error.contains("at least a /115"), "{error}");
    }

    #[test]
    fn when_all_is_used_the_remedy_is_named() {
        let error = choose(used(&["10.0.0.0/8", "172.16.0.0/12"]), &Wanted::default()).unwrap_err();
        assert!(error.to_string().contains("workloadRangeV4"), "{error}");
    }
}
