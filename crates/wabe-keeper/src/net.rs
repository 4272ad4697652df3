//! The network of a mesh on this machine.
//!
//! A mesh has a **node namespace**: a network namespace that is the router between its workloads. Each workload has
//! one of its own, joined to the node's by a pair of interfaces: `eth0` inside, `w<id>` at the node. Everything is
//! routed; addresses stand for themselves only (/32, /128), and who has which is written down at both ends, so that
//! no ARP and no neighbour discovery happens. One more pair, `uplink` at the node, joins the node to the host's
//! namespace: that is the only thing a mesh makes there, and no setting of the host is changed.
//!
//! Names (as `w7`) are safe to use again; interface numbers are not, the kernel counts them up.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::net::{
    AddressFamily, SocketAddrV6, SocketFlags, SocketType, bind, ipproto, listen, netlink::SOCK_DIAG,
    socket_with, sockopt,
};

use crate::layout::{Mesh, MeshFile};

mod carrier;
mod egress;
mod error;
pub mod inspect;
pub(crate) mod namespace;
pub(crate) mod netlink;
mod node;
mod proxy;
pub(crate) mod rtnl;
mod sysctl;
mod workload;

pub(crate) use egress::{delete_table, nft};
pub use error::NetError;
pub(crate) use node::ranges;
pub(crate) use proxy::Outlets;

use rtnl::{Mac, Route, Rtnl};

/// The node's end of every workload's pair: all the same, so that a packet for the node is one for any of them.
const NODE_MAC: Mac = [0x02, 0x77, 0x61, 0x62, 0x65, 0x01];
/// Loopback is the first interface of every namespace.
const LO: u32 = 1;

/// Whether a workload may reach addresses outside the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// It may not, and is told so at once.
    None,
    /// It may, with the host's address.
    Masquerade,
}

impl From<bool> for Egress {
    /// As the keeper's protocol says it: whether the node's address stands in for the workload's outside.
    fn from(masquerade: bool) -> Self {
        if masquerade { Self::Masquerade } else { Self::None }
    }
}

/// What the network knows about a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its number.
    pub id: u32,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    /// Whether it may reach addresses outside the mesh.
    pub egress: Egress,
}

/// A workload's part of the network.
#[derive(Debug)]
pub struct WorkloadNetwork {
    /// Its network namespace, which exists as long as this, a process or a socket in it does.
    pub netns: OwnedFd,
    /// Number of the interface `w<id>` in the node namespace.
    pub node_ifindex: u32,
    /// A `NETLINK_SOCK_DIAG` socket inside its namespace: see [`crate::diag`].
    pub diag: OwnedFd,
}

/// Where names are asked for: port 53 at the node's addresses, IPv4 and IPv6.
#[derive(Debug)]
pub struct NamesSockets {
    /// For datagrams.
    pub udp: UdpSocket,
    /// For answers that are too long for one.
    pub tcp: TcpListener,
}

/// The node namespace and what is in it. Dropping it takes the mesh off the host's namespace; workloads' namespaces
/// that somebody still holds lose their `eth0` with the node namespace.
#[derive(Debug)]
pub struct NodeNetwork {
    mesh: Mesh,
    file: MeshFile,
    netns: OwnedFd,
    host_netns: OwnedFd,
    node: Rtnl,
    uplink: u32,
    workloads: Arc<Mutex<Places>>,
}

/// Workloads by their numbers.
type Places = BTreeMap<u32, Place>;

/// A workload's place at the node.
#[derive(Clone, Debug)]
struct Place {
    address: Address,
    ifindex: u32,
    netns: Arc<OwnedFd>,
    /// The node's proxy's listener inside it.
    proxy: Option<Arc<OwnedFd>>,
}

/// A workload whose namespace exists: from an earlier program of the keeper's.
#[derive(Debug)]
pub struct Left {
    /// What it is called.
    pub address: Address,
    /// Its network namespace.
    pub netns: OwnedFd,
    /// The proxy's listener inside it; earlier versions made none.
    pub proxy: Option<OwnedFd>,
}

impl NodeNetwork {
    /// Makes the node namespace, and joins it to the network namespace of the calling thread: the host's.
    ///
    /// # Errors
    /// Without root; if the host has this mesh's interface or a route to its ranges already; if the kernel lacks
    /// something. Nothing is left behind then.
    pub fn create(file: &MeshFile) -> Result<Self, NetError> {
        node::create(file)
    }

    /// Takes over a node namespace and its workloads with their namespaces, all of which exist: after the keeper replaced its program.
    /// The calling thread must be in the host's network namespace.
    ///
    /// # Errors
    /// If the namespace is not such a one, or has not got these workloads.
    pub fn resume(file: &MeshFile, netns: OwnedFd, workloads: Vec<Left>) -> Result<Self, NetError> {
        node::resume(file, netns, workloads)
    }

    /// The node namespace.
    pub fn netns(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }

    /// Makes the sockets that names are asked over. Only one pair can exist at a time.
    ///
    /// # Errors
    /// If such a pair exists.
    pub fn names_sockets(&self) -> Result<NamesSockets, NetError> {
        namespace::enter(self.netns(), || Ok(NamesSockets { udp: udp()?, tcp: tcp()? }))
            .and_then(|sockets| sockets)
            .map_err(NetError::kernel("listen for names at the node's port 53"))
    }

    /// Makes a workload's namespace and its pair of interfaces. The gate is closed: nothing passes before
    /// [`Self::open`].
    ///
    /// # Errors
    /// If the workload exists; if it wants egress and the host doesn't forward or `nft` is missing. Nothing is left
    /// behind then.
    pub fn add_workload(
        &self,
        id: u32,
        v4: Ipv4Addr,
        v6: Ipv6Addr,
        egress: impl Into<Egress>,
    ) -> Result<WorkloadNetwork, NetError> {
        workload::add(self, Address { id, v4, v6, egress: egress.into() })
    }

    /// Lets packets pass between a workload and the node. No error if they do.
    ///
    /// # Errors
    /// If the workload is not there.
    pub fn open(&self, id: u32) -> Result<(), NetError> {
        workload::open(self, &self.place(id)?)
    }

    /// Lets no packet pass any more. No error if none does.
    ///
    /// # Errors
    /// If the workload is not there.
    pub fn close(&self, id: u32) -> Result<(), NetError> {
        let place = self.place(id)?;
        self.node
            .set_up(place.ifindex, false)
            .map_err(NetError::kernel(format!("close the gate of workload {id}")))
    }

    /// Removes a workload's pair of interfaces; its namespace goes when nothing holds it. No error if it is gone.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn remove(&self, id: u32) -> Result<(), NetError> {
        let Some(place) = self.places().remove(&id) else { return Ok(()) };
        workload::remove(self, &place)
    }

    /// What the node's proxy is given.
    pub(crate) fn outlets(&self) -> Outlets {
        Outlets::of(Arc::clone(&self.workloads))
    }

    fn place(&self, id: u32) -> Result<Place, NetError> {
        self.places().get(&id).cloned().ok_or(NetError::UnknownWorkload(id))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.workloads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for NodeNetwork {
    fn drop(&mut self) {
        if let Err(error) = egress::remove_all(self) {
            tracing::warn!(%error, "the mesh's nftables table in the host's namespace is not removed");
        }
        // The namespace goes with its last descriptor, but only some time later; the host should be rid of it now.
        if let Err(error) = self.node.delete_link(self.uplink) {
            tracing::warn!(%error, "the mesh's interface in the host's namespace is not removed");
        }
    }
}

impl Egress {
    fn is_masquerade(self) -> bool {
        match self {
            Self::None => false,
            Self::Masquerade => true,
        }
    }
}

/// Both families of a pair of addresses.
fn both(v4: Ipv4Addr, v6: Ipv6Addr) -> [IpAddr; 2] {
    [v4.into(), v6.into()]
}

/// Questions wait in it while dns is started again: some thousands of them.
fn udp() -> io::Result<UdpSocket> {
    const ROOM: usize = 4 << 20;
    let socket = dual_stack(SocketType::DGRAM, ipproto::UDP)?;
    // More than the host's sysctl allows, if that is low.
    sockopt::set_socket_recv_buffer_size_force(&socket, ROOM)?;
    Ok(UdpSocket::from(socket))
}

fn tcp() -> io::Result<TcpListener> {
    let socket = dual_stack(SocketType::STREAM, ipproto::TCP)?;
    listen(&socket, 1024)?;
    Ok(TcpListener::from(socket))
}

/// A socket at port 53 of every address, IPv4 included.
fn dual_stack(kind: SocketType, protocol: rustix::net::Protocol) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET6, kind, SocketFlags::CLOEXEC, Some(protocol))?;
    sockopt::set_ipv6_v6only(&socket, false)?;
    // Connections of a dns that ended must not keep its successor from listening. UDP has none, and there it would
    // let two answer.
    sockopt::set_socket_reuseaddr(&socket, kind == SocketType::STREAM)?;
    bind(&socket, &SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 53, 0, 0))?;
    Ok(socket)
}
