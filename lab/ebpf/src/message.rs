//! `sk_msg`: what a socket sends goes to its peer's queue at once, past the network stack.

use aya_ebpf::{
    bindings::BPF_F_INGRESS, helpers::generated::bpf_probe_read_kernel, macros::sk_msg, programs::SkMsgContext,
};

use crate::{
    settings::{Settings, settings},
    sockops::remote_port,
    tables::{ADDRESSES, Counter, End, Place, SOCKETS, count},
};

/// Most bytes that a peer may have unread; beyond, TCP takes over with its window. Without a bound a sender fills the
/// machine's memory.
const UNREAD: u32 = 4 << 20;

#[sk_msg]
pub fn lab_message(ctx: SkMsgContext) -> u32 {
    const PASS: u32 = 1;
    // SAFETY: the context is valid while the program runs.
    let message = unsafe { &*ctx.msg };
    let mut peer = End {
        local: Place { address: message.remote_ip4, port: remote_port(message.remote_port) },
        remote: Place { address: message.local_ip4, port: (message.local_port as u16).to_be().into() },
    };
    let Some(unread) = unread(&peer, &settings()) else { return PASS };
    if unread > UNREAD {
        count(Counter::Bounded);
        return PASS;
    }
    // A peer that is gone meanwhile: TCP tells the sender.
    if SOCKETS.redirect_msg(&ctx, &mut peer, BPF_F_INGRESS.into()) == 1 {
        count(Counter::Moved);
    }
    PASS
}

/// What a socket has not read, bytes; `None` if it is not in the maps, or another one is at its address by now.
#[inline(always)]
fn unread(end: &End, settings: &Settings) -> Option<u32> {
    // SAFETY: the value is only copied.
    let socket = *unsafe { ADDRESSES.get(end) }?;
    let cookie: u64 = read(socket.address + u64::from(settings.cookie))?;
    if cookie != socket.cookie {
        return None;
    }
    let psock: u64 = read(socket.address + u64::from(settings.sk_user_data))?;
    // The low three bits are tags.
    read((psock & !7) + u64::from(settings.unread))
}

#[inline(always)]
fn read<T: Default>(address: u64) -> Option<T> {
    let mut value = T::default();
    let size = size_of::<T>() as u32;
    // SAFETY: the helper checks the address and fails where nothing is.
    let failed = unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size, address as *const _) };
    (failed == 0).then_some(value)
}
