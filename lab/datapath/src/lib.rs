//! The lab's own eBPF programs, seen from user space: loads them, attaches them to what the lab made, and counts.
//!
//! Merbridge's idea with programs of the lab's own: connections reach Envoy sidecars without iptables, and data goes from
//! socket to socket. They are not part of the mesh. Everything is attached by links that this process holds and nobody pins,
//! so a lab that is killed leaves nothing. With `wabe-datapath` this is the only crate that uses aya. Only the lab depends
//! on it.
#![forbid(unsafe_code)]

mod attach;
mod btf;
mod error;
mod listener;
mod target;

pub use attach::{Counters, Pods, Redirection, SocketToSocket};
pub use error::Error;

/// The compiled programs.
const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/wabe-lab.o"));
