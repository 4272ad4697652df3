//! Addresses in the context of the `cgroup/connect` family of hooks.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::bpf_sock,
    helpers::generated::{bpf_get_socket_cookie, bpf_setsockopt},
    programs::SockAddrContext,
};
use wabe_abi::{Be16, Ip};

/// Which of a hook's two forms runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// The address and port that the application named, or that it will be shown.
#[inline(always)]
pub fn named(ctx: &SockAddrContext, family: Family) -> (Ip, Be16) {
    // SAFETY: the context is valid while the program runs.
    let address = unsafe { &*ctx.sock_addr };
    let ip = match family {
        Family::V4 => Ip::v4(address.user_ip4),
        Family::V6 => {
            let words = &address.user_ip6;
            Ip::v6([words[0], words[1], words[2], words[3]])
        }
    };
    (ip, Be16::from_network(address.user_port as u16))
}

/// Puts another address and port in its place. An IPv4 address in the IPv6 form of a hook stays a mapped one.
#[inline(always)]
pub fn rename(ctx: &SockAddrContext, family: Family, ip: &Ip, port: Be16) {
    // SAFETY: the context is valid while the program runs, and the hook may write these fields.
    let address = unsafe { &mut *ctx.sock_addr };
    match family {
        Family::V4 => address.user_ip4 = ip.words[3].network(),
        Family::V6 => {
            address.user_ip6[0] = ip.words[0].network();
            address.user_ip6[1] = ip.words[1].network();
            address.user_ip6[2] = ip.words[2].network();
            address.user_ip6[3] = ip.words[3].network();
        }
    }
    address.user_port = port.network().into();
}

/// The socket.
#[inline(always)]
pub fn socket(ctx: &SockAddrContext) -> *mut c_void {
    // SAFETY: the context is valid while the program runs.
    unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk.cast() }
}

/// The socket's own port; 0 if it has none yet.
#[inline(always)]
pub fn own_port(ctx: &SockAddrContext) -> Be16 {
    // SAFETY: a socket of the context. In host order.
    Be16::new(sock(ctx).map_or(0, |socket| unsafe { (*socket).src_port } as u16))
}

/// The port that the socket is connected to; 0 if it is not.
#[inline(always)]
pub fn peer_port(ctx: &SockAddrContext) -> Be16 {
    // SAFETY: a socket of the context.
    Be16::from_network(sock(ctx).map_or(0, |socket| unsafe { (*socket).dst_port }))
}

#[inline(always)]
fn sock(ctx: &SockAddrContext) -> Option<*mut bpf_sock> {
    // SAFETY: the context is valid while the program runs.
    let socket = unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk };
    (!socket.is_null()).then_some(socket)
}

/// The socket's cookie.
#[inline(always)]
pub fn cookie(ctx: &SockAddrContext) -> u64 {
    // SAFETY: the helper takes the hook's context.
    unsafe { bpf_get_socket_cookie(ctx.sock_addr.cast()) }
}

/// The transport protocol's number.
#[inline(always)]
pub fn protocol(ctx: &SockAddrContext) -> u8 {
    // SAFETY: the context is valid while the program runs.
    unsafe { (*ctx.sock_addr).protocol as u8 }
}

/// Sets the mark that the socket's packets are routed by. `false` if the kernel refuses.
#[inline(always)]
pub fn set_mark(ctx: &SockAddrContext, mut value: u32) -> bool {
    const SOL_SOCKET: i32 = 1;
    const SO_MARK: i32 = 36;
    // SAFETY: the helper takes the hook's context; the value is on the stack and four bytes long.
    let result =
        unsafe { bpf_setsockopt(ctx.sock_addr.cast(), SOL_SOCKET, SO_MARK, (&raw mut value).cast(), 4) };
    result == 0
}

/// The mark that the socket's packets are routed by; 0 if it has none.
#[inline(always)]
pub fn marked(ctx: &SockAddrContext) -> u32 {
    // SAFETY: a socket of the context.
    sock(ctx).map_or(0, |socket| unsafe { (*socket).mark })
}

/// The socket's priority, which says what [`wabe_abi::mark::priority`] does.
#[inline(always)]
pub fn priority(ctx: &SockAddrContext) -> u32 {
    // SAFETY: a socket of the context.
    sock(ctx).map_or(0, |socket| unsafe { (*socket).priority })
}
