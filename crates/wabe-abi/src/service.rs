//! Services and their endpoints.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Be16, Ip};

/// A service's virtual address and port. Port 0 and protocol 0 stand for the address itself: it is known, but this
/// port is not.
#[repr(C)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct ServiceKey {
    /// The virtual address.
    pub address: Ip,
    /// The service's port, not the target port.
    pub port: Be16,
    /// [`crate::TCP`] or [`crate::UDP`].
    pub protocol: u8,
    /// The callers' locality that this is for ([`crate::WorkloadRecord::locality`]); 0 is for all.
    pub locality: u8,
}

impl ServiceKey {
    /// The key of one port.
    #[inline(always)]
    pub const fn port(address: Ip, port: Be16, protocol: u8) -> Self {
        Self { address, port, protocol, locality: 0 }
    }

    /// The key of the address itself.
    #[inline(always)]
    pub const fn address(address: Ip) -> Self {
        Self { address, port: Be16::new(0), protocol: 0, locality: 0 }
    }
}

/// How an endpoint is chosen.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Balance {
    /// The less loaded of two that were drawn by weight.
    TwoChoices = 1,
    /// Drawn by weight.
    Random = 2,
    /// In turn, by weight.
    RoundRobin = 3,
    /// By the caller's address: the set's places are a Maglev table (Eisenbud and others, NSDI 2016).
    Consistent = 4,
}

/// Where a set lists an endpoint by its id, behind its places: if callers may stay at theirs, which is so with
/// [`Balance::Consistent`] and for UDP.
#[inline(always)]
pub const fn member(set: u32, endpoint: u32) -> EndpointKey {
    EndpointKey { set, index: 0x8000_0000 | endpoint }
}

/// Bits of [`ServiceRecord::flags`].
pub mod service_flag {
    /// Callers of some localities have sets of their own, under keys that bear the locality.
    pub const LOCAL: u8 = 1;
    /// Callers are led to the node's proxy: rules of layer 7 are attached.
    pub const PROXY: u8 = 2;
}

/// A caller that is to stay at its endpoint: a workload, or one of its sockets.
#[repr(C)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct AffinityKey {
    /// The caller's address.
    pub client: Ip,
    /// The service's id.
    pub service: u32,
    /// The port of the socket, for datagrams; 0 for all that the caller sends.
    pub port: Be16,
    /// Zero.
    pub reserved: u16,
}

/// Where a caller stays.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Affinity {
    /// Until when, in nanoseconds of the monotonic clock; each connection puts it off.
    pub until: u64,
    /// The endpoint.
    pub endpoint: u32,
    /// Zero.
    pub reserved: u32,
}

impl Balance {
    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::TwoChoices,
            2 => Self::Random,
            3 => Self::RoundRobin,
            4 => Self::Consistent,
            _ => return None,
        })
    }
}

/// One port of a service: names the endpoint set that is in force.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ServiceRecord {
    /// The service's id.
    pub service: u32,
    /// The set of endpoints; a new set has a new id.
    pub endpoint_set: u32,
    /// How many places the set has: one for each endpoint, or a Maglev table's.
    pub endpoints: u32,
    /// For how many seconds a caller stays at its endpoint; 0 for no such promise. With [`Balance::Consistent`] only.
    pub affinity: u32,
    /// A [`Balance`].
    pub balance: u8,
    /// [`service_flag`] bits.
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

/// Place of an endpoint in its set.
#[repr(C)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct EndpointKey {
    /// The set.
    pub set: u32,
    /// 0 up to the set's size.
    pub index: u32,
}

/// One endpoint, with its place's share of the alias table (Walker's method in Vose's form).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EndpointRecord {
    /// Where it listens.
    pub address: Ip,
    /// Stable over its life; index of its [`EndpointLoad`].
    pub endpoint: u32,
    /// The workload behind it.
    pub workload: u32,
    /// 1 or more.
    pub weight: u32,
    /// A draw below this stays here, another goes to `alias`.
    pub threshold: u32,
    /// The other place.
    pub alias: u32,
    /// Where it listens: the target port.
    pub port: Be16,
    /// Zero.
    pub reserved: u16,
}

/// Counters of one endpoint; they outlive every set that it is in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EndpointLoad {
    /// Connections open now, counted at the callers from `TCP_CONNECT_CB` to CLOSE.
    pub live: u64,
    /// Connections ever begun.
    pub total: u64,
}
