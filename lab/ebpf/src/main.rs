//! The programs of the lab's own data paths.
//!
//! `origin`, `answer` and `steer` lead connections through a pair of sidecars as iptables' REDIRECT does, without
//! iptables and without conntrack. `pair` and `forward` join the two sockets of a connection, so that its bytes pass
//! by TCP. They are here to be measured against; the mesh uses none of them.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(
    internal_features,
    reason = "the target has no AtomicU64::fetch_add; the intrinsic compiles to BPF's XADD"
)]

mod answer;
#[path = "../../datapath/src/counter.rs"]
mod counter;
mod forward;
mod origin;
mod pair;
mod setting;
mod steer;
mod tuple;

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{macros::map, maps::PerCpuArray};

#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::REFUSED + 1, 0);

/// Adds to a counter. Atomic, because a program in a softirq may count the same in between.
#[inline(always)]
fn add(counter: u32, amount: u64) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter) {
        // SAFETY: a valid pointer into an array map.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(value, amount) };
    }
}

/// Counts one.
#[inline(always)]
fn count(counter: u32) {
    add(counter, 1);
}

/// Never reached: a program from which a panic could be reached does not pass the verifier.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
