//! `wabe dns`: answers the names of the mesh from the last snapshot and forwards every other name to the host's
//! nameservers.
//!
//! The agent writes [`Names`] into a file by `rename`; this crate reads that file and nothing else of the mesh, so
//! names are answered while the agent is dead. It never talks to the agent, never writes a file, needs no privilege,
//! and never sends a name of the cluster domain to the host's nameservers. `bin/wabe` (the role), the agent (the
//! type [`Names`]) and `fuzz` may depend on it.
//!
//! The decision is the pure function [`answer()`]; [`respond()`] wraps it from packet to packet and [`judge`] looks at what
//! nameservers reply, still without I/O; `server` and `forward` own the sockets.
//!
//! Times: records of the mesh live [`TTL`] seconds, negative answers [`NEGATIVE_TTL`]. Addresses of services hardly
//! ever change, those of headless services follow readiness; resolvers that cache are wrong for that long at most.
#![forbid(unsafe_code)]

mod answer;
mod forward;
mod index;
mod names;
mod quota;
mod records;
mod relay;
mod reply;
mod request;
mod resolv_conf;
mod respond;
mod reverse;
mod server;
mod tcp;
mod watched;

pub use answer::{Answer, answer};
pub use index::{Index, NamesError};
pub use names::{EndpointNames, Names, Port, ServiceNames, Transport};
pub use records::{NEGATIVE_TTL, TTL};
pub use relay::{Relay, judge};
pub use request::Asked;
pub use resolv_conf::SearchList;
pub use respond::{Carrier, Response, respond};
pub use server::{Options, run};
