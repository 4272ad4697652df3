//! A workload's namespace, and the pair of interfaces that joins it to the node's.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::AsFd as _,
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    Address, Egress, LO, Mac, NODE_MAC, NetError, NodeNetwork, Place, Route, Rtnl, SOCK_DIAG,
    WorkloadNetwork, both, carrier, egress, namespace, netlink,
    node::{EGRESS_TABLE, ranges},
    proxy,
    rtnl::End,
    sysctl,
};

/// The workload's end of the pair.
const INSIDE: &str = "eth0";

/// The node's end of the pair.
pub(super) fn interface(id: u32) -> String {
    format!("w{id}")
}

pub(super) fn add(network: &NodeNetwork, address: Address) -> Result<WorkloadNetwork, NetError> {
    let id = address.id;
    let kernel = |what: &str| NetError::kernel(format!("{what} of workload {id}"));
    let families = egress::families(network, address.egress)?;
    let (netns, sockets) = namespace::create(|| {
        sysctl::apply(sysctl::WORKLOAD)?;
        sysctl::apply_present(sysctl::WORKLOAD_IF_PRESENT)?;
        let open = || Ok((Rtnl::open()?, netlink::open(Some(SOCK_DIAG))?));
        open().map_err(kernel("open netlink sockets in the namespace"))
    })
    .map_err(kernel("make the network namespace"))?;
    let (inside, diag) = sockets?;

    let interface = interface(id);
    let node = &network.node;
    let there = End { name: INSIDE, mac: mac(address.v4) };
    node.add_veth(&End { name: &interface, mac: NODE_MAC }, &there, netns.as_fd())
        .map_err(kernel("make the interfaces"))?;
    let node_ifindex = node.index(&interface).map_err(kernel("find the interface"))?;

    let kept = netns.try_clone().map_err(kernel("keep the network namespace"))?;
    let mut place = Place { address, ifindex: node_ifindex, netns: Arc::new(kept), proxy: None };
    let made = set_up_inside(network, &inside, address, families)
        .map_err(kernel("set up the network namespace"))
        .and_then(|()| egress::add(network, address, families))
        .and_then(|()| proxy::lead(&inside, address).map_err(kernel("lead to the proxy")))
        .and_then(|()| proxy::listen(netns.as_fd(), id).map_err(kernel("listen for the proxy")));
    match made {
        Ok(listener) => place.proxy = Some(Arc::new(listener)),
        Err(error) => {
            // What was asked for is the error to report, not what came of tidying up.
            let _ = remove(network, &place);
            return Err(error);
        }
    }
    network.places().insert(id, place);
    Ok(WorkloadNetwork { netns, node_ifindex, diag })
}

pub(super) fn open(network: &NodeNetwork, place: &Place) -> Result<(), NetError> {
    let Place { address, ifindex, ref netns, .. } = *place;
    let (file, node) = (&network.file, &network.node);
    let open = || -> io::Result<()> {
        node.set_up(ifindex, true)?;
        // The kernel forgets routes and neighbours of an interface that goes down.
        let ours = both(file.node_v4, file.node_v6);
        for (theirs, ours) in both(address.v4, address.v6).into_iter().zip(ours) {
            node.set_neighbour(ifindex, theirs, mac(address.v4))?;
            node.set_route(&Route::direct(theirs, ifindex).from(ours))?;
        }
        carrier::wait(netns.as_fd(), INSIDE, &both(address.v4, address.v6))
    };
    open().map_err(NetError::kernel(format!("open the gate of workload {}", address.id)))
}

pub(super) fn remove(network: &NodeNetwork, place: &Place) -> Result<(), NetError> {
    let id = place.address.id;
    // The interfaces go even if nft(8) is gone.
    let kept_in = egress::remove(network, place.address);
    match network.node.delete_link(place.ifindex) {
        // They go by themselves with the workload's namespace.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {}
        other => other.map_err(NetError::kernel(format!("remove the interfaces of workload {id}")))?,
    }
    kept_in
}

/// Which families lead out of the mesh.
#[derive(Clone, Copy, Debug)]
pub(super) struct Families {
    pub(super) v4: bool,
    pub(super) v6: bool,
}

fn set_up_inside(
    network: &NodeNetwork,
    inside: &Rtnl,
    address: Address,
    outside: Families,
) -> io::Result<()> {
    let file = &network.file;
    let eth0 = inside.index(INSIDE)?;
    inside.set_up(LO, true)?;
    inside.set_up(eth0, true)?;
    for ours in both(address.v4, address.v6) {
        inside.add_address(eth0, ours)?;
    }
    for node in both(file.node_v4, file.node_v6) {
        inside.set_neighbour(eth0, node, NODE_MAC)?;
    }
    let gateway =
        |range: IpNet| if range.addr().is_ipv4() { file.node_v4.into() } else { file.node_v6.into() };
    // Only a workload with egress has a default route: without one, `connect` to an address outside fails at once
    // in the workload itself, with ENETUNREACH. An ICMP error of the node's may be lost while `connect` still holds
    // the socket, and the workload would wait for a second.
    let default = |any: IpAddr| IpNet::new(any, 0).expect("invariant: 0 is a prefix length");
    let mut destinations = ranges(file).to_vec();
    destinations.extend(outside.v4.then(|| default(Ipv4Addr::UNSPECIFIED.into())));
    destinations.extend(outside.v6.then(|| default(std::net::Ipv6Addr::UNSPECIFIED.into())));
    for range in destinations {
        let ours = if range.addr().is_ipv4() { IpAddr::from(address.v4) } else { address.v6.into() };
        inside.set_route(&Route::via(range, eth0, gateway(range)).from(ours))?;
    }
    Ok(())
}

/// From the IPv4 address, so that it is known without asking.
fn mac(v4: Ipv4Addr) -> Mac {
    let [a, b, c, d] = v4.octets();
    [0x02, 0x77, a, b, c, d]
}

impl NodeNetwork {
    /// Packets that come in from a workload may look for a way out of the mesh.
    pub(super) fn let_out(&self, id: u32, v6: bool) -> io::Result<()> {
        self.node.add_rule(v6, &interface(id), EGRESS_TABLE)
    }

    /// They may no longer. No error if they never might.
    pub(super) fn keep_in(&self, id: u32, v6: bool) -> io::Result<()> {
        match self.node.delete_rule(v6, &interface(id), EGRESS_TABLE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

impl Families {
    pub(super) fn of(egress: Egress, v6: bool) -> Self {
        Self { v4: egress.is_masquerade(), v6: egress.is_masquerade() && v6 }
    }
}
