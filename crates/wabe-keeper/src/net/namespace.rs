//! Network namespaces: making them, and doing things inside.
//!
//! A namespace belongs to a thread, and one that has left its own would take it along to whatever runs on it next:
//! so each of these functions uses a thread of its own, which ends with it.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// Makes a network namespace and runs `setup` inside. It exists as long as the descriptor, a process or a socket in
/// it does.
pub(crate) fn create<T: Send>(setup: impl FnOnce() -> T + Send) -> io::Result<(OwnedFd, T)> {
    in_thread(|| {
        #[expect(
            deprecated,
            reason = "its unsafe twin is needed for CLONE_FILES only, which breaks I/O safety"
        )]
        rustix::thread::unshare(UnshareFlags::NEWNET)?;
        Ok((current()?, setup()))
    })
}

/// Runs `work` inside a network namespace.
pub(crate) fn enter<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    in_thread(|| {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(work())
    })
}

/// The calling thread's network namespace.
pub(crate) fn current() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

fn in_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".into()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
