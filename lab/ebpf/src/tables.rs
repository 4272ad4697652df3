//! Maps.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE, bpf_map_type::BPF_MAP_TYPE_SK_STORAGE},
    helpers::generated::bpf_sk_storage_get,
    macros::{btf_map, map},
    maps::{HashMap, PerCpuArray, SockHash, SockMap},
};

/// Most connections at once, of applications and between sockets: the limit of open files of four processes.
const CONNECTIONS: u32 = 80_000;

/// IPv4 address and port, as in packets.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub address: u32,
    pub port: u32,
}

/// One end of a connection: local first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct End {
    pub local: Place,
    pub remote: Place,
}

/// A socket of the kernel's, and its cookie: addresses are used again, cookies are not.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Socket {
    pub address: u64,
    pub cookie: u64,
}

/// Where the redirected connection from a place wanted to go. Never LRU: a live one must not lose its destination.
#[map]
pub static ORIGINALS: HashMap<Place, Place> = HashMap::with_max_entries(CONNECTIONS, 0);
/// The server's Envoy's listener.
#[map]
pub static LISTENER: SockMap = SockMap::with_max_entries(1, 0);
/// Sockets whose data may be moved.
#[map]
pub static SOCKETS: SockHash<End> = SockHash::with_max_entries(CONNECTIONS, 0);
/// The same sockets, for a look at what they have not read.
#[map]
pub static ADDRESSES: HashMap<End, Socket> = HashMap::with_max_entries(CONNECTIONS, 0);
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(8, 0);

/// What is counted, by its place in [`COUNTERS`].
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Counter {
    /// Connections of the application that were sent to Envoy.
    Redirected,
    /// Original destinations that Envoy got.
    Answered,
    /// Connections that were given to the server's Envoy.
    Steered,
    /// Messages that went from socket to socket.
    Moved,
    /// Messages that went by TCP, as the peer has enough to read.
    Bounded,
    /// Connections for which a table had no room.
    Full,
}

#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: this processor's own number; programs are not interrupted by others that count the same.
        unsafe { *value += 1 };
    }
}

/// What a socket wanted; gone with the socket.
#[repr(C)]
pub struct Storage {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const Place,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the fields are placeholders that the loader reads from BTF; nothing dereferences them.
unsafe impl Sync for Storage {}

#[btf_map]
pub static WANTED: Storage = Storage {
    r#type: ptr::null(),
    key: ptr::null(),
    value: ptr::null(),
    max_entries: ptr::null(),
    map_flags: ptr::null(),
};

/// What this socket wanted, if it was redirected.
#[inline(always)]
pub fn wanted(socket: *mut c_void) -> Option<&'static mut Place> {
    of(socket, 0)
}

/// The same, made if it is not there.
#[inline(always)]
pub fn new_wanted(socket: *mut c_void) -> Option<&'static mut Place> {
    of(socket, BPF_SK_STORAGE_GET_F_CREATE.into())
}

#[inline(always)]
fn of(socket: *mut c_void, flags: u64) -> Option<&'static mut Place> {
    if socket.is_null() {
        return None;
    }
    // SAFETY: the map is a socket storage and `socket` comes from the hook's context.
    unsafe {
        bpf_sk_storage_get((&raw const WANTED).cast_mut().cast(), socket, ptr::null_mut(), flags).cast::<Place>().as_mut()
    }
}
