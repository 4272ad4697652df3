//! Which arms this machine can run, and what the others lack.

use std::path::Path;

use crate::{arm::Arm, tools};

/// Programs that every arm in pods needs, then those of some.
const BASE: [&str; 2] = ["ip", "nginx"];

/// The arms that the lab can set up on this kernel, whether their programs are installed or not.
#[must_use]
pub fn built() -> Vec<Arm> {
    Arm::ALL.into_iter().filter(|it| not_built(*it).or_else(|| not_in_kernel(*it)).is_none()).collect()
}

/// Why an arm can't be measured here, with what helps; `None` if it can. Envoy is not looked for: it is installed on demand.
#[must_use]
pub fn missing(arm: Arm) -> Option<String> {
    if let Some(why) = not_built(arm).or_else(|| not_in_kernel(arm)) {
        return Some(why.to_owned());
    }
    if std::thread::available_parallelism().map_or(1, std::num::NonZero::get) < 2 {
        return Some("client and server need a core each; this process may use only one".to_owned());
    }
    let rules: &[&str] = match arm {
        Arm::None | Arm::Sockmap | Arm::WabeDirect | Arm::WabeProxy => &[],
        Arm::KubeProxyIptablesNft => &["iptables-nft"],
        Arm::KubeProxyNftables => &["nft"],
        Arm::KubeProxyIpvs => &["ipvsadm", "ipset", "iptables-legacy"],
        Arm::KubeProxyIptables
        | Arm::SidecarIptables
        | Arm::SidecarEbpf
        | Arm::SidecarEbpfSockmap
        | Arm::WabeTunnel => &["iptables-legacy"],
    };
    let lacking = BASE.iter().chain(rules).find_map(|it| tools::find(it).err());
    if let Some(lacking) = lacking {
        return Some(lacking.to_string());
    }
    if !rules.is_empty() && !Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists() {
        return Some("bridged packets can't go through netfilter: modprobe br_netfilter".to_owned());
    }
    None
}

fn not_built(arm: Arm) -> Option<&'static str> {
    match arm {
        Arm::WabeTunnel => Some("not built yet: Wabe has no mTLS between nodes"),
        Arm::None
        | Arm::KubeProxyIptables
        | Arm::KubeProxyIptablesNft
        | Arm::KubeProxyNftables
        | Arm::KubeProxyIpvs
        | Arm::SidecarIptables
        | Arm::SidecarEbpf
        | Arm::SidecarEbpfSockmap
        | Arm::Sockmap
        | Arm::WabeDirect
        | Arm::WabeProxy => None,
    }
}

fn not_in_kernel(arm: Arm) -> Option<&'static str> {
    let lacks = arm == Arm::KubeProxyIpvs && !Path::new("/proc/net/ip_vs").exists();
    lacks.then_some(
        "not available on this kernel, which has no IPVS (/proc/net/ip_vs is missing): modprobe ip_vs if it is a module; in a          checkout of Wabe, `cargo xtask lab61` measures it in a virtual machine",
    )
}
