//! Which two sockets are the ends of one connection.
//!
//! The caller's end is established first and writes itself down. The other end finds it there, and writes itself down
//! as this one's peer; the caller's end finds that when it next sends. Sockets are told by their cookies, which are
//! never used again, as tuples and addresses in the kernel are.

use core::ptr;

use aya_ebpf::{
    bindings::{
        BPF_ANY, BPF_SK_STORAGE_GET_F_CREATE, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB,
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, bpf_sock,
    },
    btf_maps::SkStorage,
    helpers::generated::{bpf_sk_storage_get, bpf_skc_to_tcp_sock},
    macros::{btf_map, map, sock_ops},
    maps::{HashMap, SockHash},
    programs::SockOpsContext,
};

use crate::{
    count, counter,
    tuple::{Tuple, cookie, outgoing, socket},
};

/// `TCP_CLOSE`, also on entering TIME_WAIT.
const CLOSE: u32 = 7;

/// One end, as the other end finds it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct End {
    /// In the kernel's memory.
    pub address: u64,
    pub cookie: u64,
    /// The cookie of the other end; 0 if this end came first.
    pub peer: u64,
}

/// What a socket knows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Own {
    pub address: u64,
    pub cookie: u64,
    /// Zero until it is known.
    pub peer_address: u64,
    pub peer_cookie: u64,
    /// Where to look for it.
    pub peer_tuple: Tuple,
}

#[map]
pub static ENDS: HashMap<Tuple, End> = HashMap::with_max_entries(131_072, 0);
/// By cookie.
#[map]
pub static SOCKETS: SockHash<u64> = SockHash::with_max_entries(131_072, 0);
#[btf_map]
static OWN: SkStorage<Own> = SkStorage::new();

#[sock_ops]
pub fn lab_pair(ctx: SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => established(&ctx, false),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => established(&ctx, true),
        BPF_SOCK_OPS_STATE_CB if ctx.arg(1) == CLOSE => closed(&ctx),
        _ => {}
    }
    0
}

#[inline(always)]
fn established(ctx: &SockOpsContext, accepted: bool) {
    let Some(tuple) = outgoing(ctx) else { return };
    let peer_tuple = tuple.reversed();
    let mut peer = End { address: 0, cookie: 0, peer: 0 };
    if accepted {
        // SAFETY: rows live while the program runs, and are written once.
        let Some(found) = (unsafe { ENDS.get(peer_tuple) }) else { return };
        peer = *found;
    }
    let sk = socket(ctx);
    if sk.is_null() {
        return;
    }
    // SAFETY: a socket of the context, not null.
    let address = unsafe { bpf_skc_to_tcp_sock(sk.cast()) } as u64;
    let cookie = cookie(ctx);
    let Some(own) = of(sk, BPF_SK_STORAGE_GET_F_CREATE.into()) else {
        count(counter::REFUSED);
        return;
    };
    *own = Own { address, cookie, peer_address: peer.address, peer_cookie: peer.cookie, peer_tuple };
    let _ = ctx.set_cb_flags(BPF_SOCK_OPS_STATE_CB_FLAG as i32);
    // The socket is in its map before anybody can find it.
    // SAFETY: the context is valid while the program runs, and nothing else refers to it.
    let joined = SOCKETS.update(cookie, unsafe { &mut *ctx.ops }, u64::from(BPF_ANY)).is_ok();
    let end = End { address, cookie, peer: peer.cookie };
    if !joined || ENDS.insert(tuple, end, u64::from(BPF_ANY)).is_err() {
        count(counter::REFUSED);
    }
}

/// The kernel takes the socket itself out of its map.
#[inline(always)]
fn closed(ctx: &SockOpsContext) {
    let Some(own) = of(socket(ctx), 0) else { return };
    let tuple = own.peer_tuple.reversed();
    // SAFETY: rows live while the program runs, and are written once.
    if unsafe { ENDS.get(tuple) }.is_some_and(|end| end.cookie == own.cookie) {
        let _ = ENDS.remove(tuple);
    }
}

/// What a socket has, or with a flag, gets.
#[inline(always)]
pub fn of(socket: *mut bpf_sock, flags: u64) -> Option<&'static mut Own> {
    if socket.is_null() {
        return None;
    }
    // SAFETY: the map is a socket storage and `socket` comes from the hook's context. A socket's hooks run under its
    // lock, or before anybody else has it.
    unsafe {
        bpf_sk_storage_get((&raw const OWN).cast_mut().cast(), socket.cast(), ptr::null_mut(), flags)
            .cast::<Own>()
            .as_mut()
    }
}
