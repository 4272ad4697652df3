//! What the kernel tells user space, through the ring buffer.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Be16, Ip, Tuple};

/// What happened.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A connection is established.
    Opened = 1,
    /// A connection is gone; byte counts, RTT and retransmits are final.
    Closed = 2,
    /// A connection, datagram or socket was refused.
    Refused = 3,
    /// An attempt came to nothing without the mesh refusing it: no listener, reset, timed out, given up.
    Failed = 4,
}

impl EventKind {
    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Opened,
            2 => Self::Closed,
            3 => Self::Refused,
            4 => Self::Failed,
            _ => return None,
        })
    }
}

/// Which end saw it.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reporter {
    /// The caller's end.
    Source = 1,
    /// The receiver's end.
    Destination = 2,
}

impl Reporter {
    /// The reporter with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Source,
            2 => Self::Destination,
            _ => return None,
        })
    }
}

/// One record of the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Event {
    /// The caller's address; `::` where it has none yet.
    pub source: Ip,
    /// The endpoint's address, after rewriting.
    pub destination: Ip,
    /// What the application dialled.
    pub dialled: Ip,
    /// Nanoseconds of the monotonic clock.
    pub time: u64,
    /// How long the connection was open, in nanoseconds; `Closed` only.
    pub duration: u64,
    /// Payload bytes from source to destination.
    pub bytes_sent: u64,
    /// Payload bytes from destination to source.
    pub bytes_received: u64,
    /// The generation that decided.
    pub generation: u64,
    /// The caller's workload; 0 if it has none.
    pub source_workload: u32,
    /// The receiver's workload; 0 if it has none.
    pub destination_workload: u32,
    /// The service that was dialled; 0 if none.
    pub service: u32,
    /// The rule that decided; 0 if none did.
    pub rule: u32,
    /// Smoothed round-trip time in microseconds.
    pub rtt: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// Like refusals since the last report that were not reported; `Refused` only.
    pub suppressed: u32,
    /// The caller's port; 0 where it has none yet.
    pub source_port: Be16,
    /// The endpoint's port.
    pub destination_port: Be16,
    /// The port that the application dialled.
    pub dialled_port: Be16,
    /// An [`EventKind`].
    pub kind: u8,
    /// A [`Reporter`].
    pub reporter: u8,
    /// A [`crate::Lane`].
    pub lane: u8,
    /// A [`crate::DropReason`]; 0 unless refused.
    pub reason: u8,
    /// [`crate::TCP`] or [`crate::UDP`].
    pub protocol: u8,
    /// 1 if the connection had no orderly end: one end reset it, or it timed out; `Closed` only.
    pub reset: u8,
}

impl Event {
    /// The connection, from the caller to the endpoint.
    pub const fn tuple(&self) -> Tuple {
        Tuple::new(self.protocol, self.source, self.source_port, self.destination, self.destination_port)
    }
}
