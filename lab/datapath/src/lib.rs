//! The lab's own eBPF programs: sidecars reached without iptables, as Merbridge does it, and sockets joined to each
//! other. They are data paths to measure Wabe against; the mesh uses none of them.
//!
//! Everything is attached by links that this process holds and nobody pins: when it ends, however it does, nothing is
//! left. Only cgroups and network namespaces that the caller names are touched, and never the root of the cgroups, the
//! host's network namespace or that of the caller.
//!
//! `wabe-datapath` is the only user of aya in the mesh. This crate is the one exception in the repository, so that the
//! lab can have programs of its own and the mesh stays free of them. Only the lab depends on it.
#![forbid(unsafe_code)]

mod canaries;
mod counter;
mod counters;
mod error;
mod listener;
mod object;
mod offsets;
mod place;
mod probe;
mod redirection;
mod sockets;

pub use canaries::{Canary, Scene, canaries};
pub use counters::Counters;
pub use error::Error;
pub use listener::listener_of;
pub use probe::probe;
pub use redirection::{OUTBOUND_PORT, Pods, Redirection};
pub use sockets::{MOST_UNREAD, SocketToSocket};

/// How large the tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of the application that are open, or being opened, at one time. More than 65 535 to one address is
    /// more than TCP can have.
    pub connections: u32,
}

impl Default for Limits {
    /// Twice what the lab's largest scenario holds open: 10 000.
    fn default() -> Self {
        Self { connections: 20_000 }
    }
}
