//! Sockets, tickets and accepted connections.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Be16, Ip};

/// The path that a connection takes (design, section 2).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Inside one workload, over its `lo` interface; or nothing leaves it at all (`connect()` of UDP).
    Local = 1,
    /// Both ends in the mesh on this node, decided in the kernel.
    Direct = 2,
    /// The destination is not in the mesh.
    Outside = 3,
    /// A question to the mesh's name server.
    Names = 4,
    /// Refused; the reason tells why.
    Refused = 5,
    /// To the node's proxy, which looks at what is said (layer 7) and connects to an endpoint itself.
    Proxy = 6,
}

impl Lane {
    /// Every lane, in the order of its number.
    pub const ALL: [Self; 6] =
        [Self::Local, Self::Direct, Self::Outside, Self::Names, Self::Refused, Self::Proxy];

    /// The lane with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Local,
            2 => Self::Direct,
            3 => Self::Outside,
            4 => Self::Names,
            5 => Self::Refused,
            6 => Self::Proxy,
            _ => return None,
        })
    }

    /// As users read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Direct => "direct",
            Self::Outside => "outside",
            Self::Names => "names",
            Self::Refused => "refused",
            Self::Proxy => "proxy",
        }
    }
}

/// Bits of [`SocketState::flags`].
pub mod socket_flag {
    /// Stamped by `sock_create`: without it nothing else in the state is to be believed.
    pub const STAMPED: u8 = 1;
    /// The destination was rewritten: `getpeername` and `recvmsg` answer with what was dialled.
    pub const REWRITTEN: u8 = 2;
    /// Counted as live at its endpoint, to be uncounted at CLOSE.
    pub const COUNTED: u8 = 4;
    /// The socket was accepted: its `peer_*` fields come from the caller's ticket.
    pub const ACCEPTED: u8 = 8;
    /// A ticket was written for it and not yet known to be gone.
    pub const TICKETED: u8 = 16;
    /// Counted as open at its caller, to be uncounted at CLOSE.
    pub const PACED: u8 = 32;
    /// Made by the keeper for the node's proxy, which connects with it on the workload's behalf.
    pub const VENDED: u8 = 64;
}

/// What the mesh knows of one socket, in socket storage (inherited by accepted sockets).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SocketState {
    /// What the application dialled.
    pub dialled: Ip,
    /// When the connection was begun or accepted, in nanoseconds of the monotonic clock.
    pub opened: u64,
    /// The generation that decided it.
    pub generation: u64,
    /// Where `VENDED` is set: the generation of the policies that the node's proxy goes by.
    pub layer7_generation: u64,
    /// The workload that created the socket: its identity, never its address.
    pub workload: u32,
    /// The other end's workload; 0 if it has none.
    pub peer_workload: u32,
    /// The endpoint counted, where `COUNTED` is set.
    pub endpoint: u32,
    /// The service that was dialled; 0 if none.
    pub service: u32,
    /// The rule that admitted it; 0 if none was needed.
    pub rule: u32,
    /// The port that the application dialled.
    pub dialled_port: Be16,
    /// A [`Lane`].
    pub lane: u8,
    /// [`socket_flag`] bits.
    pub flags: u8,
}

/// A connection as the receiver sees it: the caller is the source.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Tuple {
    /// The caller's address.
    pub source: Ip,
    /// The receiver's address.
    pub destination: Ip,
    /// The caller's port.
    pub source_port: Be16,
    /// The receiver's port.
    pub destination_port: Be16,
    /// [`crate::TCP`] or [`crate::UDP`].
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

impl Tuple {
    /// From its parts.
    #[inline(always)]
    pub const fn new(
        protocol: u8,
        source: Ip,
        source_port: Be16,
        destination: Ip,
        destination_port: Be16,
    ) -> Self {
        Self { source, destination, source_port, destination_port, protocol, reserved: [0; 3] }
    }

    /// The same connection seen from the other end.
    #[inline(always)]
    pub const fn reversed(&self) -> Self {
        Self::new(self.protocol, self.destination, self.destination_port, self.source, self.source_port)
    }
}

/// Bits of [`Ticket::flags`].
pub mod ticket_flag {
    /// Written for a connection in the lane `direct`.
    pub const DIRECT: u32 = 1;
    /// Written for a connection in the lane `proxy`: it is for the node's proxy.
    pub const PROXY: u32 = 2;
    /// The node's proxy has judged, or will, what the connection carries, by the policies of the ticket's generation.
    pub const LAYER7_DONE: u32 = 4;
}

/// The caller's kernel vouches for a connection before its first packet leaves.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ticket {
    /// The caller's socket cookie: only the socket that wrote a ticket may remove it.
    pub cookie: u64,
    /// The generation that the caller's side decided by; with [`ticket_flag::LAYER7_DONE`], that of the policies which the
    /// node's proxy goes by.
    pub generation: u64,
    /// The caller's workload.
    pub workload: u32,
    /// [`ticket_flag`] bits.
    pub flags: u32,
}

/// A connection that was accepted and is still open, under its [`Tuple`]: what a change of policy examines.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Connection {
    /// The accepted socket's cookie.
    pub cookie: u64,
    /// When it was accepted, in nanoseconds of the monotonic clock.
    pub opened: u64,
    /// The generation that admitted it.
    pub generation: u64,
    /// The caller's workload; 0 for a stranger.
    pub source_workload: u32,
    /// The receiver's workload.
    pub destination_workload: u32,
    /// [`ticket_flag`] bits of the caller's ticket; 0 for a stranger.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}
