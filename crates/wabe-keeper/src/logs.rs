//! What workloads print: files of at most 10 MiB, the newest and three older ones.
//!
//! The lines are kept as they were printed, without a time of ours. `name.log` is the newest file, `name.log.1` the one
//! before it, and so on; a line is never cut by the change of file unless it is longer than a file.

mod follow;
mod pump;
mod rotate;

pub use follow::{Follow, read, read_on};
pub(crate) use pump::Pump;

/// Bytes after which a file is full.
pub(crate) const FULL: u64 = 10 << 20;

/// How many full files are kept.
const KEPT: u32 = 3;
