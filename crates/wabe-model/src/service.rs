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
    /// Annotation `mesh.wabe.dev/l7`: whether its callers are led to the proxy though no route asks for it.
    #[serde(default)]
    pub layer7: Layer7,
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
    /// What `appProtocol` says; [`AppProtocol::Detect`] if it says nothing.
    #[serde(default)]
    pub app_protocol: AppProtocol,
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

/// What is spoken over a TCP port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppProtocol {
    /// HTTP/1.1, and HTTP/2 if a caller begins with its preface.
    Http,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// gRPC, over HTTP/2 with prior knowledge.
    Grpc,
    /// TLS, which is passed on as it is.
    Tls,
    /// Bytes, which are passed on as they are.
    Tcp,
    /// Nobody said: the first bytes tell.
    #[default]
    Detect,
}

/// Whether connections are led to the node's proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer7 {
    /// If a route asks for it.
    #[default]
    Auto,
    /// Always: for what the proxy tells of requests.
    Always,
}

impl ServicePort {
    /// What is spoken over it: as `appProtocol` says, else as its name says by Istio's convention, a protocol's name alone or with
    /// a suffix (`http`, `http-web`).
    pub fn protocol(&self) -> AppProtocol {
        match (self.app_protocol, &self.name) {
            (AppProtocol::Detect, Some(name)) => AppProtocol::of_port_name(name),
            (written, _) => written,
        }
    }
}

impl AppProtocol {
    /// Words of `appProtocol`, and of ports' names but for those with a slash: Istio's, and Kubernetes' own. The first of each
    /// protocol is the one that Wabe writes.
    pub(crate) const WORDS: [(&'static str, Self); 13] = [
        ("http", Self::Http),
        ("http2", Self::Http2),
        ("grpc", Self::Grpc),
        ("tls", Self::Tls),
        ("tcp", Self::Tcp),
        ("https", Self::Tls),
        ("grpc-web", Self::Http),
        ("mongo", Self::Tcp),
        ("mysql", Self::Tcp),
        ("redis", Self::Tcp),
        ("kubernetes.io/h2c", Self::Http2),
        ("kubernetes.io/ws", Self::Http),
        ("kubernetes.io/wss", Self::Tls),
    ];

    /// The word that `appProtocol` has for it; `any` if none was written.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.into_iter().find(|it| it.1 == self).map_or("any", |it| it.0)
    }

    fn of_port_name(name: &str) -> Self {
        let means = |word: &str| Self::WORDS.into_iter().find(|it| it.0 == word).map(|it| it.1);
        if name.starts_with("grpc-web-") {
            return Self::Http;
        }
        let first = name.split('-').next().unwrap_or_default();
        means(name).or_else(|| means(first)).unwrap_or_default()
    }
}

/// A field that is there, be it `null`: to be chosen. One that is not there: absent.
fn asked_for<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
