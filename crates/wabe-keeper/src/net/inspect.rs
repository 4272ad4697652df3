//! What the node namespace has for its workloads, for `wabe doctor`: reads, and changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsFd as _,
};

use netlink_packet_route::{
    link::LinkFlags,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourState},
    route::{RouteAddress, RouteAttribute},
};

use super::{both, namespace, rtnl::Rtnl, workload::interface};

/// A workload's place at the node, as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its number.
    pub id: u32,
    /// Number of its interface.
    pub ifindex: u32,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

/// What a workload lacks at the node: nothing comes to it, or nothing of that family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The interface of this number is gone.
    Interface(u32),
    /// It is down.
    Up(u32),
    /// No route leads to this address by its interface.
    Route(IpAddr),
    /// It is not written down who has this address.
    Neighbour(IpAddr),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(id) => write!(f, "its interface {} is gone", interface(*id)),
            Self::Up(id) => write!(f, "its interface {} is down", interface(*id)),
            Self::Route(address) => write!(f, "the node has no route to {address}"),
            Self::Neighbour(address) => write!(f, "the node does not know who has {address}"),
        }
    }
}

/// What there is, by number of interface.
#[derive(Default)]
struct Found {
    /// Whether it is up.
    links: BTreeMap<u32, bool>,
    routes: BTreeSet<(u32, IpAddr)>,
    neighbours: BTreeSet<(u32, IpAddr)>,
}

/// What these workloads lack, each with the workload's number; `process` is one in the node namespace.
///
/// # Errors
/// The process is gone, or the kernel does not tell.
pub fn lacks(process: u32, wanted: &[Wanted]) -> io::Result<Vec<(u32, Lack)>> {
    let netns = File::open(format!("/proc/{process}/ns/net"))?;
    let found = namespace::enter(netns.as_fd(), || look(&Rtnl::open()?))??;
    Ok(wanted.iter().flat_map(|it| compare(it, &found)).collect())
}

fn look(node: &Rtnl) -> io::Result<Found> {
    let mut found = Found::default();
    for link in node.links()? {
        found.links.insert(link.header.index, link.header.flags.contains(LinkFlags::Up));
    }
    for route in [node.routes(false)?, node.routes(true)?].concat() {
        let interface = route
            .attributes
            .iter()
            .find_map(|it| if let RouteAttribute::Oif(index) = it { Some(*index) } else { None });
        let destination = route
            .attributes
            .iter()
            .find_map(|it| if let RouteAttribute::Destination(to) = it { address(to) } else { None });
        found.routes.extend(interface.zip(destination));
    }
    for neighbour in node.neighbours()?.iter().filter(|it| it.header.state == NeighbourState::Permanent) {
        let address = neighbour.attributes.iter().find_map(|it| {
            if let NeighbourAttribute::Destination(of) = it { neighbour_address(of) } else { None }
        });
        found.neighbours.extend(address.map(|it| (neighbour.header.ifindex, it)));
    }
    Ok(found)
}

fn address(route: &RouteAddress) -> Option<IpAddr> {
    if let RouteAddress::Inet(v4) = route {
        return Some((*v4).into());
    }
    if let RouteAddress::Inet6(v6) = route { Some((*v6).into()) } else { None }
}

fn neighbour_address(neighbour: &NeighbourAddress) -> Option<IpAddr> {
    if let NeighbourAddress::Inet(v4) = neighbour {
        return Some((*v4).into());
    }
    if let NeighbourAddress::Inet6(v6) = neighbour { Some((*v6).into()) } else { None }
}

/// Of an interface that is gone or down nothing else is told: the kernel forgets routes and neighbours with it.
fn compare(wanted: &Wanted, found: &Found) -> Vec<(u32, Lack)> {
    let Wanted { id, ifindex, v4, v6 } = *wanted;
    let lacks = match found.links.get(&ifindex) {
        None => vec![Lack::Interface(id)],
        Some(false) => vec![Lack::Up(id)],
        Some(true) => {
            let addresses = both(v4, v6);
            let route = |it: &&IpAddr| !found.routes.contains(&(ifindex, **it));
            let neighbour = |it: &&IpAddr| !found.neighbours.contains(&(ifindex, **it));
            let routes = addresses.iter().filter(route).map(|it| Lack::Route(*it));
            let neighbours = addresses.iter().filter(neighbour).map(|it| Lack::Neighbour(*it));
            routes.chain(neighbours).collect()
        }
    };
    lacks.into_iter().map(|lack| (id, lack)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
    const V6: Ipv6Addr = Ipv6Addr::LOCALHOST;

    /// Workload 3 at interface 7, with everything.
    fn whole() -> (Wanted, Found) {
        let all = || both(V4, V6).into_iter().map(|it| (7, it)).collect();
        let found = Found { links: [(7, true)].into(), routes: all(), neighbours: all() };
        (Wanted { id: 3, ifindex: 7, v4: V4, v6: V6 }, found)
    }

    /// A way to break it, and what is told then.
    type Case = (fn(&mut Found), Option<Lack>);

    #[test]
    fn each_lack_is_told_by_itself() {
        let cases: [Case; 6] = [
            (|_| (), None),
            (|it| it.links.clear(), Some(Lack::Interface(3))),
            (|it| it.links = [(7, false)].into(), Some(Lack::Up(3))),
            (|it| it.routes.retain(|(_, to)| to.is_ipv6()), Some(Lack::Route(V4.into()))),
            (|it| it.routes.retain(|(_, to)| to.is_ipv4()), Some(Lack::Route(V6.into()))),
            (|it| it.neighbours.retain(|(_, of)| of.is_ipv6()), Some(Lack::Neighbour(V4.into()))),
        ];
        for (break_it, lack) in cases {
            let (wanted, mut found) = whole();
            break_it(&mut found);
            assert_eq!(compare(&wanted, &found), lack.map(|it| (3, it)).into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_leads_elsewhere_does_not_lead_here() {
        let (wanted, mut found) = whole();
        found.routes = both(V4, V6).into_iter().map(|it| (8, it)).collect();
        assert_eq!(compare(&wanted, &found).len(), 2);
    }
}
