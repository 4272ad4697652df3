//! What the command line and the agent say to each other: one JSON object a line over a Unix socket. A request gets one
//! reply or, where it says so, several; the agent closes after the last.

use serde::{Deserialize, Serialize};
use wabe_model::{Kind, Object, ObjectKey, ObjectName};

mod client;
mod flow;
mod server;
mod status;

pub use client::{Client, ClientError};
pub use flow::{End, Flow, FlowKind};
pub(crate) use server::serve;
pub use status::{
    CounterStatus, EndpointStatus, InstanceStatus, MapStatus, ServiceStatus, Status, WorkloadStatus,
};

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Request {
    /// Adds or replaces objects, all or none. [`Reply::Changed`].
    Apply {
        /// The objects.
        objects: Vec<Object>,
    },
    /// Removes objects, all or none; those that are not there are left out. [`Reply::Changed`].
    Delete {
        /// Their keys.
        keys: Vec<ObjectKey>,
    },
    /// Reads objects. [`Reply::Objects`].
    Get {
        /// Of this kind only.
        kind: Option<Kind>,
    },
    /// How the mesh is. [`Reply::Status`].
    Status,
    /// Sets a workload's number of replicas. [`Reply::Changed`].
    Scale {
        /// The workload.
        workload: ObjectName,
        /// 0 to 1000.
        replicas: u32,
    },
    /// Replaces a workload's replicas one by one. [`Reply::Changed`].
    Restart {
        /// The workload.
        workload: ObjectName,
    },
    /// Waits until workloads are ready. [`Reply::Progress`] as they become so, then [`Reply::Ready`] or
    /// [`Reply::NotReady`].
    WaitReady {
        /// These; empty means all.
        workloads: Vec<ObjectName>,
        /// In milliseconds from now.
        timeout: u64,
    },
    /// Services and endpoints that only the kernel's tables know. [`Reply::Changed`].
    Simulate(Simulate),
    /// Connections as they were opened, closed and refused. [`Reply::Flow`] for each, then [`Reply::FlowsEnd`].
    Flows {
        /// Goes on with new ones; then there is no end.
        follow: bool,
        /// At most this many of the past, the latest ones.
        last: usize,
    },
}

/// A change of what is simulated, for tests and for those who size a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Simulate {
    /// Loads this instead of what is simulated now.
    Load {
        /// Services, each with one virtual address and one port.
        services: u32,
        /// Endpoints of all services together.
        endpoints: u32,
    },
    /// Changes one endpoint.
    Change {
        /// Which service's, in an order without pattern.
        number: u32,
    },
    /// Removes all of it.
    Clear,
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Reply {
    /// It is in force in the kernel.
    Changed(Changed),
    /// Objects by kind, namespace and name.
    Objects {
        /// Those asked for.
        objects: Vec<Object>,
    },
    /// How the mesh is.
    Status(Box<Status>),
    /// A workload became ready, or lost what made it so.
    Progress {
        /// The workload.
        workload: ObjectName,
        /// Replicas that are ready.
        ready: u32,
        /// Replicas that there should be.
        wanted: u32,
    },
    /// All that was waited for is ready.
    Ready,
    /// Some of it is not, and time is up or waiting is of no use.
    NotReady {
        /// What is not.
        workloads: Vec<NotReady>,
    },
    /// One connection.
    Flow(Box<Flow>),
    /// There are no more.
    FlowsEnd {
        /// Reports that were lost since the mesh began, for want of room.
        lost: u64,
    },
    /// It was refused, and nothing was changed.
    Refused {
        /// Why, and what to do.
        message: String,
    },
}

/// What a change did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// Objects that are new.
    pub created: Vec<ObjectKey>,
    /// Objects that are different now.
    pub changed: Vec<ObjectKey>,
    /// Objects that were the same before.
    pub unchanged: Vec<ObjectKey>,
    /// Objects that are gone.
    pub deleted: Vec<ObjectKey>,
    /// What should be looked at.
    pub warnings: Vec<String>,
    /// The generation from which on it is in force.
    pub generation: u64,
    /// How long the agent took until it was, in microseconds.
    pub microseconds: u64,
}

/// A workload that is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotReady {
    /// The workload.
    pub workload: ObjectName,
    /// Replicas that are ready.
    pub ready: u32,
    /// Replicas that there should be.
    pub wanted: u32,
    /// What is wrong with the first that is not ready.
    pub why: String,
    /// The name of that one's log.
    pub instance: Option<String>,
}
