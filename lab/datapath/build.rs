//! Builds the lab's eBPF object from source.

fn main() {
    wabe_ebpf_build::Programs {
        folder: "lab/ebpf",
        binary: "wabe-lab",
        uses: &["lab/datapath/src/counter.rs"],
    }
    .build();
}
