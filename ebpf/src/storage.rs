//! Socket storage.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{
        BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE, bpf_map_type::BPF_MAP_TYPE_SK_STORAGE,
        bpf_sock,
    },
    helpers::generated::bpf_sk_storage_get,
    macros::btf_map,
};
use wabe_abi::{Peers, SocketState};

/// aya's own socket storage has no `BPF_F_CLONE`: accepted sockets would not inherit their listener's stamp.
#[repr(C)]
pub struct SocketStorage<V, const FLAGS: usize> {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const V,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; FLAGS],
}

// SAFETY: the fields are placeholders that the loader reads from BTF; nothing dereferences them.
unsafe impl<V, const FLAGS: usize> Sync for SocketStorage<V, FLAGS> {}

impl<V, const FLAGS: usize> SocketStorage<V, FLAGS> {
    const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        }
    }

    /// What a socket has here. Nobody but this run writes it: the hooks of one socket that do so run under its lock
    /// (connect, sendmsg, sockops), before anybody else has it (create), or after (release).
    #[inline(always)]
    fn of(&'static self, socket: *mut c_void, flags: u64) -> Option<&'static mut V> {
        if socket.is_null() {
            return None;
        }
        // SAFETY: the map is a socket storage and `socket` comes from the hook's context.
        unsafe {
            bpf_sk_storage_get(ptr::from_ref(self).cast_mut().cast(), socket, ptr::null_mut(), flags)
                .cast::<V>()
                .as_mut()
        }
    }
}

#[btf_map]
pub static SOCKETS: SocketStorage<SocketState, { (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize }> =
    SocketStorage::new();
#[btf_map]
pub static PEERS: SocketStorage<Peers, { BPF_F_NO_PREALLOC as usize }> = SocketStorage::new();

/// The state of a socket that has one.
#[inline(always)]
pub fn state_of(socket: *mut c_void) -> Option<&'static mut SocketState> {
    SOCKETS.of(socket, 0)
}

/// The state of a socket, made if it has none.
#[inline(always)]
pub fn new_state(socket: *mut bpf_sock) -> Option<&'static mut SocketState> {
    SOCKETS.of(socket.cast(), BPF_SK_STORAGE_GET_F_CREATE.into())
}

/// The exchanges of a socket that has some.
#[inline(always)]
pub fn peers_of(socket: *mut c_void) -> Option<&'static mut Peers> {
    PEERS.of(socket, 0)
}

/// The exchanges of a socket, made if it has none.
#[inline(always)]
pub fn new_peers(socket: *mut c_void) -> Option<&'static mut Peers> {
    PEERS.of(socket, BPF_SK_STORAGE_GET_F_CREATE.into())
}
