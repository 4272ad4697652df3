//! The node namespace, and the pair of interfaces that joins it to the host's.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Mutex},
};

use ipnet::IpNet;

use super::{
    LO, Left, Mac, Mesh, MeshFile, NetError, NodeNetwork, Place, Route, Rtnl, both, carrier, namespace,
    proxy, rtnl::End, sysctl,
};
use crate::layout::UPLINK;

/// The table that only packets of workloads with egress get to look into.
pub(super) const EGRESS_TABLE: u8 = 100;

const UPLINK_MAC: Mac = [0x02, 0x77, 0x61, 0x62, 0x65, 0x02];
const HOST_MAC: Mac = [0x02, 0x77, 0x61, 0x62, 0x65, 0x03];

pub(super) fn create(file: &MeshFile) -> Result<NodeNetwork, NetError> {
    let mesh = mesh(file)?;
    let kernel = |what: &'static str| NetError::kernel(what);
    let host = Rtnl::open().map_err(kernel("open a netlink socket"))?;
    let host_netns = namespace::current().map_err(kernel("open the host's network namespace"))?;
    let (netns, node) = namespace::create(|| {
        sysctl::apply(sysctl::NODE)?;
        Rtnl::open().map_err(kernel("open a netlink socket in the node namespace"))
    })
    .map_err(kernel("make the node namespace"))?;
    let node = node?;

    let interface = mesh.host_interface();
    let there = End { name: &interface, mac: HOST_MAC };
    node.add_veth(&End { name: UPLINK, mac: UPLINK_MAC }, &there, host_netns.as_fd())
        .map_err(taken(&mesh, format!("an interface {interface}")))?;
    let uplink = node.index(UPLINK).map_err(kernel("find the node's uplink"))?;

    // From here on, dropping it removes the pair.
    let network =
        NodeNetwork { mesh, file: file.clone(), netns, host_netns, node, uplink, workloads: Arc::default() };
    network.set_up_node().map_err(kernel("set up the node namespace"))?;
    network.set_up_host(&host, &interface)?;
    carrier::wait(network.netns(), UPLINK, &both(file.node_v4, file.node_v6))
        .map_err(kernel("bring the node's uplink into operation"))?;
    Ok(network)
}

pub(super) fn resume(file: &MeshFile, netns: OwnedFd, workloads: Vec<Left>) -> Result<NodeNetwork, NetError> {
    let mesh = mesh(file)?;
    let host_netns = namespace::current().map_err(NetError::kernel("open the host's network namespace"))?;
    let node = namespace::enter(netns.as_fd(), Rtnl::open)
        .and_then(|node| node)
        .map_err(NetError::kernel("enter the node namespace"))?;
    let find = |name: &str| node.index(name).map_err(NetError::kernel(format!("find {name} at the node")));
    let uplink = find(UPLINK)?;
    let places = workloads.into_iter().map(|Left { address, netns, proxy }| {
        let id = address.id;
        let ifindex = find(&super::workload::interface(id))?;
        let proxy = match proxy.filter(proxy::is_sound) {
            Some(listener) => listener,
            None => proxy::add(netns.as_fd(), address)
                .map_err(NetError::kernel(format!("lead workload {id} to the proxy")))?,
        };
        Ok((id, Place { address, ifindex, netns: Arc::new(netns), proxy: Some(Arc::new(proxy)) }))
    });
    let places = places.collect::<Result<_, NetError>>()?;
    let workloads = Arc::new(Mutex::new(places));
    Ok(NodeNetwork { mesh, file: file.clone(), netns, host_netns, node, uplink, workloads })
}

impl NodeNetwork {
    fn set_up_node(&self) -> io::Result<()> {
        let (file, node) = (&self.file, &self.node);
        let ours = both(file.node_v4, file.node_v6);
        node.set_up(LO, true)?;
        for address in ours {
            node.add_address(LO, address)?;
        }
        node.set_up(self.uplink, true)?;
        for (host, node_address) in both(file.host_v4, file.host_v6).into_iter().zip(ours) {
            node.set_neighbour(self.uplink, host, HOST_MAC)?;
            node.set_route(&Route::direct(host, self.uplink).from(node_address))?;
            let everywhere = IpNet::new(host, 0).expect("invariant: 0 is a prefix length").trunc();
            let out = Route::via(everywhere, self.uplink, host).from(node_address);
            node.set_route(&Route { table: EGRESS_TABLE, ..out })?;
        }
        // What nobody has answers at once, and never leaves for the host.
        for range in ranges(file) {
            node.set_route(&Route::unreachable(range))?;
        }
        Ok(())
    }

    fn set_up_host(&self, host: &Rtnl, interface: &str) -> Result<(), NetError> {
        let file = &self.file;
        let kernel = || NetError::kernel(format!("set up {interface} in the host's network namespace"));
        let index = host.index(interface).map_err(kernel())?;
        host.describe(index, &self.mesh.host_interface_alias()).map_err(kernel())?;
        host.set_up(index, true).map_err(kernel())?;
        let mut legs: Vec<(IpAddr, IpAddr, IpNet)> =
            vec![(file.host_v4.into(), file.node_v4.into(), file.ranges.workloads_v4.into())];
        if sysctl::is_set(&format!("ipv6/conf/{interface}/disable_ipv6")) {
            tracing::warn!(interface, "the host has IPv6 switched off: it reaches workloads by IPv4 only");
        } else {
            legs.push((file.host_v6.into(), file.node_v6.into(), file.ranges.workloads_v6.into()));
        }
        for &(ours, node, range) in &legs {
            host.add_address(index, ours).map_err(kernel())?;
            host.set_neighbour(index, node, UPLINK_MAC).map_err(kernel())?;
            host.add_route(&Route::via(range, index, node).from(ours))
                .map_err(taken(&self.mesh, format!("a route to {range}")))?;
        }
        let ours: Vec<IpAddr> = legs.iter().map(|leg| leg.0).collect();
        carrier::wait(self.host_netns.as_fd(), interface, &ours).map_err(kernel())
    }
}

/// All ranges of a mesh.
pub(crate) fn ranges(file: &MeshFile) -> [IpNet; 4] {
    let ranges = &file.ranges;
    [
        ranges.workloads_v4.into(),
        ranges.services_v4.into(),
        ranges.workloads_v6.into(),
        ranges.services_v6.into(),
    ]
}

fn mesh(file: &MeshFile) -> Result<Mesh, NetError> {
    file.mesh().map_err(|error| NetError::kernel("take the mesh's name")(io::Error::other(error.to_string())))
}

fn taken(mesh: &Mesh, what: String) -> impl FnOnce(io::Error) -> NetError {
    let mesh = mesh.name().to_owned();
    move |error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            NetError::Taken { what, mesh }
        } else {
            NetError::kernel(format!("make {what} in the host's network namespace"))(error)
        }
    }
}
