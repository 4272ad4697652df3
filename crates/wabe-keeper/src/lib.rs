//! The part of the mesh that must outlive its agent: namespaces, sockets and processes.
//!
//! The keeper is the parent of the workloads (and of agent, dns and proxy): it makes their cgroups and network namespaces,
//! starts them confined, restarts them, probes them, and writes what they print to files. It parses neither manifests
//! nor anything that comes from the network, takes no decision about connections, and doesn't know what a service is.
//! It speaks one protocol (`protocol`), with root only, over a socket in the file system.
//!
//! `wabe-agent` and the command line may depend on it. Of the mesh's crates it depends on `wabe-abi` only, for the marks of
//! the proxy's sockets, which the programs know: it outlives agents of other versions.
#![forbid(unsafe_code)]

pub mod cgroup;
pub mod client;
pub mod confine;
pub mod diag;
pub mod layout;
pub mod logs;
pub mod net;
pub mod protocol;
pub mod ranges;
pub mod sweep;

mod keeper;
mod probe;
mod server;
mod succession;
mod supervise;
mod vend;
mod wire;

pub use keeper::{KeeperError, Programs, resume_keeper, run_keeper};
pub use succession::rehearsal;
