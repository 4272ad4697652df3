//! What the proxy gives up before it reads the first byte of a caller's: everything that it does not need.
//!
//! The keeper starts it without capabilities, as a user of its own, where no network is. What it could still do it takes from
//! itself: files but its snapshot (Landlock), and system calls but those of a fixed list (seccomp). Neither can be undone.

use std::path::Path;

use thiserror::Error;

mod calls;
mod files;

/// Why something could not be given up.
#[derive(Debug, Error)]
pub enum ConfineError {
    /// Files.
    #[error("files: {0}; Wabe needs a kernel of 5.19 or later with Landlock")]
    Files(#[from] landlock::RulesetError),
    /// The snapshot's folder, which is to stay readable.
    #[error("the folder of its snapshot: {0}")]
    Folder(#[from] landlock::PathFdError),
    /// System calls.
    #[error("system calls: {0}; Wabe needs a kernel with CONFIG_SECCOMP_FILTER")]
    Calls(#[from] seccompiler::Error),
}

/// Takes from the calling thread, and from threads and processes that it will start, every file but those in the folder of
/// `snapshot` and every system call that serving does not need. Threads that run already keep what they have: workers are
/// started afterwards, for which the list has `clone` of threads, and nothing else that only they need.
///
/// # Errors
/// The kernel can't do it. A part may have been done.
pub fn confine(snapshot: &Path) -> Result<(), ConfineError> {
    files::give_up(snapshot.parent().unwrap_or(Path::new("/")))?;
    calls::give_up()?;
    Ok(())
}
