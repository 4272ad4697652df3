//! `getsockopt(SOL_IP, SO_ORIGINAL_DST)`: what conntrack tells after a REDIRECT.
//!
//! The kernel has failed before the program runs, for want of conntrack; the program's answer replaces that. All other
//! options, and sockets that were not led here, keep the kernel's.

use aya_ebpf::{bindings::bpf_sock, macros::cgroup_sockopt, programs::SockoptContext};

use crate::{
    count, counter,
    origin::{self, Origin},
    setting,
};

const SOL_IP: i32 = 0;
const SO_ORIGINAL_DST: i32 = 80;
const INET: u16 = 2;

/// `struct sockaddr_in`.
#[repr(C)]
struct SocketAddress {
    family: u16,
    port: u16,
    address: u32,
    zero: u64,
}

/// At the caller's sidecar: what the application asked for.
#[cgroup_sockopt(getsockopt)]
pub fn lab_outbound(ctx: SockoptContext) -> i32 {
    if let Some(socket) = asked(&ctx)
        && let Some(origin) = origin::of(socket, 0)
        && origin.address != 0
    {
        answer(&ctx, *origin);
    }
    1
}

/// At the workload's sidecar: the socket's own address, since nothing was rewritten.
#[cgroup_sockopt(getsockopt)]
pub fn lab_inbound(ctx: SockoptContext) -> i32 {
    if let Some(socket) = asked(&ctx) {
        // SAFETY: a socket of the context, not null.
        let (address, port) = unsafe { ((*socket).src_ip4, (*socket).src_port) };
        if address == setting::server_address() && port == setting::server_port() {
            answer(&ctx, Origin { address, port: (port as u16).to_be().into() });
        }
    }
    1
}

/// The socket, if that is the question.
#[inline(always)]
fn asked(ctx: &SockoptContext) -> Option<*mut bpf_sock> {
    // SAFETY: the context is valid while the program runs.
    let (level, option, socket) =
        unsafe { ((*ctx.sockopt).level, (*ctx.sockopt).optname, (*ctx.sockopt).__bindgen_anon_1.sk) };
    (level == SOL_IP && option == SO_ORIGINAL_DST && !socket.is_null()).then_some(socket)
}

#[inline(always)]
fn answer(ctx: &SockoptContext, origin: Origin) {
    // SAFETY: the context is valid while the program runs.
    let (start, end) = unsafe {
        (
            (*ctx.sockopt).__bindgen_anon_2.optval.cast::<SocketAddress>(),
            (*ctx.sockopt).__bindgen_anon_3.optval_end.cast::<SocketAddress>(),
        )
    };
    if start.wrapping_add(1) > end {
        return;
    }
    // SAFETY: the buffer was just found to be large enough; length and result may be written by this hook. Volatile,
    // because the compiler would else write both at once, which the verifier refuses for a context.
    unsafe {
        *start = SocketAddress { family: INET, port: origin.port as u16, address: origin.address, zero: 0 };
        (&raw mut (*ctx.sockopt).optlen).write_volatile(size_of::<SocketAddress>() as i32);
        (&raw mut (*ctx.sockopt).retval).write_volatile(0);
    }
    count(counter::ANSWERED);
}
