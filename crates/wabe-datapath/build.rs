//! Builds the eBPF object from source.

fn main() {
    wabe_ebpf_build::Programs {
        folder: "ebpf",
        binary: "wabe",
        uses: &["crates/wabe-abi", "crates/wabe-verdict"],
    }
    .build();
}
