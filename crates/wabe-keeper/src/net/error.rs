//! What can go wrong with the network of a mesh.

use std::io;

use thiserror::Error;

/// Why the network could not be made or changed.
#[derive(Debug, Error)]
pub enum NetError {
    /// The kernel refused a change.
    #[error("can't {what}: {source}{}", remedy(source))]
    Kernel {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused a setting of a namespace that the mesh made.
    #[error(
        "can't set {name} in a network namespace of the mesh: {source}; run Wabe where /proc/sys/net can be written and \
         IPv6 is not switched off by `ipv6.disable=1` on the kernel's command line"
    )]
    Sysctl {
        /// As sysctl(8) writes it.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The host's interface or routes exist already.
    #[error("the host has {what} already; `wabe down --name {mesh}` removes what an earlier mesh left")]
    Taken {
        /// What is there.
        what: String,
        /// The mesh that wants it.
        mesh: String,
    },
    /// Egress needs a router.
    #[error(
        "`egress: masquerade` needs a host that forwards packets, and net.ipv4.ip_forward is 0: set it with \
         `sysctl -w net.ipv4.ip_forward=1` (Wabe never changes the host's settings), or write `egress: none`"
    )]
    NoForwarding,
    /// Egress needs nftables.
    #[error(
        "`egress: masquerade` needs the program `nft`: install the package `nftables`, or write `egress: none`"
    )]
    NoNft,
    /// nft(8) refused.
    #[error("nft refused the table of the mesh: {said}; it needs a kernel with nf_tables and NAT")]
    Nft {
        /// What it said.
        said: String,
    },
    /// No such workload.
    #[error("the network knows no workload {0}; add it first")]
    UnknownWorkload(u32),
}

impl NetError {
    /// Wraps what the kernel said.
    pub(crate) fn kernel(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Kernel { what, source }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "; run as root"
    } else if error.kind() == io::ErrorKind::Unsupported {
        "; this kernel lacks it (network namespaces, veth and IPv6 are needed)"
    } else {
        ""
    }
}
