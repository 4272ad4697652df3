//! What every hook reads first.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Ip, Prefix};

/// Bits of [`Config::flags`].
pub mod config_flag {
    /// Packets between workloads of the node go from interface to interface, past the node's own stack.
    pub const SHORT_CUT: u32 = 1;
}

/// The mesh's own facts: one record, written whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Config {
    /// Raised by the agent after each batch of changes. 0: nothing has been written yet, so everything is refused.
    pub generation: u64,
    /// The node's IPv4 address inside the mesh, where names are answered.
    pub node_v4: Ip,
    /// The node's IPv6 address inside the mesh.
    pub node_v6: Ip,
    /// The host's IPv4 address as workloads see it: the only one of the mesh's that may come in from there.
    pub host_v4: Ip,
    /// The host's IPv6 address as workloads see it.
    pub host_v6: Ip,
    /// Workloads' addresses.
    pub workloads_v4: Prefix,
    /// Workloads' addresses.
    pub workloads_v6: Prefix,
    /// Services' virtual addresses.
    pub services_v4: Prefix,
    /// Services' virtual addresses.
    pub services_v6: Prefix,
    /// Name servers that applications find in `/etc/resolv.conf`; port 53 there is answered by the mesh. Unused
    /// places are `::`.
    pub resolvers: [Ip; 4],
    /// How deep a workload's cgroup lies below the root of cgroup v2 (the root is 0).
    pub workload_level: u32,
    /// Connections that may be open towards all workloads together; one more is refused.
    pub max_connections: u32,
    /// Tickets that one workload may have outstanding; one more is refused.
    pub max_tickets: u32,
    /// Exchanges of datagrams that one workload may have open as a caller; one more is refused.
    pub max_exchanges: u32,
    /// [`config_flag`] bits.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}
