//! `Workload`: a program on this machine, once or several times.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Layer7, ObjectName, PortName, Transport};

/// A program that runs inside the mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Its name.
    pub name: ObjectName,
    /// What selectors look at.
    pub labels: BTreeMap<String, String>,
    /// Its identity's service account; `default` unless written.
    pub service_account: String,
    /// Program and arguments; at least the program.
    pub command: Vec<String>,
    /// Variables on top of a minimal environment (PATH, HOME, WABE_WORKLOAD, WABE_NAMESPACE, WABE_REPLICA).
    pub environment: BTreeMap<String, String>,
    /// Where it runs; `/` unless written. Relative paths are relative to the manifest's folder and absolute here.
    pub working_directory: PathBuf,
    /// Whether `/tmp` is empty at its start, its own, and gone at its end; the machine's unless written.
    #[serde(default)]
    pub private_tmp: bool,
    /// User name or number it runs as; `nobody` unless written.
    pub user: String,
    /// Capabilities that it keeps; none unless written.
    pub capabilities: Vec<Capability>,
    /// What happens when it exits.
    pub restart: RestartPolicy,
    /// When it counts as ready; without a probe, once its process runs.
    pub readiness: Option<Probe>,
    /// How many of it run, 0-1000; 1 unless written.
    pub replicas: u32,
    /// Ports by name, for services' named target ports.
    pub ports: Vec<WorkloadPort>,
    /// Share of connections relative to a service's other endpoints, 1-1000; 100 unless written.
    pub weight: u32,
    /// `region/zone` and the like; used later for balancing.
    pub locality: BTreeMap<String, String>,
    /// Whether it may reach addresses outside the mesh.
    pub egress: Egress,
    /// Time between SIGTERM and SIGKILL, in which open connections may end; 10 s unless written.
    pub grace: Duration,
    /// Connections that each replica may have and make; none unless written.
    #[serde(default)]
    pub limits: WorkloadLimits,
    /// Annotation `mesh.wabe.dev/l7`: whether callers of services that lead here are led to the proxy though no route asks for it.
    #[serde(default)]
    pub layer7: Layer7,
}

/// Limits of each replica of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadLimits {
    /// Of connections that it makes to others in the mesh.
    pub outbound: DirectionLimits,
    /// Of connections that others in the mesh make to it.
    pub inbound: DirectionLimits,
}

/// Limits in one direction; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DirectionLimits {
    /// Open at a time, up to 1 000 000.
    pub connections: u32,
    /// New ones a second, up to 1 000 000.
    pub per_second: u32,
}

impl Workload {
    /// Whether it has all of these labels.
    pub fn has_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }
}

/// A port that a workload listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadPort {
    /// Its name.
    pub name: PortName,
    /// 1-65535.
    pub port: u16,
    /// TCP unless written.
    pub transport: Transport,
}

/// A Linux capability by its name without `CAP_`, upper case: `NET_RAW`. Known to the kernel's list.
pub type Capability = String;

/// What happens when a workload's process exits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Started again, with growing pauses (100 ms up to 30 s).
    #[default]
    Always,
    /// Started again unless its exit status is 0.
    OnFailure,
    /// Left as it is.
    Never,
}

/// Whether a workload may reach addresses outside the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Egress {
    /// Refused.
    #[default]
    None,
    /// Through the node's address.
    Masquerade,
}

/// A readiness probe; made from inside the workload, over `lo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// What is tried.
    pub action: ProbeAction,
    /// Pause before the first try; 0 unless written.
    pub initial_delay: Duration,
    /// Pause between tries while ready, 100 ms to 1 h; 1 s unless written (tries until first ready come every 50 ms
    /// growing to this).
    pub period: Duration,
    /// A try that takes longer has failed; 1 s unless written.
    pub timeout: Duration,
    /// Failures in a row that make a ready workload not ready; 3 unless written.
    pub failure_threshold: u32,
}

/// What a probe tries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProbeAction {
    /// A TCP connection to this port succeeds.
    Tcp {
        /// The port.
        port: u16,
    },
    /// `GET` is answered by a status of 200-399.
    Http {
        /// The port.
        port: u16,
        /// Path and query.
        path: String,
    },
    /// A command, run inside the workload, exits with 0.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
}
