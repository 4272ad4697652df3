//! `sk_msg`: what is sent goes into the receiver's socket, if that keeps its order and the receiver keeps up.
//!
//! The kernel has no bound for such messages: a receiver that does not read would have all memory filled. Its unread
//! bytes are counted in its `sk_psock`; above a limit messages go by TCP, which blocks the sender in the end. The kernel
//! charges them to the receive buffer also, and reading them opens no window again: if they filled it, TCP would wait
//! for its probes, seconds long. So half of that buffer is left to TCP. Receivers
//! read such messages before what came by TCP, so after TCP the short way is taken again only when the receiver has
//! read all that the sender ever gave to TCP.

use aya_ebpf::{
    bindings::BPF_F_INGRESS, helpers::generated::bpf_probe_read_kernel, macros::sk_msg,
    programs::SkMsgContext,
};

use crate::{
    count, counter,
    pair::{self, ENDS, Own, SOCKETS},
    setting,
};

/// `SK_PASS`: on by the way that was chosen, TCP if none was.
const PASS: u32 = 1;
/// `SK_USER_DATA_PSOCK`, one of the flags in the low bits of `sk_user_data`.
const PSOCK: u64 = 4;
const FLAGS: u64 = 7;

#[sk_msg]
pub fn lab_forward(ctx: SkMsgContext) -> u32 {
    // SAFETY: the context is valid while the program runs.
    let socket = unsafe { (*ctx.msg).__bindgen_anon_3.sk };
    if let Some(own) = pair::of(socket, 0)
        && knows_peer(own)
    {
        match way(own, ctx.size()) {
            Some(Way::Short) => {
                if SOCKETS.redirect_msg(&ctx, own.peer_cookie, u64::from(BPF_F_INGRESS)) == i64::from(PASS) {
                    count(counter::MOVED);
                }
            }
            Some(Way::Bounded) => count(counter::BOUNDED),
            Some(Way::Ordered) => count(counter::ORDERED),
            // The peer has gone.
            None => {}
        }
    }
    PASS
}

enum Way {
    Short,
    Bounded,
    Ordered,
}

/// Whether the peer is known, or can be found: an end that says it is this one's.
#[inline(always)]
fn knows_peer(own: &mut Own) -> bool {
    if own.peer_cookie == 0 {
        // SAFETY: rows live while the program runs, and are written once.
        let Some(end) = (unsafe { ENDS.get(own.peer_tuple) }) else { return false };
        if end.peer != own.cookie {
            return false;
        }
        own.peer_address = end.address;
        own.peer_cookie = end.cookie;
    }
    true
}

/// Which way a message of this size goes. `None` if the peer's memory is another socket's by now.
#[inline(always)]
fn way(own: &Own, size: u32) -> Option<Way> {
    let peer = own.peer_address;
    if read::<u64>(peer + setting::skc_cookie())? != own.peer_cookie {
        return None;
    }
    // Both in the sequence numbers of this direction.
    let given: u32 = read(own.address + setting::write_seq())?;
    let taken: u32 = read(peer + setting::copied_seq())?;
    if given != taken {
        return Some(Way::Ordered);
    }
    let tagged: u64 = read(peer + setting::sk_user_data())?;
    if tagged & PSOCK == 0 {
        return None;
    }
    let unread: u32 = read((tagged & !FLAGS) + setting::msg_tot_len())?;
    let charged: u32 = read(peer + setting::rmem_alloc())?;
    let room: u32 = read(peer + setting::sk_rcvbuf())?;
    let fits = u64::from(charged) + u64::from(size) <= u64::from(room / 2);
    Some(if fits && unread <= setting::most_unread() { Way::Short } else { Way::Bounded })
}

/// Reads the kernel's memory. An address that is not valid is an error, never a fault.
#[inline(always)]
fn read<T: Copy + Default>(address: u64) -> Option<T> {
    let mut value = T::default();
    // SAFETY: the helper writes as many bytes as the value has.
    let result =
        unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, address as *const _) };
    (result == 0).then_some(value)
}
