//! Builds the eBPF object.

use std::process::exit;

fn main() {
    if let Err(message) = wabe_ebpf_build::build("ebpf", "wabe", &["crates/wabe-abi", "crates/wabe-verdict"])
    {
        for line in message.lines() {
            println!("cargo::error={line}");
        }
        exit(1);
    }
}
