//! One running copy of a workload.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use wabe_model::{ObjectName, Workload};

/// One copy of a workload; its id is also its workload id and endpoint id in the kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// 1 to 4095.
    pub id: u32,
    /// Which of the workload's copies it is, from 0.
    pub replica: u32,
    /// How often a restart of the workload had been asked for when it was made.
    pub revision: u64,
    /// The workload as it was when this copy was made; what needs no new process is kept up to date.
    pub spec: Workload,
    /// How far it is.
    pub phase: Phase,
    /// Where it is; unknown until the keeper has made it.
    pub place: Option<Place>,
    /// The keeper's last word on its readiness.
    pub ready: bool,
    /// Why it is not ready, in words: the probe's last failure, or how it exited.
    pub trouble: Option<String>,
    /// It has been ready at least once.
    pub was_ready: bool,
    /// It did what it was to do and ended well; nobody starts it again.
    pub completed: bool,
    /// Waiting for it to become ready is of no use.
    pub hopeless: bool,
    /// How often its process was started again.
    pub restarts: u32,
    /// Its process, while it runs.
    pub pid: Option<u32>,
}

/// How far an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The keeper is making its namespaces.
    Making,
    /// In the kernel's tables; its process is being started.
    Starting,
    /// Its process was started.
    Started,
    /// Gets no new connection; waits for those that it has.
    Draining,
    /// The keeper is ending its process and taking its namespaces away.
    Ending,
}

/// Where an instance is on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    /// The id of its cgroup.
    pub cgroup: u64,
    /// Its interface in the node's network namespace.
    pub node_ifindex: u32,
}

impl Instance {
    /// A new one, of which nothing exists yet.
    pub fn new(id: u32, replica: u32, revision: u64, spec: Workload) -> Self {
        Self {
            id,
            replica,
            revision,
            spec,
            phase: Phase::Making,
            place: None,
            ready: false,
            trouble: None,
            was_ready: false,
            completed: false,
            hopeless: false,
            restarts: 0,
            pid: None,
        }
    }

    /// It has another cgroup: unless it is on its way out, it is started once the tables know that.
    pub fn rehouse(&mut self, cgroup: u64) {
        if let Some(place) = &mut self.place {
            place.cgroup = cgroup;
        }
        if let Phase::Starting | Phase::Started = self.phase {
            self.phase = Phase::Making;
            self.ready = false;
        }
    }

    /// The workload that it is a copy of.
    pub fn workload(&self) -> &ObjectName {
        &self.spec.name
    }

    /// The name of its log: `namespace.name-replica`.
    pub fn log_name(&self) -> String {
        format!("{}.{}-{}", self.spec.name.namespace, self.spec.name.name, self.replica)
    }

    /// Its addresses; none before it has a place.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.place.iter().flat_map(|place| [IpAddr::V4(place.v4), IpAddr::V6(place.v6)]).collect()
    }

    /// Whether it is on its way out.
    pub fn is_leaving(&self) -> bool {
        match self.phase {
            Phase::Draining | Phase::Ending => true,
            Phase::Making | Phase::Starting | Phase::Started => false,
        }
    }

    /// Whether services may send connections to it.
    pub fn takes_connections(&self) -> bool {
        self.ready && self.phase == Phase::Started
    }

    /// Whether this copy does for `wanted`: only what can't be changed under a running process matters.
    pub fn is_copy_of(&self, wanted: &Workload, revision: u64) -> bool {
        self.revision == revision && process_part(&self.spec) == process_part(wanted)
    }
}

/// A workload without the fields that can change while it runs.
fn process_part(workload: &Workload) -> Workload {
    Workload {
        labels: Default::default(),
        ports: Vec::new(),
        locality: Default::default(),
        limits: Default::default(),
        weight: 0,
        replicas: 0,
        grace: Default::default(),
        ..workload.clone()
    }
}
