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
use wabe_abi::SocketState;

/// aya's own socket storage has no `BPF_F_CLONE`: accepted sockets would not inherit their listener's stamp.
#[repr(C)]
pub struct ClonedStorage {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const SocketState,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: the fields are placeholders that the loader reads from BTF; nothing dereferences them.
unsafe impl Sync for ClonedStorage {}

#[btf_map]
pub static SOCKETS: ClonedStorage = ClonedStorage {
    r#type: ptr::null(),
    key: ptr::null(),
    value: ptr::null(),
    max_entries: ptr::null(),
    map_flags: ptr::null(),
};

/// The state of a socket that has one.
#[inline(always)]
pub fn state_of(socket: *mut c_void) -> Option<&'static mut SocketState> {
    storage(socket, 0)
}

/// The state of a socket, made if it has none.
#[inline(always)]
pub fn new_state(socket: *mut bpf_sock) -> Option<&'static mut SocketState> {
    storage(socket.cast(), BPF_SK_STORAGE_GET_F_CREATE.into())
}

#[inline(always)]
fn storage(socket: *mut c_void, flags: u64) -> Option<&'static mut SocketState> {
    if socket.is_null() {
        return None;
    }
    // SAFETY: the map is a socket storage and `socket` comes from the hook's context. The hooks of one socket that
    // write its state run under its lock (connect, sockops) or before anybody else has it (create).
    unsafe {
        bpf_sk_storage_get((&raw const SOCKETS).cast_mut().cast(), socket, ptr::null_mut(), flags)
            .cast::<SocketState>()
            .as_mut()
    }
}
