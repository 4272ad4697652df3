//! The kernel's side of the mesh as seen from user space: loads the eBPF object, pins and attaches it, and reads and
//! writes its maps with the types of `wabe-abi`.
//!
//! The only crate that uses aya or raw `bpf(2)`. It decides nothing: what to write is the agent's business, what a
//! table means is `wabe-verdict`'s. The agent and `wabe explain` (read only) depend on it.

mod attach;
mod batch;
mod error;
mod events;
mod features;
mod inspect;
mod kernel;
mod object;
mod pinned;
mod pins;
mod probe;
mod sizes;
mod sys;
mod wire;
mod write;

pub use error::Error;
pub use events::{Events, decode};
pub use features::{KERNEL_FEATURES, KernelFeature, LANES, Otherwise};
pub use inspect::{Attachment, AttachmentState, Guarded, attachments, foreign};
pub use kernel::{Kernel, LoadOptions, MapUse};
pub use object::{OBJECT, programs};
pub use pinned::Pinned;
pub use probe::{Feature, lacking, probe};
pub use sizes::Sizes;
pub use write::Write;
