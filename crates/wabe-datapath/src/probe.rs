//! What the running kernel offers.

use std::path::Path;

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{is_map_supported, is_program_supported},
};

/// One thing that the mesh needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// What it is.
    pub name: &'static str,
    /// Whether the kernel has it.
    pub present: bool,
    /// What to do if not.
    pub remedy: &'static str,
}

const KERNEL: &str =
    "run a kernel of 6.1 or newer with CONFIG_BPF_SYSCALL, CONFIG_CGROUP_BPF and CONFIG_NET_CLS_BPF";

/// Tries what the data plane needs, by loading trifles; nothing stays behind.
pub fn probe() -> Vec<Feature> {
    let program =
        |name, kind| Feature { name, present: is_program_supported(kind).unwrap_or(false), remedy: KERNEL };
    let map = |name, kind| Feature { name, present: is_map_supported(kind).unwrap_or(false), remedy: KERNEL };
    vec![
        Feature {
            name: "BTF of the kernel",
            present: Path::new("/sys/kernel/btf/vmlinux").exists(),
            remedy: "run a kernel built with CONFIG_DEBUG_INFO_BTF",
        },
        program("cgroup/sock programs", ProgramType::CgroupSock),
        program("cgroup/sock_addr programs", ProgramType::CgroupSockAddr),
        program("sockops programs", ProgramType::SockOps),
        program("sk_lookup programs", ProgramType::SkLookup),
        program("tc programs", ProgramType::SchedClassifier),
        map("ring buffers", MapType::RingBuf),
        map("socket storage", MapType::SkStorage),
        map("longest-prefix tries", MapType::LpmTrie),
    ]
}
