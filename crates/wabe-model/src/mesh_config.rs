//! Settings of the mesh.

use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// `MeshConfig`: node-wide settings. Everything has a default; address ranges are found if not written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// Trust domain of the identities; `cluster.local` by default.
    pub trust_domain: String,
    /// Policies in this namespace hold for the whole mesh; `istio-system` by default, as in Istio.
    pub root_namespace: String,
    /// Workloads' IPv4 addresses, /8 to /24.
    pub workload_range_v4: Option<Ipv4Net>,
    /// Services' IPv4 addresses, /8 to /24.
    pub service_range_v4: Option<Ipv4Net>,
    /// Workloads' IPv6 addresses, /48 to /112.
    pub workload_range_v6: Option<Ipv6Net>,
    /// Services' IPv6 addresses, /48 to /112.
    pub service_range_v6: Option<Ipv6Net>,
    /// Packets between workloads of a node go from interface to interface, past the node's own stack; yes by default.
    pub short_cut: bool,
    /// Which requests the proxy logs.
    pub access_log: AccessLog,
    /// How many threads of the proxy serve callers, 1 to 64; as many as there are cores if not written.
    pub proxy_workers: Option<u8>,
    /// For so long after bytes came the proxy's workers look for more before they sleep, whole microseconds up to 1 ms; not at all
    /// by default.
    pub proxy_busy_poll: Duration,
}

/// Which requests and opaque connections have a line in the proxy's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    /// All.
    All,
    /// Those that were answered with a 5xx, or by the proxy itself, or broke off.
    #[default]
    Failures,
    /// None.
    None,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            trust_domain: "cluster.local".into(),
            root_namespace: "istio-system".into(),
            workload_range_v4: None,
            service_range_v4: None,
            workload_range_v6: None,
            service_range_v6: None,
            short_cut: true,
            access_log: AccessLog::default(),
            proxy_workers: None,
            proxy_busy_poll: Duration::ZERO,
        }
    }
}
