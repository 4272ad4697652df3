//! `sockops`: notes where redirected connections wanted to go, and which sockets there are.

use aya_ebpf::{
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
        BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB,
    },
    helpers::generated::{bpf_get_socket_cookie, bpf_skc_to_tcp_sock},
    macros::sock_ops,
    programs::SockOpsContext,
};

use crate::{
    settings::settings,
    tables::{ADDRESSES, Counter, End, ORIGINALS, Place, SOCKETS, Socket, count, wanted},
};

/// `TCP_CLOSE`.
const CLOSE: u32 = 7;
/// `AF_INET`.
const INET: u32 = 2;

#[sock_ops]
pub fn lab_sockops(ctx: SockOpsContext) -> u32 {
    if ctx.family() != INET {
        return 0;
    }
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => begin(&ctx),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB | BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => established(&ctx),
        BPF_SOCK_OPS_STATE_CB if ctx.arg(1) == CLOSE => closed(&ctx),
        _ => {}
    }
    0
}

/// The source is final and the SYN has not left, so Envoy can't ask too early.
#[inline(always)]
fn begin(ctx: &SockOpsContext) {
    // SAFETY: the context is valid while the program runs.
    let Some(wanted) = wanted(unsafe { (*ctx.ops).__bindgen_anon_2.sk }.cast()) else { return };
    let _ = ctx.set_cb_flags(BPF_SOCK_OPS_STATE_CB_FLAG as i32);
    // Without an entry Envoy gets its own address, and sends the connection nowhere.
    if ORIGINALS.insert(&end(ctx).local, &*wanted, 0).is_err() {
        count(Counter::Full);
    }
}

#[inline(always)]
fn established(ctx: &SockOpsContext) {
    if settings().sockmap == 0 {
        return;
    }
    // SAFETY: the context is valid while the program runs.
    let sk = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
    if sk.is_null() {
        return;
    }
    // SAFETY: `sk` is a socket of the context's, and not null.
    let address = unsafe { bpf_skc_to_tcp_sock(sk.cast()) } as u64;
    // SAFETY: the helper takes the context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.ops.cast()) };
    let mut end = end(ctx);
    if address == 0 {
        return;
    }
    let _ = ctx.set_cb_flags(BPF_SOCK_OPS_STATE_CB_FLAG as i32);
    // First the address: whoever finds the socket must be able to see how much it has not read.
    let known = ADDRESSES.insert(&end, &Socket { address, cookie }, 0).is_ok();
    // SAFETY: the context is valid while the program runs.
    if !known || SOCKETS.update(&mut end, unsafe { &mut *ctx.ops }, 0).is_err() {
        count(Counter::Full);
    }
}

/// The socket itself leaves its map by the kernel's hand.
#[inline(always)]
fn closed(ctx: &SockOpsContext) {
    let end = end(ctx);
    // What is not there can't be removed: most sockets are in one table only.
    let _ = ADDRESSES.remove(&end);
    // SAFETY: the context is valid while the program runs.
    if wanted(unsafe { (*ctx.ops).__bindgen_anon_2.sk }.cast()).is_some() {
        let _ = ORIGINALS.remove(&end.local);
    }
}

#[inline(always)]
fn end(ctx: &SockOpsContext) -> End {
    // The local port is in host order, the remote one in the upper half of a word in network order.
    End {
        local: Place { address: ctx.local_ip4(), port: (ctx.local_port() as u16).to_be().into() },
        remote: Place { address: ctx.remote_ip4(), port: remote_port(ctx.remote_port()) },
    }
}

/// A port as the context tells it, in network order, as the low half of a word.
#[inline(always)]
pub fn remote_port(port: u32) -> u32 {
    (u32::from_be(port) as u16).to_be().into()
}
