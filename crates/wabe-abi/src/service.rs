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
    /// Zero.
    pub reserved: u8,
}

impl ServiceKey {
    /// The key of one port.
    #[inline(always)]
    pub const fn port(address: Ip, port: Be16, protocol: u8) -> Self {
        Self { address, port, protocol, reserved: 0 }
    }

    /// The key of the address itself.
    #[inline(always)]
    pub const fn address(address: Ip) -> Self {
        Self { address, port: Be16::new(0), protocol: 0, reserved: 0 }
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
}

impl Balance {
    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::TwoChoices,
            2 => Self::Random,
            3 => Self::RoundRobin,
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
    /// How many endpoints the set has.
    pub endpoints: u32,
    /// A [`Balance`].
    pub balance: u8,
    /// Zero.
    pub reserved: [u8; 3],
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
