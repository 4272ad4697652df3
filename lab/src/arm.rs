//! The data paths: what they are called, what they need, and what this machine lacks for them.

/// A data path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arm {
    /// Two pods on a bridge: the floor.
    None,
    /// kube-proxy's chains by the old iptables.
    KubeProxyIptables,
    /// The same chains by the iptables that speaks nftables.
    KubeProxyIptablesNft,
    /// kube-proxy's nftables mode.
    KubeProxyNftables,
    /// kube-proxy's IPVS mode.
    KubeProxyIpvs,
    /// Envoy on each side, reached by Istio's redirect chains.
    SidecarIptables,
    /// The same Envoys, reached by eBPF.
    SidecarEbpf,
    /// The same, and data goes socket to socket.
    SidecarEbpfSockmap,
    /// No proxy, and data goes socket to socket.
    Sockmap,
    /// The mesh, up to layer 4 in the kernel.
    WabeDirect,
    /// The mesh with one hop through the node's proxy.
    WabeProxy,
    /// The mesh between two nodes, with mTLS.
    WabeTunnel,
}

impl Arm {
    /// All, in the order of every table.
    pub const ALL: [Self; 12] = [
        Self::None,
        Self::KubeProxyIptables,
        Self::KubeProxyIptablesNft,
        Self::KubeProxyNftables,
        Self::KubeProxyIpvs,
        Self::SidecarIptables,
        Self::SidecarEbpf,
        Self::SidecarEbpfSockmap,
        Self::Sockmap,
        Self::WabeDirect,
        Self::WabeProxy,
        Self::WabeTunnel,
    ];

    /// On the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::KubeProxyIptables => "kube-proxy-iptables",
            Self::KubeProxyIptablesNft => "kube-proxy-iptables-nft",
            Self::KubeProxyNftables => "kube-proxy-nftables",
            Self::KubeProxyIpvs => "kube-proxy-ipvs",
            Self::SidecarIptables => "sidecar-iptables",
            Self::SidecarEbpf => "sidecar-ebpf",
            Self::SidecarEbpfSockmap => "sidecar-ebpf-sockmap",
            Self::Sockmap => "sockmap",
            Self::WabeDirect => "wabe-direct",
            Self::WabeProxy => "wabe-proxy",
            Self::WabeTunnel => "wabe-tunnel",
        }
    }

    /// One line for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::None => "two pods on a bridge: no mesh, no rules",
            Self::KubeProxyIptables => "service address by kube-proxy's chains, iptables legacy",
            Self::KubeProxyIptablesNft => "the same chains, iptables on nftables",
            Self::KubeProxyNftables => "service address by kube-proxy's nftables maps",
            Self::KubeProxyIpvs => "service address by IPVS, as kube-proxy sets it up",
            Self::SidecarIptables => "Envoy on each side with mTLS and RBAC, redirected by Istio's chains",
            Self::SidecarEbpf => "the same Envoys, redirected by eBPF programs of the lab",
            Self::SidecarEbpfSockmap => "the same, and data goes socket to socket (Merbridge's idea)",
            Self::Sockmap => "two plain pods, data goes socket to socket, bounded",
            Self::WabeDirect => "Wabe, layer 4 in the kernel, no proxy",
            Self::WabeProxy => "Wabe with one hop through the node's proxy",
            Self::WabeTunnel => "Wabe between two nodes, with mTLS",
        }
    }

    /// By name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// Whether Envoy takes part.
    #[must_use]
    pub fn has_sidecars(self) -> bool {
        matches!(self, Self::SidecarIptables | Self::SidecarEbpf | Self::SidecarEbpfSockmap)
    }

    /// Whether datagrams can go this way: sidecars and socket maps only know TCP.
    #[must_use]
    pub fn carries_datagrams(self) -> bool {
        !self.has_sidecars() && self != Self::Sockmap
    }

    /// Whether its node has service rules of some technology.
    #[must_use]
    pub fn has_rules(self) -> bool {
        !matches!(self, Self::None | Self::Sockmap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arm_is_found_by_its_name() {
        for arm in Arm::ALL {
            assert_eq!(Arm::of(arm.name()), Some(arm));
        }
        assert_eq!(Arm::of("sidecar"), None);
    }
}
