//! Kubernetes `Service`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Deserializer, Serialize};

use crate::ObjectName;

/// A name for a set of workloads, with a virtual address of its own unless headless.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Its name.
    pub name: ObjectName,
    /// Labels that its workloads have; never empty.
    pub selector: BTreeMap<String, String>,
    /// At least one unless headless; names and (port, protocol) pairs are unique.
    pub ports: Vec<ServicePort>,
    /// Its virtual addresses.
    pub cluster_ips: ClusterIps,
    /// Names also lead to workloads that are not ready (`publishNotReadyAddresses`).
    pub publish_not_ready: bool,
    /// Annotation `mesh.wabe.dev/balance`: `two-choices` (default), `random`, `round-robin`, `peak-ewma`.
    pub balance: Balance,
    /// `sessionAffinity: ClientIP`: a caller stays at its endpoint until it has not called for this many seconds, 1 to
    /// 86400; 10800 unless `sessionAffinityConfig.clientIP.timeoutSeconds` is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<u32>,
    /// `trafficDistribution`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
}

/// How long a caller stays at its endpoint unless that is written, in seconds; Kubernetes' default.
pub(crate) const DEFAULT_AFFINITY: u32 = 10_800;

/// Which endpoints are preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distribution {
    /// Those in the caller's zone; Kubernetes' older word for `PreferSameZone`.
    PreferClose,
    /// Those in the caller's zone.
    PreferSameZone,
}

/// Virtual addresses of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClusterIps {
    /// `clusterIP: None`: names lead to the workloads' own addresses.
    Headless,
    /// One of each family (`ipFamilies` may leave one out); `None` where the mesh is to choose the address.
    Virtual {
        /// IPv4: absent, to be chosen, or fixed.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "asked_for")]
        v4: Option<Option<Ipv4Addr>>,
        /// IPv6: absent, to be chosen, or fixed.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "asked_for")]
        v6: Option<Option<Ipv6Addr>>,
    },
}

impl ClusterIps {
    /// The addresses that were written, IPv4 first.
    pub fn fixed(&self) -> impl Iterator<Item = IpAddr> {
        let (v4, v6) = match self {
            Self::Headless => (None, None),
            Self::Virtual { v4, v6 } => (v4.flatten(), v6.flatten()),
        };
        v4.map(IpAddr::V4).into_iter().chain(v6.map(IpAddr::V6))
    }
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Its name; may be missing if it is the only one.
    pub name: Option<PortName>,
    /// 1-65535.
    pub port: u16,
    /// Where the workload listens.
    pub target: TargetPort,
    /// TCP unless written.
    pub transport: Transport,
}

/// A port's name: at most 15 of `a-z0-9-` in a workload and as a target; a service's own may have 63.
pub type PortName = String;

/// Where a workload listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TargetPort {
    /// A number.
    Number(u16),
    /// The name of one of the workload's ports.
    Name(PortName),
}

/// Transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// The less loaded of two that were drawn by weight.
    #[default]
    TwoChoices,
    /// Drawn by weight.
    Random,
    /// In turn, by weight.
    RoundRobin,
    /// The one of two, drawn by weight, that answered faster lately, times its requests under way. Of connections that the
    /// node's proxy does not make: as [`Self::TwoChoices`].
    PeakEwma,
}

/// A field that is there, be it `null`: to be chosen. One that is not there: absent.
fn asked_for<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
