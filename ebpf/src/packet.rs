//! Reading packets.

use aya_ebpf::programs::sk_buff::SkBuff;

/// A part of the packet, read where it lies or, if it is not in one piece there, copied; `None` if it is not there.
#[inline(always)]
pub fn at<T: Copy>(packet: &SkBuff, offset: usize) -> Option<T> {
    // SAFETY: the context is valid while the program runs.
    let (start, end) = unsafe { ((*packet.skb).data as usize, (*packet.skb).data_end as usize) };
    let place = start + offset;
    if place + size_of::<T>() > end {
        return packet.load(offset).ok();
    }
    // SAFETY: the bytes lie within the packet, as just compared; every type asked for is valid for all of them.
    Some(unsafe { (place as *const T).read_unaligned() })
}
