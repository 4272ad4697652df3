//! Which arms this machine can run, and what the others lack.

use std::path::Path;

use crate::{arm::Arm, tools};

/// Programs that every arm in pods needs, then those of some.
const BASE: [&str; 2] = ["ip", "nginx"];

/// The arms that the lab can set up, whether this machine can run them or not.
#[must_use]
pub fn built() -> Vec<Arm> {
    Arm::ALL.into_iter().filter(|it| not_built(*it).is_none()).collect()
}

/// Why an arm can't be measured here, with what helps; `None` if it can. Envoy is not looked for: it is installed on demand.
#[must_use]
pub fn missing(arm: Arm) -> Option<String> {
    if let Some(why) = not_built(arm) {
        return Some(why);
    }
    if std::thread::available_parallelism().map_or(1, std::num::NonZero::get) < 2 {
        return Some("client and server need a core each; this process may use only one".to_owned());
    }
    let rules: &[&str] = match arm {
        Arm::None | Arm::Sockmap | Arm::WabeDirect | Arm::WabeProxy => &[],
        Arm::KubeProxyIptablesNft => &["iptables-nft"],
        Arm::KubeProxyNftables => &["nft"],
        Arm::KubeProxyIptables
        | Arm::KubeProxyIpvs
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

fn not_built(arm: Arm) -> Option<String> {
    let why = match arm {
        Arm::KubeProxyIpvs if !Path::new("/proc/net/ip_vs").exists() => {
            "not available on this kernel: it has no IPVS (/proc/net/ip_vs is missing; modprobe ip_vs where it is a module)"
        }
        Arm::KubeProxyIpvs => "not built yet: the lab does not write IPVS services",
        Arm::WabeTunnel => "not built yet: Wabe has no mTLS between nodes",
        Arm::None
        | Arm::KubeProxyIptables
        | Arm::KubeProxyIptablesNft
        | Arm::KubeProxyNftables
        | Arm::SidecarIptables
        | Arm::SidecarEbpf
        | Arm::SidecarEbpfSockmap
        | Arm::Sockmap
        | Arm::WabeDirect
        | Arm::WabeProxy => return None,
    };
    Some(why.to_owned())
}
