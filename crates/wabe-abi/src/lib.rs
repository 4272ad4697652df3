//! What kernel and user space share: map keys and values, events, reasons, map names and sizes.
//!
//! The single source of truth for the bytes in maps. It has no logic beyond conversions, never does I/O, and every
//! crate may depend on it. Kernel and host compile the same definitions; a test compares them with the BTF of the
//! built object.
//!
//! Rules for a shared type: `repr(C)`, no padding (the derives refuse it), no `bool`, no Rust enum, no `usize`;
//! network byte order is a type ([`Be16`], [`Be32`]).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod address;
mod config;
mod connection;
mod event;
mod exchange;
pub mod layout;
pub mod maps;
pub mod mark;
mod policy;
mod reason;
mod service;
mod workload;

pub use address::{Be16, Be32, Ip, Prefix};
pub use config::{Config, config_flag};
pub use connection::{Connection, Lane, SocketState, Ticket, Tuple, socket_flag, ticket_flag};
pub use event::{Event, EventKind, Reporter};
pub use exchange::{Exchange, PEERS_OF_A_SOCKET, Peer, Peers};
pub use policy::{Action, ClassKey, NO_POLICY, PolicyVerdict, PortKey, PrefixKey, STRANGER, VerdictKey};
pub use reason::DropReason;
pub use service::{
    Affinity, AffinityKey, Balance, EndpointKey, EndpointLoad, EndpointRecord, ServiceKey, ServiceRecord,
    member, service_flag,
};
pub use workload::{
    Limits, MAC_PREFIX, Pace, RefusalKey, RefusalSeen, VethRecord, WorkloadRecord, workload_flag,
};

/// TCP's protocol number.
pub const TCP: u8 = 6;
/// UDP's protocol number.
pub const UDP: u8 = 17;
