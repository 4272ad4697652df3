//! The data plane in the kernel: one module per hook.
//!
//! A program translates its context into the types of `wabe-abi`, asks `wabe-verdict`, and translates the verdict into
//! the hook's return code; it decides nothing itself. Every path that knows no answer refuses.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![expect(
    internal_features,
    reason = "the target has no AtomicU64::fetch_add; the intrinsic compiles to BPF's XADD"
)]

mod connect;
mod create;
mod datagram;
mod exchange;
mod guard;
mod lookup;
mod packet;
mod peername;
mod report;
mod sock_addr;
mod sockops;
mod storage;
mod tables;
mod vend;

/// Never reached: a program from which a panic could be reached does not pass the verifier.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
