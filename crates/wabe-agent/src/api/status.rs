//! How a mesh is, as `wabe status` shows it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Everything that the agent knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The mesh's name.
    pub mesh: String,
    /// Raised with each change in the kernel.
    pub generation: u64,
    /// Process id of the agent.
    pub agent: u32,
    /// Workloads by namespace and name.
    pub workloads: Vec<WorkloadStatus>,
    /// Services by namespace and name.
    pub services: Vec<ServiceStatus>,
    /// Connections by lane since the mesh began.
    pub lanes: Vec<CounterStatus>,
    /// Refusals by reason since the mesh began; reasons that never occurred are left out.
    pub refusals: Vec<CounterStatus>,
    /// Accepted connections that are open now.
    pub connections: u64,
    /// Reports of connections that found no room.
    pub events_lost: u64,
    /// Callers that could not be noted to stay at their endpoint, for want of room.
    #[serde(default)]
    pub affinities_lost: u64,
    /// Exchanges of datagrams that found no room.
    #[serde(default)]
    pub exchanges_lost: u64,
    /// How often an endpoint was ejected, since the agent started.
    #[serde(default)]
    pub ejections: u64,
    /// Where metrics are served over TCP, as `127.0.0.1:4711`, on the host.
    #[serde(default)]
    pub metrics: Option<String>,
    /// How full the kernel's maps are.
    pub maps: Vec<MapStatus>,
    /// What should be looked at.
    pub warnings: Vec<String>,
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// `namespace/name`.
    pub name: String,
    /// Its identity, as policies name it.
    pub principal: String,
    /// Replicas that are ready.
    pub ready: u32,
    /// Replicas that there should be.
    pub wanted: u32,
    /// Its replicas, those on their way out included.
    pub instances: Vec<InstanceStatus>,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// Its number in the kernel's tables.
    pub id: u32,
    /// Which replica.
    pub replica: u32,
    /// `making`, `starting`, `started`, `draining`, `ending`.
    pub phase: String,
    /// Whether services send connections to it.
    pub ready: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// How often its process was started again.
    pub restarts: u32,
    /// Connections towards it that are open now.
    pub live: u64,
    /// Connections towards it that were ever begun.
    pub total: u64,
    /// Why it is not ready.
    pub trouble: Option<String>,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// `namespace/name`.
    pub name: String,
    /// Its virtual addresses; none if it is headless.
    pub addresses: Vec<IpAddr>,
    /// Its ports, as `80/tcp`.
    pub ports: Vec<String>,
    /// `two-choices`, `random`, `round-robin`, `consistent`.
    pub balance: String,
    /// The workloads behind it, ready or not.
    pub endpoints: Vec<EndpointStatus>,
}

/// A workload behind a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// Its number in the kernel's tables.
    #[serde(default)]
    pub id: u32,
    /// `namespace/name`.
    pub workload: String,
    /// Which replica.
    pub replica: u32,
    /// Whether it gets connections.
    pub ready: bool,
    /// Share of connections relative to the others.
    pub weight: u32,
    /// Connections that are open now.
    pub live: u64,
    /// It gets none for a while, because connections to it failed.
    #[serde(default)]
    pub ejected: bool,
    /// The node's proxy sends it no requests for a while, because some to it failed. The agent does not know that: whoever asks
    /// reads it of [`crate::figures::live`].
    #[serde(default)]
    pub proxy_ejected: bool,
}

/// A counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterStatus {
    /// What it counts.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// A map in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapStatus {
    /// Its name.
    pub name: String,
    /// Rows in use, where the kernel tells.
    pub used: Option<u64>,
    /// Rows that it has room for.
    pub limit: u64,
}
