//! System calls but those of a list. Others fail with EPERM.
//!
//! Not on it, among others: whatever makes sockets or binds them, executes, traces, signals, mounts, makes memory executable,
//! or loads programs into the kernel. Sockets come over the link to the keeper.

use std::{collections::BTreeMap, env::consts::ARCH};

use libc::{c_int, c_long};
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// A system call of the list.
struct Call {
    #[cfg(test)]
    name: &'static str,
    number: c_long,
    /// Any of these must be met; none means always.
    only: &'static [&'static [Argument]],
}

/// What the bits `mask` of an argument must be.
struct Argument {
    place: u8,
    mask: u32,
    value: u32,
}

const fn is(place: u8, value: c_int) -> Argument {
    Argument { place, mask: u32::MAX, value: value.cast_unsigned() }
}

const fn lacks(place: u8, bits: c_int) -> Argument {
    Argument { place, mask: bits.cast_unsigned(), value: 0 }
}

const NEW_NAMESPACES: c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;
/// Threads yes, processes no.
const THREAD: c_int = libc::CLONE_THREAD | libc::CLONE_VM;
const A_THREAD: Argument =
    Argument { place: 0, mask: (THREAD | NEW_NAMESPACES).cast_unsigned(), value: THREAD.cast_unsigned() };
/// Files can be looked for and read, if Landlock lets them.
const TO_READ: Argument = lacks(2, libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC);
const NOT_EXECUTABLE: Argument = lacks(2, libc::PROT_EXEC);

macro_rules! calls {
    ($($name:ident $([$($only:expr),+])?),+ $(,)?) => {
        [$(Call { #[cfg(test)] name: stringify!($name), number: libc::$name, only: &[$($(&$only),+)?] }),+]
    };
}

/// Of every architecture.
const CALLS: &[Call] = &calls![
    // Connections.
    SYS_accept4,
    SYS_connect,
    SYS_getpeername,
    SYS_getsockname,
    SYS_getsockopt,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_sendmsg,
    SYS_sendto,
    SYS_setsockopt[
        [is(1, libc::IPPROTO_TCP), is(2, libc::TCP_NODELAY)],
        [is(1, libc::IPPROTO_TCP), is(2, libc::TCP_CORK)],
        [is(1, libc::IPPROTO_TCP), is(2, libc::TCP_QUICKACK)],
        [is(1, libc::IPPROTO_TCP), is(2, libc::TCP_KEEPIDLE)],
        [is(1, libc::IPPROTO_TCP), is(2, libc::TCP_KEEPINTVL)],
        [is(1, libc::IPPROTO_TCP), is(2, libc::TCP_KEEPCNT)],
        [is(1, libc::IPPROTO_TCP), is(2, libc::TCP_USER_TIMEOUT)],
        [is(1, libc::IPPROTO_TCP), is(2, libc::TCP_NOTSENT_LOWAT)],
        [is(1, libc::SOL_SOCKET), is(2, libc::SO_KEEPALIVE)],
        [is(1, libc::SOL_SOCKET), is(2, libc::SO_LINGER)],
        [is(1, libc::SOL_SOCKET), is(2, libc::SO_RCVBUF)],
        [is(1, libc::SOL_SOCKET), is(2, libc::SO_SNDBUF)]
    ],
    // Not of reading: of a listener, which all proxies share, it would be the end.
    SYS_shutdown[[is(1, libc::SHUT_WR)]],
    // Bytes.
    SYS_pipe2,
    SYS_read,
    SYS_readv,
    SYS_splice,
    SYS_write,
    SYS_writev,
    // Descriptors.
    SYS_close,
    SYS_fcntl[
        [is(1, libc::F_GETFD)],
        [is(1, libc::F_SETFD)],
        [is(1, libc::F_GETFL)],
        [is(1, libc::F_SETFL)],
        [is(1, libc::F_DUPFD_CLOEXEC)],
        [is(1, libc::F_GETPIPE_SZ)],
        [is(1, libc::F_SETPIPE_SZ)]
    ],
    SYS_ioctl[[is(1, libc::FIONBIO as c_int)]],
    // The snapshot.
    SYS_fstat,
    SYS_lseek,
    SYS_newfstatat,
    SYS_openat[[TO_READ]],
    SYS_statx,
    // Waiting.
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_eventfd2,
    SYS_nanosleep,
    SYS_ppoll,
    SYS_restart_syscall,
    // Memory.
    SYS_brk,
    SYS_madvise,
    SYS_mmap[[NOT_EXECUTABLE]],
    SYS_mprotect[[NOT_EXECUTABLE]],
    SYS_mremap,
    SYS_munmap,
    // Threads, signals that come, the end.
    SYS_clone[[A_THREAD]],
    SYS_exit,
    SYS_exit_group,
    SYS_futex,
    SYS_getpid,
    SYS_getrandom,
    SYS_gettid,
    SYS_rseq,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sched_getaffinity,
    SYS_sched_setaffinity[[is(0, 0)]],
    SYS_sched_yield,
    SYS_set_robust_list,
    SYS_sigaltstack,
    SYS_prctl[[is(0, libc::PR_SET_NAME)], [is(0, libc::PR_SET_NO_NEW_PRIVS)]],
    // Its own limits.
    SYS_prlimit64[[is(0, 0)]],
    SYS_seccomp,
];

/// Those that newer architectures have no more.
#[cfg(target_arch = "x86_64")]
const OLDER_CALLS: &[Call] = &calls![SYS_epoll_wait, SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const OLDER_CALLS: &[Call] = &[];

/// Leaves the calling thread, and those that it starts, the calls of the list.
pub(super) fn give_up() -> Result<(), Error> {
    apply_filter(&list()?)?;
    apply_filter(&no_clone3()?)
}

fn list() -> Result<BpfProgram, Error> {
    let mut rules = BTreeMap::new();
    for call in CALLS.iter().chain(OLDER_CALLS) {
        let mut alternatives = Vec::new();
        for arguments in call.only {
            let conditions = arguments.iter().map(|argument| {
                let test = SeccompCmpOp::MaskedEq(argument.mask.into());
                SeccompCondition::new(argument.place, SeccompCmpArgLen::Dword, test, argument.value.into())
            });
            alternatives.push(SeccompRule::new(conditions.collect::<Result<_, _>>()?)?);
        }
        rules.insert(call.number, alternatives);
    }
    program(rules, SeccompAction::Errno(libc::EPERM.cast_unsigned()), SeccompAction::Allow)
}

/// `clone3` hides its flags behind a pointer. The C library takes `clone` where there is none; of two filters that refuse, the
/// later one's word counts.
fn no_clone3() -> Result<BpfProgram, Error> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    program(rules, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.cast_unsigned()))
}

fn program(
    rules: BTreeMap<c_long, Vec<SeccompRule>>,
    others: SeccompAction,
    these: SeccompAction,
) -> Result<BpfProgram, Error> {
    let architecture: TargetArch = ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, others, these, architecture)?.try_into()?)
}

#[cfg(test)]
#[path = "calls/tests.rs"]
mod tests;
