//! What live tests need: a pretend machine to run a mesh on, a mesh that cleans up after itself, a count of what is
//! left behind, and (as the binary `wabe-testbox`) small programs to run inside workloads.
//!
//! Never touches the network namespace, cgroups or mounts that it did not make itself; what it removes by force is
//! found by the name of a test's mesh, `t-<pid>-<number>`. Unsafe code is here for system calls that the standard
//! library lacks. Only tests may depend on this crate.
//!
//! It panics rather than returning errors: a test has nobody to return them to, and the message carries the command
//! line to run again by hand. With `WABE_TEST_KEEP=1` a failed test waits before it tears its mesh down.

mod alone;
mod command;
mod force;
mod foreign;
mod inventory;
mod machine;
mod mesh;
mod name;
mod network;
mod running;
mod shared;
mod system;

pub use command::{Finished, PATIENCE, scaled};
pub use foreign::ForeignProgram;
pub use inventory::{Inventory, Thing};
pub use machine::{Machine, wabe};
pub use mesh::{TestMesh, testbox};
pub use network::NetworkNamespace;
pub use running::Running;
pub use shared::shared;
