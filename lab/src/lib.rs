//! The lab: every data path of a service mesh side by side on one machine, with statistics that survive a noisy host.
//!
//! It makes namespaces, cgroups and processes of its own, loads them in interleaved rounds, writes `results.json`, and
//! leaves nothing else. It measures meshes from outside, by the command line of `wabe`, and depends on no crate of the
//! mesh; only the command line and the benchmark depend on it. It never judges Wabe kindly: what is not measured is not said.
#![forbid(unsafe_code)]

pub mod arm;
pub mod available;
pub mod check;
pub mod compare;
mod extras;
pub mod flood;
pub mod hold;
pub mod list;
pub mod load;
mod machine;
mod place;
pub mod report;
pub mod results;
mod rounds;
pub mod run;
pub mod scenario;
pub mod stats;
#[cfg(test)]
mod tests;
pub mod tools;
pub mod why;
pub mod world;
