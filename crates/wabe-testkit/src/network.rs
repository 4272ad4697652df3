//! Network namespaces.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{fs::MetadataExt as _, process::CommandExt as _},
    },
    process::{self, Command},
    thread,
};

use crate::system::check;

/// A network namespace, kept alive by a descriptor. It goes when the last process in it and this value are gone.
#[derive(Debug)]
pub struct NetworkNamespace {
    file: File,
}

impl NetworkNamespace {
    /// A new one, with nothing in it but `lo`, which is up.
    ///
    /// # Errors
    /// `EPERM` without CAP_SYS_ADMIN.
    pub fn fresh() -> io::Result<Self> {
        // A thread of its own, because the caller is to stay where it is.
        let maker = thread::spawn(|| {
            // SAFETY: no memory is passed.
            check(unsafe { libc::unshare(libc::CLONE_NEWNET) }.into())?;
            raise_loopback()?;
            Self::current()
        });
        maker.join().expect("invariant: the maker does not panic")
    }

    /// The one that this thread is in.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn current() -> io::Result<Self> {
        Ok(Self { file: File::open("/proc/thread-self/ns/net")? })
    }

    /// The one that this process is in.
    ///
    /// # Errors
    /// It has ended.
    pub fn of_process(pid: u64) -> io::Result<Self> {
        Ok(Self { file: File::open(format!("/proc/{pid}/ns/net"))? })
    }

    /// Its number, as `ls -l /proc/self/ns/net` shows it.
    pub fn number(&self) -> u64 {
        self.file.metadata().expect("invariant: an open namespace has metadata").ino()
    }

    /// A path by which other processes may enter it while this one lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.file.as_raw_fd())
    }

    /// Runs `work` in it, on a thread that ends with it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter(self.file.as_raw_fd()).expect("a thread of root may enter a namespace");
                work()
            });
            match inside.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Makes `command` start in it, as from a terminal: Ctrl-C ends it until it sees to that itself. (Shells have their
    /// background jobs ignore it, and who starts from one inherits that.)
    pub fn put(&self, command: &mut Command) {
        let file = self.file.try_clone().expect("a descriptor to spare");
        let prepare = move || {
            // SAFETY: no memory is passed, and the default needs no handler.
            unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
            enter(file.as_raw_fd())
        };
        // SAFETY: signal and setns are async-signal-safe, and the closure allocates nothing.
        unsafe { command.pre_exec(prepare) };
    }
}

fn enter(descriptor: i32) -> io::Result<()> {
    // SAFETY: no memory is passed; a descriptor that is no namespace gives EINVAL.
    check(unsafe { libc::setns(descriptor, libc::CLONE_NEWNET) }.into()).map(drop)
}

fn raise_loopback() -> io::Result<()> {
    // SAFETY: no memory is passed.
    let socket =
        check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    // SAFETY: the descriptor was just made and nobody else has it.
    let socket =
        unsafe { OwnedFd::from_raw_fd(i32::try_from(socket).expect("invariant: descriptors are ints")) };
    // SAFETY: an all-zero ifreq is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags =
        i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).expect("invariant: low flags");
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which lives until the call returns.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into()).map(drop)
}
