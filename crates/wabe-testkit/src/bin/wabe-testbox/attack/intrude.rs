//! Another process: what can be done to it from here.

use std::{
    fs::{self, File},
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

use anyhow::Result;

use crate::{args::Args, report};

/// `intrude PID`: tries to signal, trace, read and rob that process. Nothing is done to it: the signal is number 0, and
/// a tracer's end releases it.
pub(crate) fn intrude(args: &mut Args) -> Result<()> {
    let pid: libc::pid_t = args.word("a process id")?.parse()?;
    // SAFETY: no memory is passed.
    let signalled = outcome(unsafe { libc::kill(pid, 0) }.into());
    report::line(&report::attempt("signal", &signalled));
    // SAFETY: PTRACE_SEIZE reads and writes no memory of ours.
    let traced = unsafe {
        libc::ptrace(libc::PTRACE_SEIZE, pid, std::ptr::null_mut::<u8>(), std::ptr::null_mut::<u8>())
    };
    report::line(&report::attempt("trace", &outcome(traced)));
    report::line(&report::attempt("memory", &File::open(format!("/proc/{pid}/mem"))));
    report::line(&report::attempt("environment", &File::open(format!("/proc/{pid}/environ"))));
    report::line(&report::attempt("root", &fs::read_dir(format!("/proc/{pid}/root/"))));
    report::line(&report::attempt("descriptor", &descriptor(pid)));
    Ok(())
}

/// A copy of its descriptor 0.
fn descriptor(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let process = own(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: no memory is passed.
    own(unsafe { libc::syscall(libc::SYS_pidfd_getfd, std::os::fd::AsRawFd::as_raw_fd(&process), 0, 0) })
}

fn own(descriptor: libc::c_long) -> io::Result<OwnedFd> {
    outcome(descriptor)?;
    let descriptor = i32::try_from(descriptor).expect("invariant: descriptors are ints");
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn outcome(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
