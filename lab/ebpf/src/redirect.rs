//! The way to the sidecars: out by `connect()`, in by `sk_lookup`, and what `SO_ORIGINAL_DST` says in both.

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_sockopt,
    macros::{cgroup_sock_addr, cgroup_sockopt, sk_lookup},
    programs::{SkLookupContext, SockAddrContext, SockoptContext},
};

use crate::{
    settings::settings,
    tables::{Counter, LISTENER, ORIGINALS, Place, count, new_wanted},
};

/// 127.0.0.1, as in packets.
const LOOPBACK: u32 = u32::from_be_bytes([127, 0, 0, 1]).to_be();
/// `SOCK_STREAM`.
const STREAM: u32 = 1;
/// `AF_INET`.
const INET: u32 = 2;
/// `SOL_IP` and `SO_ORIGINAL_DST`: what redirection by iptables answers.
const SOL_IP: i32 = 0;
const SO_ORIGINAL_DST: i32 = 80;
/// Bytes of a `struct sockaddr_in`.
const SOCKADDR: usize = 16;

/// On the application: every connection that leaves the pod goes to Envoy.
#[cgroup_sock_addr(connect4)]
pub fn lab_connect4(ctx: SockAddrContext) -> i32 {
    const ALLOW: i32 = 1;
    // SAFETY: the context is valid while the program runs.
    let (address, port, kind) =
        unsafe { ((*ctx.sock_addr).user_ip4, (*ctx.sock_addr).user_port, (*ctx.sock_addr).type_) };
    if kind != STREAM || address.to_ne_bytes()[0] == 127 {
        return ALLOW;
    }
    // SAFETY: as above.
    let socket = unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk };
    let Some(wanted) = new_wanted(socket.cast()) else {
        count(Counter::Full);
        return 0;
    };
    *wanted = Place { address, port };
    // SAFETY: as above; the verifier lets these two fields be written.
    unsafe {
        (&raw mut (*ctx.sock_addr).user_ip4).write_volatile(LOOPBACK);
        (&raw mut (*ctx.sock_addr).user_port).write_volatile((settings().outbound as u16).to_be().into());
    }
    count(Counter::Redirected);
    ALLOW
}

/// In the server's namespace: who comes for the application from outside gets Envoy, with the destination intact.
#[sk_lookup]
pub fn lab_lookup(ctx: SkLookupContext) -> u32 {
    const PASS: u32 = 1;
    const DROP: u32 = 0;
    // SAFETY: the context is valid while the program runs.
    let (family, port, local, remote) = unsafe {
        ((*ctx.lookup).family, (*ctx.lookup).local_port, (*ctx.lookup).local_ip4, (*ctx.lookup).remote_ip4)
    };
    // The pod's own connections, Envoy's to the application above all. Their interface does not tell: for the pod's own
    // address the kernel names that of the address, though packets pass over `lo`.
    let own = remote == local || remote.to_ne_bytes()[0] == 127;
    if family != INET || port != settings().application || own {
        return PASS;
    }
    if LISTENER.redirect_sk_lookup(&ctx, 0, 0).is_err() {
        return DROP;
    }
    count(Counter::Steered);
    PASS
}

/// On both Envoys: the original destination of a connection that they accepted.
#[cgroup_sockopt(getsockopt)]
pub fn lab_getsockopt(ctx: SockoptContext) -> i32 {
    const OTHERWISE: i32 = 1;
    let context: *mut bpf_sockopt = ctx.as_ptr().cast();
    // SAFETY: the context is valid while the program runs.
    let (level, name) = unsafe { ((*context).level, (*context).optname) };
    if level != SOL_IP || name != SO_ORIGINAL_DST {
        return OTHERWISE;
    }
    // SAFETY: as above.
    let (socket, value, end) = unsafe {
        (
            (*context).__bindgen_anon_1.sk,
            (*context).__bindgen_anon_2.optval.cast::<u8>(),
            (*context).__bindgen_anon_3.optval_end.cast::<u8>(),
        )
    };
    if socket.is_null() {
        return OTHERWISE;
    }
    // SAFETY: `sk` is a socket while the program runs, and not null.
    let (remote, local) = unsafe {
        (
            Place { address: (*socket).dst_ip4, port: (*socket).dst_port.into() },
            Place { address: (*socket).src_ip4, port: ((*socket).src_port as u16).to_be().into() },
        )
    };
    // Who was not redirected is where it wanted to be: steering leaves the destination as it is.
    // SAFETY: the value is only copied.
    let wanted = unsafe { ORIGINALS.get(&remote) }.copied().unwrap_or(local);
    if value as usize + SOCKADDR > end as usize {
        return OTHERWISE;
    }
    // SAFETY: the comparison before shows that the buffer has room.
    unsafe {
        value.cast::<u16>().write_unaligned(INET as u16);
        value.add(2).cast::<u16>().write_unaligned(wanted.port as u16);
        value.add(4).cast::<u32>().write_unaligned(wanted.address);
        value.add(8).cast::<u64>().write_unaligned(0);
        // Volatile, because the compiler would else write both at once, which the verifier refuses for a context.
        (&raw mut (*context).optlen).write_volatile(SOCKADDR as i32);
        (&raw mut (*context).retval).write_volatile(0);
    }
    count(Counter::Answered);
    OTHERWISE
}
