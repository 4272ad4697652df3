//! Marks of sockets (`SO_MARK`): in a workload's namespace a rule routes by them, and only the mesh may set them.

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

const _: () = {
    assert!(VENDED & (MAX_WORKLOADS - 1) == 0);
    assert!(workload_of(TO_PROXY).is_none());
    assert!(workload_of(0).is_none());
    assert!(matches!(workload_of(vended(7)), Some(7)));
};
