//! What the agent writes: the names of one snapshot.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

/// All names of the mesh. Written as JSON into a file beside its place and renamed over it.
///
/// Unknown fields are ignored on purpose: a newer agent may write for a resolver that still runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The cluster domain, as `cluster.local`.
    pub domain: String,
    /// Number of the snapshot; the serial of SOA records (its low 32 bits).
    pub generation: u64,
    /// Addresses that workloads' queries to `wabe dns` end at. A nameserver of the host with one of them is
    /// skipped: it would be ourselves.
    #[serde(default)]
    pub resolver: Vec<IpAddr>,
    /// All services.
    pub services: Vec<ServiceNames>,
    /// The namespace that a client's relative names belong to, by the client's address.
    pub clients: BTreeMap<IpAddr, String>,
}

/// The names of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceNames {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Virtual addresses; those of the ready workloads if it is headless.
    pub addresses: Vec<IpAddr>,
    /// Whether it has no virtual address.
    pub headless: bool,
    /// For SRV. A headless service has its workloads' own ports here, because clients connect to workloads.
    pub ports: Vec<Port>,
    /// Its ready workloads.
    pub endpoints: Vec<EndpointNames>,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Ports without a name have no SRV record.
    pub name: Option<String>,
    /// 1-65535.
    pub port: u16,
    /// Its protocol.
    pub transport: Transport,
}

/// Transport protocol, written in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// `_tcp`
    Tcp,
    /// `_udp`
    Udp,
}

/// A workload as an endpoint of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointNames {
    /// The replica's name, as `catalogue-v1-0`: one label.
    pub hostname: String,
    /// The workload's own addresses.
    pub addresses: Vec<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_documented_form() {
        let text = r#"{
            "domain": "cluster.local", "generation": 7, "future": true,
            "services": [{
                "namespace": "shop", "name": "catalogue", "addresses": ["10.96.0.1", "fd00::1"], "headless": false,
                "ports": [{"name": "http", "port": 80, "transport": "tcp"}, {"name": null, "port": 53, "transport": "udp"}],
                "endpoints": [{"hostname": "catalogue-v1-0", "addresses": ["10.1.0.2"]}]
            }],
            "clients": {"10.1.0.2": "shop", "fd01::2": "shop"}
        }"#;
        let names: Names = serde_json::from_str(text).expect("documented form");
        assert_eq!(names.services[0].ports[1].transport, Transport::Udp);
        assert_eq!(names.clients.len(), 2);
        let again: Names =
            serde_json::from_str(&serde_json::to_string(&names).expect("json")).expect("round trip");
        assert_eq!(again, names);
    }
}
