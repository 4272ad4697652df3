//! How kernels differ, as one table: what Wabe uses, since when it exists, and what happens without it.
//!
//! [`crate::probe`], the messages of `wabe up` and `wabe status`, and docs/kernels.md are made from it.

use aya::{maps::MapType, programs::ProgramType};

/// One thing that kernels have or lack.
#[derive(Clone, Copy, Debug)]
pub struct KernelFeature {
    /// What it is.
    pub name: &'static str,
    /// The first Linux with all of it that Wabe uses; some builds leave it out.
    pub since: &'static str,
    /// The hook, or the part of Wabe, that uses it.
    pub used_by: &'static str,
    /// Those of [`LANES`] that can't do without it.
    pub lanes: &'static [&'static str],
    /// What happens without it.
    pub otherwise: Otherwise,
    pub(crate) test: Test,
}

/// What connections and datagrams of workloads can take. A mesh starts with all of them or not at all: what is missing is
/// told by lane, so that one knows what one would lose.
pub const LANES: [&str; 5] = ["direct", "datagrams", "outside", "names", "short cut"];

/// What Wabe does without a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// It refuses to start; this is the remedy.
    Refuses(&'static str),
    /// Another way, which promises the same.
    Instead(&'static str),
    /// It promises less.
    Weaker(&'static str),
}

/// How to find out whether it is there, by trying.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Test {
    /// The kernel publishes its types.
    Btf,
    /// A trifle of this kind loads.
    Program(ProgramType),
    /// A map of this kind can be made.
    Map(MapType),
    /// Interfaces answer what tcx programs they have.
    Tcx,
    /// The kernel lists UDP sockets by `sock_diag(7)`.
    DatagramSockets,
    /// Landlock has this version at least.
    Landlock(i32),
    /// Nothing shows it before it happens; what Wabe does is right with and without.
    Unseen,
}

const CONFIG: &str =
    "run a kernel of 6.1 or newer with CONFIG_BPF_SYSCALL, CONFIG_CGROUP_BPF and CONFIG_NET_CLS_BPF";

/// The table. What is needed comes first.
pub const KERNEL_FEATURES: [KernelFeature; 15] = [
    KernelFeature {
        name: "BTF of the kernel",
        since: "5.4",
        used_by: "every program",
        lanes: &LANES,
        otherwise: Otherwise::Refuses("run a kernel built with CONFIG_DEBUG_INFO_BTF"),
        test: Test::Btf,
    },
    needed(
        "cgroup/sock programs",
        "4.10",
        "`cgroup/sock_create`",
        &LANES,
        Test::Program(ProgramType::CgroupSock),
    ),
    needed(
        "cgroup/sock_addr programs",
        "5.8",
        "`cgroup/connect`, `sendmsg`, `recvmsg`, `getpeername`",
        &LANES,
        Test::Program(ProgramType::CgroupSockAddr),
    ),
    needed(
        "cgroup/skb programs",
        "5.2",
        "`cgroup_skb/egress`: datagrams",
        &["datagrams"],
        Test::Program(ProgramType::CgroupSkb),
    ),
    needed(
        "sockops programs",
        "4.13",
        "`sockops`",
        &["direct", "outside"],
        Test::Program(ProgramType::SockOps),
    ),
    needed(
        "sk_lookup programs",
        "5.9",
        "`sk_lookup`: admission",
        &["direct", "datagrams"],
        Test::Program(ProgramType::SkLookup),
    ),
    needed(
        "tc programs",
        "4.4",
        "source guard, short cut",
        &["direct", "datagrams", "short cut"],
        Test::Program(ProgramType::SchedClassifier),
    ),
    needed("ring buffers", "5.8", "reports of connections", &[], Test::Map(MapType::RingBuf)),
    needed("socket storage", "5.2", "stamps of sockets", &LANES, Test::Map(MapType::SkStorage)),
    needed(
        "longest-prefix tries",
        "4.11",
        "policies about addresses",
        &["direct", "datagrams"],
        Test::Map(MapType::LpmTrie),
    ),
    KernelFeature {
        name: "Landlock",
        since: "5.19",
        used_by: "keeping workloads from each other's processes",
        lanes: &[],
        otherwise: Otherwise::Refuses(
            "run a kernel of 5.19 or newer with CONFIG_SECURITY_LANDLOCK, and `landlock` in `lsm=` of its command line",
        ),
        test: Test::Landlock(2),
    },
    KernelFeature {
        name: "tcx links",
        since: "6.6",
        used_by: "source guard",
        lanes: &[],
        otherwise: Otherwise::Instead(
            "a clsact filter, found again by its priority and handle, is the source guard",
        ),
        test: Test::Tcx,
    },
    KernelFeature {
        name: "carrier told when asked",
        since: "6.8",
        used_by: "making a workload's interface",
        lanes: &[],
        otherwise: Otherwise::Instead("the keeper waits until the kernel tells that the interface carries"),
        test: Test::Unseen,
    },
    KernelFeature {
        name: "lists of UDP sockets",
        since: "3.3",
        used_by: "connected UDP sockets whose endpoint is lost",
        lanes: &[],
        otherwise: Otherwise::Weaker(
            "they are neither connected anew nor told: use a kernel with CONFIG_INET_UDP_DIAG, or load udp_diag",
        ),
        test: Test::DatagramSockets,
    },
    KernelFeature {
        name: "Landlock scopes of signals",
        since: "6.12",
        used_by: "keeping workloads from each other's processes",
        lanes: &[],
        otherwise: Otherwise::Weaker(
            "workloads of one user can send each other signals: give each a `user` of its own",
        ),
        test: Test::Landlock(6),
    },
];

const fn needed(
    name: &'static str,
    since: &'static str,
    used_by: &'static str,
    lanes: &'static [&'static str],
    test: Test,
) -> KernelFeature {
    KernelFeature { name, since, used_by, lanes, otherwise: Otherwise::Refuses(CONFIG), test }
}
