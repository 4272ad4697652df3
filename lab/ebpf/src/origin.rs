//! The caller's side: its connections go to its sidecar, which can ask where they were going.
//!
//! `connect` keeps the destination with the application's socket. When the source port is final and before the SYN
//! leaves, it is written under the connection's tuple; the sidecar's end of the connection takes it from there into
//! its own socket before anybody can accept it. So the table holds connections under way only, and an application that
//! closes early takes nothing away.

use core::ptr;

use aya_ebpf::{
    bindings::{
        BPF_ANY, BPF_SK_STORAGE_GET_F_CREATE, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
        BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, bpf_sock,
    },
    btf_maps::SkStorage,
    helpers::generated::{bpf_set_retval, bpf_sk_storage_get},
    macros::{btf_map, cgroup_sock_addr, map, sock_ops},
    maps::{Array, HashMap},
    programs::{SockAddrContext, SockOpsContext},
};

use crate::{
    count, counter, setting,
    tuple::{Tuple, cookie, is_loopback, outgoing, socket},
};

const TCP: u32 = 6;
/// `TCP_CLOSE`, also on entering TIME_WAIT.
const CLOSE: u32 = 7;
const ECONNREFUSED: i32 = 111;
/// 127.0.0.1 in network order.
const LOCALHOST: u32 = u32::from_ne_bytes([127, 0, 0, 1]);

/// Where a connection was going, in network order.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Origin {
    pub address: u32,
    pub port: u32,
}

/// A connection on its way to the sidecar.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct UnderWay {
    origin: Origin,
    /// The application's socket.
    cookie: u64,
}

#[btf_map]
static ORIGINS: SkStorage<Origin> = SkStorage::new();
#[map]
static UNDER_WAY: HashMap<Tuple, UnderWay> = HashMap::with_max_entries(65_536, 0);
/// How many rows that table has, for `connect` to know beforehand.
#[map]
static ROWS: Array<i64> = Array::with_max_entries(1, 0);

#[cgroup_sock_addr(connect4)]
pub fn lab_connect(ctx: SockAddrContext) -> i32 {
    // SAFETY: the context is valid while the program runs, and the hook may write its address and port.
    let address = unsafe { &mut *ctx.sock_addr };
    if address.protocol != TCP {
        return 1;
    }
    if is_loopback(address.user_ip4) {
        // Of an earlier attempt with this socket.
        // SAFETY: the socket is the context's, and locked.
        if let Some(origin) = unsafe { ORIGINS.get_ptr_mut(&ctx).as_mut() } {
            *origin = Origin { address: 0, port: 0 };
        }
        return 1;
    }
    let full = ROWS.get(0).is_none_or(|rows| *rows >= i64::from(setting::capacity()));
    // SAFETY: as above.
    let origin = unsafe { ORIGINS.get_or_insert_ptr_mut(&ctx, None).as_mut() };
    let (false, Some(origin)) = (full, origin) else {
        count(counter::REFUSED);
        // SAFETY: the hook may set what `connect` returns.
        unsafe { bpf_set_retval(-ECONNREFUSED) };
        return 0;
    };
    *origin = Origin { address: address.user_ip4, port: address.user_port };
    address.user_ip4 = LOCALHOST;
    address.user_port = (setting::outbound_port() as u16).to_be().into();
    1
}

/// The application sees the peer it asked for, as with REDIRECT.
#[cgroup_sock_addr(getpeername4)]
pub fn lab_peername(ctx: SockAddrContext) -> i32 {
    // SAFETY: the socket is the context's.
    if let Some(origin) = unsafe { ORIGINS.get_ptr_mut(&ctx).as_ref() }
        && origin.address != 0
    {
        // SAFETY: the context is valid while the program runs, and the hook may write its address and port.
        let shown = unsafe { &mut *ctx.sock_addr };
        shown.user_ip4 = origin.address;
        shown.user_port = origin.port;
    }
    1
}

#[sock_ops]
pub fn lab_origin(ctx: SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => begin(&ctx),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => arrive(&ctx),
        BPF_SOCK_OPS_STATE_CB if ctx.arg(1) == CLOSE => end(&ctx),
        _ => {}
    }
    0
}

#[inline(always)]
fn begin(ctx: &SockOpsContext) {
    let Some(origin) = of(socket(ctx), 0).filter(|origin| origin.address != 0) else { return };
    let Some(tuple) = outgoing(ctx) else { return };
    let row = UnderWay { origin: *origin, cookie: cookie(ctx) };
    // A row that is there is of a connection that ended without telling; no socket has this tuple but this one.
    let new = UNDER_WAY.get_ptr(tuple).is_none();
    if UNDER_WAY.insert(tuple, row, u64::from(BPF_ANY)).is_err() {
        // The sidecar is told of no destination, and closes it.
        count(counter::REFUSED);
        return;
    }
    if new {
        rows(1);
    }
    let _ = ctx.set_cb_flags(BPF_SOCK_OPS_STATE_CB_FLAG as i32);
    count(counter::REDIRECTED);
}

#[inline(always)]
fn arrive(ctx: &SockOpsContext) {
    if ctx.local_port() != setting::outbound_port() {
        return;
    }
    let Some(tuple) = outgoing(ctx) else { return };
    let tuple = tuple.reversed();
    let Some(row) = UNDER_WAY.get_ptr(tuple) else { return };
    // SAFETY: rows live while the program runs; nobody writes one whose connection is being established.
    let origin = unsafe { (*row).origin };
    if let Some(own) = of(socket(ctx), BPF_SK_STORAGE_GET_F_CREATE.into()) {
        *own = origin;
    }
    remove(&tuple);
}

/// An attempt that failed leaves its row here.
#[inline(always)]
fn end(ctx: &SockOpsContext) {
    if of(socket(ctx), 0).is_none_or(|origin| origin.address == 0) {
        return;
    }
    let Some(tuple) = outgoing(ctx) else { return };
    let own = cookie(ctx);
    // SAFETY: rows live while the program runs.
    if UNDER_WAY.get_ptr(tuple).is_some_and(|row| unsafe { (*row).cookie } == own) {
        remove(&tuple);
    }
}

/// Whoever succeeds uncounts it.
#[inline(always)]
fn remove(tuple: &Tuple) {
    if UNDER_WAY.remove(tuple).is_ok() {
        rows(-1);
    }
}

#[inline(always)]
fn rows(change: i64) {
    if let Some(rows) = ROWS.get_ptr_mut(0) {
        use core::intrinsics::{AtomicOrdering, atomic_xadd};
        // SAFETY: a valid pointer into an array map.
        unsafe { atomic_xadd::<i64, i64, { AtomicOrdering::Relaxed }>(rows, change) };
    }
}

/// What a socket has, or with a flag, gets.
#[inline(always)]
pub fn of(socket: *mut bpf_sock, flags: u64) -> Option<&'static mut Origin> {
    if socket.is_null() {
        return None;
    }
    // SAFETY: the map is a socket storage and `socket` comes from the hook's context. A socket's hooks run under its
    // lock, or before anybody else has it.
    unsafe {
        bpf_sk_storage_get((&raw const ORIGINS).cast_mut().cast(), socket.cast(), ptr::null_mut(), flags)
            .cast::<Origin>()
            .as_mut()
    }
}
