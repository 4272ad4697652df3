//! Datagrams between a socket and one receiver: what UDP has in place of connections.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Be16, Ip, Tuple};

/// Receivers that one socket has exchanges with at a time. One more takes the place of the oldest, which begins anew with
/// its next datagram.
pub const PEERS_OF_A_SOCKET: u32 = 64;

/// What one socket and one receiver have sent each other, under the [`Tuple`] of its first datagram. The caller's kernel
/// vouches with it, as with a ticket; ends with the caller's socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Exchange {
    /// What the application dialled: where answers seem to come from.
    pub dialled: Ip,
    /// When the first datagram was sent, in nanoseconds of the monotonic clock.
    pub opened: u64,
    /// Payload bytes from source to destination.
    pub sent: u64,
    /// Payload bytes from destination to source.
    pub received: u64,
    /// The generation whose policy allowed it last: a datagram under a later one is judged anew.
    pub generation: u64,
    /// The caller's socket cookie: only the socket that it belongs to may end it.
    pub cookie: u64,
    /// The caller's workload.
    pub source_workload: u32,
    /// The receiver's workload; 0 outside the mesh.
    pub destination_workload: u32,
    /// The service that was dialled; 0 if none.
    pub service: u32,
    /// The rule that allowed it last; 0 if none was needed.
    pub rule: u32,
    /// The port that the application dialled.
    pub dialled_port: Be16,
    /// Zero.
    pub reserved: [u8; 6],
}

/// One of a socket's exchanges.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Peer {
    /// The key of its [`Exchange`].
    pub tuple: Tuple,
    /// The service that was dialled; 0 if none.
    pub service: u32,
}

/// A socket's exchanges, in socket storage: what is to be ended with it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Peers {
    /// Of each exchange at `begun` modulo [`PEERS_OF_A_SOCKET`].
    pub peers: [Peer; PEERS_OF_A_SOCKET as usize],
    /// How many were begun.
    pub begun: u32,
    /// Zero.
    pub reserved: u32,
}
