//! `wabe proxy`: looks at requests to services that have rules of layer 7, and takes each to where its rule says.
//!
//! It makes no socket and opens no file but its snapshot: the keeper gives it a listener inside each workload and sockets to
//! connect with on a workload's behalf, and the kernel judges those connections as the workload's own. Who calls is told by the
//! listener, what was dialled by the accepted socket; no header is believed. The agent writes the snapshot; this crate never
//! talks to it. `bin/wabe` (the role), the agent (the type [`Snapshot`], and what [`figures`] tell) and the fuzzers ([`detect`], [`sni`],
//! [`frames`], [`http2_frames`], [`fields`], [`figures::framed`]) may depend on it.
//!
//! One thread a worker, each with a runtime of its own (`workers`): a connection, and what is done for it, stays with one. What users'
//! numbers bound is counted for all workers together, by atomics and locks that are held for a moment; everything else is each
//! worker's. `serve` owns a caller's connection, `exchange` has one request answered: `route` decides what becomes of it,
//! `attempt` tries one endpoint, `body` carries what follows the heads. `upstream` owns connections to endpoints, `keeper` the
//! link that sockets come over, `bounds` what callers are granted, `confine` what is given up at the start, `drain` the end.
#![forbid(unsafe_code)]

mod access;
mod answer;
mod attempt;
mod balance;
mod body;
mod bounds;
mod confine;
mod cors;
pub mod detect;
mod drain;
mod exchange;
mod failure;
pub mod fields;
pub mod figures;
mod filter;
pub mod foresee;
mod forward;
mod gather;
mod grpc;
mod guard;
mod head;
pub mod http2_frames;
mod identity;
mod keeper;
mod locked;
mod mirror;
mod policy;
mod replay;
mod route;
mod run;
mod search;
mod serve;
mod snapshot;
pub mod sni;
mod tunnel;
mod upstream;
mod websocket;
mod wire;
mod workers;
mod world;

pub use bounds::Bounds;
pub use confine::{ConfineError, confine};
pub use drain::DRAIN;
pub use run::{Options, ProxyError, run};
pub use snapshot::{
    BackendFacts, EndpointFacts, JudgedFacts, ServiceFacts, Snapshot, Speaks, TrafficPolicy, WorkloadFacts,
};
pub use websocket::frames;
