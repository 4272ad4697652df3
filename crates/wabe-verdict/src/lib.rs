//! The decisions of the data plane as pure functions: what becomes of a connection, at the caller's side and at the
//! receiver's, and which endpoint it goes to.
//!
//! Compiled into the eBPF programs and on the host, so that the kernel, the agent, `wabe explain` and the tests
//! cannot disagree. Reads tables through [`Tables`]; writes nothing but turns, affinities and the times when a next
//! connection is due; never does I/O, never allocates. Everything that the kernel runs is `#[inline(always)]`: BPF-to-BPF
//! calls pass at most five registers.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod authorize;
mod balance;
mod datagram;
mod departure;
#[cfg(test)]
mod fake;
mod flow;
mod inbound;
mod limits;
mod outbound;
mod socket;
mod tables;

pub use authorize::{Authorization, authorize, unjudged};
pub use balance::{Draw, choose, client_hash, less_loaded, nearest};
pub use datagram::{Allowed, Passage, passage};
pub use departure::{Departure, departure, refuse_arrival};
pub use flow::{payload, reset, tcp_state};
pub use inbound::{Arrival, Inbound, inbound};
pub use limits::Side;
pub use outbound::{Caller, Outbound, Target, outbound};
pub use socket::{Creation, creation};
pub use tables::{Row, Tables};
