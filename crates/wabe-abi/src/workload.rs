//! Workloads as the kernel knows them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Be16, Ip};

/// Bits of [`WorkloadRecord::flags`].
pub mod workload_flag {
    /// May open sockets of protocols other than TCP and UDP.
    pub const ANY_PROTOCOL: u32 = 1;
    /// May connect to addresses outside the mesh.
    pub const EGRESS: u32 = 2;
    /// Is being stopped: gets no new connection.
    pub const STOPPING: u32 = 4;
}

/// One workload: names the policy table that is in force. Its id is also the id of its endpoint.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct WorkloadRecord {
    /// Its IPv4 address.
    pub v4: Ip,
    /// Its IPv6 address.
    pub v6: Ip,
    /// The generation at which its policies of layer 7 were last written: only connections of the node's proxy that goes by them
    /// come in. 0 if it has none.
    pub layer7_generation: u64,
    /// Its identity (trust domain, namespace, service account); never [`crate::STRANGER`].
    pub identity: u32,
    /// Its policy table for connections; a new table has a new id. [`crate::NO_POLICY`] if no policy selects it.
    pub table: u32,
    /// Its policy table for datagrams: the same, unless it has policies of layer 7.
    pub datagram_table: u32,
    /// [`workload_flag`] bits.
    pub flags: u32,
    /// Its interface in the node's namespace; 0 if unknown.
    pub interface: u32,
    /// Where it is, for services that prefer near endpoints: 1 to 255, 0 if unknown.
    pub locality: u32,
    /// Of connections that it makes.
    pub outbound: Limits,
    /// Of connections that are made to it.
    pub inbound: Limits,
}

/// Limits of connections; 0 for none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Limits {
    /// Open at a time.
    pub connections: u32,
    /// New ones a second.
    pub per_second: u32,
}

impl Limits {
    /// Whether nothing is limited.
    #[inline(always)]
    pub const fn is_none(&self) -> bool {
        self.connections == 0 && self.per_second == 0
    }
}

/// What a workload's limits are compared with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Pace {
    /// Connections that it made and that are open, counted as [`crate::EndpointLoad::live`] is.
    pub open: u64,
    /// When the next one that it makes is due, in nanoseconds of the monotonic clock.
    pub outbound: u64,
    /// When the next one that is made to it is due.
    pub inbound: u64,
}

/// The first bytes of a workload's MAC address; its IPv4 address follows.
pub const MAC_PREFIX: [u8; 2] = [0x02, 0x77];

/// The node-side interface of a workload: which source addresses may come in there.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct VethRecord {
    /// The workload's IPv4 address.
    pub v4: Ip,
    /// The workload's IPv6 address.
    pub v6: Ip,
    /// The workload.
    pub workload: u32,
    /// Zero.
    pub reserved: u32,
}

impl VethRecord {
    /// The MAC address that the workload's end has.
    #[inline(always)]
    pub const fn mac(&self) -> [u8; 6] {
        // IPv4: the last word, in network order.
        let [a, b, c, d] = self.v4.words[3].network().to_ne_bytes();
        [MAC_PREFIX[0], MAC_PREFIX[1], a, b, c, d]
    }
}

/// What a refusal must agree in to be reported once.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RefusalKey {
    /// What was dialled.
    pub destination: Ip,
    /// The caller's address where no workload is known, else `::`.
    pub source: Ip,
    /// The caller's workload; 0 if unknown.
    pub workload: u32,
    /// The port that was dialled.
    pub port: Be16,
    /// [`crate::TCP`] or [`crate::UDP`].
    pub protocol: u8,
    /// A [`crate::DropReason`].
    pub reason: u8,
}

/// When a refusal was last reported, and how often it happened since.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RefusalSeen {
    /// In nanoseconds of the monotonic clock.
    pub reported: u64,
    /// Refusals that were not reported since.
    pub suppressed: u64,
}
