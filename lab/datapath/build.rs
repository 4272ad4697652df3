//! Builds the lab's eBPF object.

use std::process::exit;

fn main() {
    if let Err(message) = wabe_ebpf_build::build("lab/ebpf", "wabe-lab", &[]) {
        for line in message.lines() {
            println!("cargo::error={line}");
        }
        exit(1);
    }
}
