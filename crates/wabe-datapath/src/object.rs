//! The eBPF object that was built with this crate.

/// Alignment for the ELF reader.
#[repr(align(8))]
struct Aligned<T: ?Sized>(T);

static EMBEDDED: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/wabe.o")));

/// The object file: programs, maps and BTF.
pub static OBJECT: &[u8] = &EMBEDDED.0;

/// Names of all programs that are loaded from the object.
pub fn programs() -> impl Iterator<Item = &'static str> {
    let vend = VEND_PROGRAMS.into_iter().map(|(_, program)| program);
    let vend = vend.filter(|program| !CGROUP_PROGRAMS.contains(program));
    CGROUP_PROGRAMS.into_iter().chain(vend).chain([ADMIT, GUARD, UPLINK])
}

/// Names of the programs that are attached to the cgroup of all workloads.
pub(crate) const CGROUP_PROGRAMS: [&str; 12] = [
    "wabe_create",
    "wabe_connect4",
    "wabe_connect6",
    "wabe_sendmsg4",
    "wabe_sendmsg6",
    "wabe_recvmsg4",
    "wabe_recvmsg6",
    "wabe_peername4",
    "wabe_peername6",
    "wabe_sockops",
    "wabe_egress",
    "wabe_release",
];
/// What is attached to the keeper's cgroup, where the sockets of the node's proxy are made: name of the pin, and of the
/// program.
pub(crate) const VEND_PROGRAMS: [(&str, &str); 3] = [
    ("wabe_vend_connect4", "wabe_vend_connect4"),
    ("wabe_vend_connect6", "wabe_vend_connect6"),
    ("wabe_vend_sockops", "wabe_sockops"),
];
/// Name of the program that each workload's network namespace gets.
pub(crate) const ADMIT: &str = "wabe_admit";
/// Name of the program that each workload's interface gets on the node's side.
pub(crate) const GUARD: &str = "wabe_guard";
/// Name of the program that the node's interface towards the host gets.
pub(crate) const UPLINK: &str = "wabe_uplink";
