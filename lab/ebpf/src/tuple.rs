//! The two ends of a connection, as one of them sees it.

use aya_ebpf::{
    bindings::{bpf_sock, bpf_sock_ops},
    helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    programs::SockOpsContext,
};

/// `AF_INET` and `AF_INET6`.
const INET: u32 = 2;
const INET6: u32 = 10;
/// The third word of an IPv4 address in IPv6 form, in network order.
const MAPPED: u32 = 0xffff_0000;

/// From one end to the other.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tuple {
    /// Both in network order.
    pub source: u32,
    pub destination: u32,
    /// Both in host order.
    pub source_port: u16,
    pub destination_port: u16,
    padding: u32,
    /// The network namespace, if the addresses mean something in it only; else 0.
    pub namespace: u64,
}

impl Tuple {
    /// As the other end sees it.
    #[inline(always)]
    pub fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            padding: 0,
            namespace: self.namespace,
        }
    }
}

/// The connection from this socket's end, if it is one of IPv4.
#[inline(always)]
pub fn outgoing(ctx: &SockOpsContext) -> Option<Tuple> {
    // SAFETY: the context is valid while the program runs.
    let ops: &bpf_sock_ops = unsafe { &*ctx.ops };
    let mapped = ops.family == INET6
        && ops.remote_ip6[0] == 0
        && ops.remote_ip6[1] == 0
        && ops.remote_ip6[2] == MAPPED;
    if ops.family != INET && !mapped {
        return None;
    }
    let (source, destination) = (ops.local_ip4, ops.remote_ip4);
    // Both ends of a connection that has a loopback address are in one namespace.
    let namespace = if is_loopback(source) || is_loopback(destination) {
        // SAFETY: the helper takes the hook's context.
        unsafe { bpf_get_netns_cookie(ctx.ops.cast()) }
    } else {
        0
    };
    Some(Tuple {
        source,
        destination,
        source_port: ops.local_port as u16,
        // The port is in the upper half of a word in network order.
        destination_port: u32::from_be(ops.remote_port) as u16,
        padding: 0,
        namespace,
    })
}

/// Whether an address in network order is in 127.0.0.0/8.
#[inline(always)]
pub fn is_loopback(address: u32) -> bool {
    address.to_ne_bytes()[0] == 127
}

/// The number that no other socket has, or will have.
#[inline(always)]
pub fn cookie(ctx: &SockOpsContext) -> u64 {
    // SAFETY: the helper takes the hook's context.
    unsafe { bpf_get_socket_cookie(ctx.ops.cast()) }
}

/// The socket; may be null.
#[inline(always)]
pub fn socket(ctx: &SockOpsContext) -> *mut bpf_sock {
    // SAFETY: the context is valid while the program runs.
    unsafe { (*ctx.ops).__bindgen_anon_2.sk }
}
