//! The brains of a mesh on one node: users' objects become a snapshot, a snapshot a plan, a plan changes in the kernel.
//!
//! Fetch, compute, execute: `snapshot` and `plan` are pure functions, `reconcile` is the only place with effects, and
//! it sees the kernel and the keeper through two small traits ([`Datapath`], [`Supervisor`]), so that all of it runs in
//! a test without either. It never parses manifests, never starts a process and never opens a workload's socket
//! itself: that is the keeper's part. It may be dead for hours; what it leaves in the kernel and in its files goes on
//! working without it. Only `bin/wabe` depends on this crate, and `fuzz`.
#![forbid(unsafe_code)]

mod agent;
mod alias;
pub mod api;
mod balance;
mod datagrams;
mod datapath;
pub mod explain;
pub mod figures;
pub mod flows;
mod instance_spec;
mod judged;
mod layer7;
mod metrics;
mod mirror;
mod names;
mod plan;
mod preview;
mod published;
mod reconcile;
mod rollout;
mod simulation;
mod sizes;
mod snapshot;
mod state;
mod supervisor;
#[cfg(test)]
mod testing;
mod timers;

pub use agent::{AgentError, run};
pub use preview::preview;
pub use published::{Published, PublishedService, PublishedWorkload};
