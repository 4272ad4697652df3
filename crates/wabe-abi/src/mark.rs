//! Marks of sockets (`SO_MARK`): in a workload's namespace a rule routes by them, and only the mesh may set them. And what
//! else the keeper notes in a socket that it makes for the node's proxy.

use crate::maps::MAX_WORKLOADS;

/// Packets of connections that are led to the node's proxy.
pub const TO_PROXY: u32 = 0x5761_0001;
/// Sockets that the keeper made for the node's proxy: this plus the workload's id.
const VENDED: u32 = 0x5762_0000;

/// The mark of a socket that the proxy may use on a workload's behalf.
pub const fn vended(workload: u32) -> u32 {
    VENDED | workload
}

/// The workload on whose behalf a socket of this mark is used; `None` if it is no such mark.
#[inline(always)]
pub const fn workload_of(mark: u32) -> Option<u32> {
    let workload = mark & !VENDED;
    if mark & VENDED == VENDED && workload != 0 && workload < MAX_WORKLOADS { Some(workload) } else { None }
}

/// What `SO_PRIORITY` says of a socket that the keeper made for the node's proxy: the lower half of the generation of the
/// policies which the proxy goes by, as it says. No queue of a mesh heeds priorities. Without `CAP_NET_ADMIN` it can be set to 0 to 6
/// only; but to name another generation the proxy need only ask for another socket.
pub const fn priority(generation: u64) -> u32 {
    generation as u32
}

/// The generation that a socket's priority stands for: the one nearest to that in force, which may be a later one, as the proxy
/// reads what it goes by before it is in force. 0 if there is none so near.
#[inline(always)]
pub const fn generation_of(priority: u32, in_force: u64) -> u64 {
    let ahead = priority.wrapping_sub(in_force as u32) as i32;
    if ahead >= 0 {
        return in_force.wrapping_add(ahead as u64);
    }
    in_force.saturating_sub(ahead.unsigned_abs() as u64)
}

const _: () = {
    assert!(VENDED & (MAX_WORKLOADS - 1) == 0);
    assert!(workload_of(TO_PROXY).is_none());
    assert!(workload_of(0).is_none());
    assert!(matches!(workload_of(vended(7)), Some(7)));
    assert!(generation_of(priority(7), 7) == 7);
    assert!(generation_of(priority(3), 7) == 3);
    assert!(generation_of(priority(8), 7) == 8);
    assert!(generation_of(priority(12), 7) == 12);
    assert!(generation_of(priority(0), 7) == 0);
    assert!(generation_of(priority(0xffff_ffff), 7) == 0);
    assert!(generation_of(priority(0xffff_ffff), 0x1_0000_0001) == 0xffff_ffff);
    assert!(generation_of(priority(0x1_0000_0000), 0xffff_ffff) == 0x1_0000_0000);
};
