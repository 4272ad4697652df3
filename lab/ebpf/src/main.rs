//! The lab's own programs, Merbridge's idea: connections reach Envoy sidecars without iptables, and data goes from socket to
//! socket. They belong to the lab, not to the mesh, and are attached only to what the lab made.
//!
//! What user space fills in: [`settings::SETTINGS`], and the listener in [`tables::LISTENER`].
#![no_std]
#![no_main]

mod message;
mod redirect;
mod settings;
mod sockops;
mod tables;

/// Never reached: a program from which a panic could be reached does not pass the verifier.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
