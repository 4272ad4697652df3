//! The lab: every data path of a service mesh side by side on one machine, with statistics that survive a noisy host.
//!
//! It makes namespaces, cgroups and processes of its own, loads them in interleaved rounds, writes `results.json`, and
//! leaves nothing else. It measures meshes from outside, by the command line of `wabe`, and depends on no crate of the
//! mesh; only the command line depends on it. It never judges Wabe kindly: what is not measured is not said.

pub mod load;
pub mod report;
pub mod results;
pub mod stats;
