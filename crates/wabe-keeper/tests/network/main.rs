//! The network of a mesh, live: in network namespaces of the tests' own, each with a "host" of its own.
//!
//! Needs root; without it every test here fails.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "in tests")]

mod diag;
mod egress;
mod gate;
mod ranges;
mod sweep;
mod traffic;
mod world;
