//! A real keeper with real workloads: how they live, what they can reach, and that nothing is left of them.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "in tests")]

mod confinement;
mod exec;
mod fixture;
mod life;
mod output;
mod readiness;
mod roles;
mod shutdown;
mod socket;
