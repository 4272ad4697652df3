//! How things are.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::InstanceSpec;

/// The keeper itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperState {
    /// [`super::PROTOCOL_VERSION`] of the keeper.
    pub protocol: u32,
    /// Version of its program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The mesh's name.
    pub mesh: String,
    /// Milliseconds since 1970 when it began.
    pub since_ms: u64,
    /// Agent, dns and proxy.
    pub children: Vec<ChildState>,
}

/// A process of the mesh that the keeper runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildState {
    /// `agent`, `dns` or `proxy`.
    pub name: String,
    /// Its process, if it runs.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// Milliseconds since 1970 of its last start.
    pub since_ms: u64,
    /// How it ended last.
    pub last_exit: Option<ExitStatus>,
    /// Why it could not be started, if that was so the last time.
    pub problem: Option<String>,
    /// Earlier processes of it that finish what they began, the one that was relieved first before others.
    #[serde(default)]
    pub draining: Vec<u32>,
}

/// One replica of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceState {
    /// As it was created.
    pub spec: InstanceSpec,
    /// Number of its cgroup.
    pub cgroup_id: u64,
    /// The node-side interface of its link.
    pub node_ifindex: u32,
    /// What it does.
    pub phase: Phase,
    /// Whether it serves.
    pub ready: bool,
    /// What its probe met last, if it is not ready.
    pub not_ready_because: Option<String>,
    /// How often it was started again, of itself or by request.
    pub restarts: u32,
    /// How its process ended last.
    pub last_exit: Option<ExitStatus>,
    /// Milliseconds since 1970 when the phase began.
    pub since_ms: u64,
}

/// What an instance does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Has its namespaces, was never started.
    Created,
    /// Its process is being confined; its command was not executed yet.
    Starting {
        /// Its process.
        pid: u32,
    },
    /// Its command runs.
    Running {
        /// Its process.
        pid: u32,
    },
    /// Ended; will be started again after a pause.
    BackingOff,
    /// Ended, and its policy says to leave it.
    Exited,
    /// Can't be started.
    Failed {
        /// Why, and what to do.
        message: String,
    },
    /// Was asked to end, and has not yet.
    Stopping,
    /// Was stopped on request.
    Stopped,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It exited with this status, 0-255.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl ExitStatus {
    /// As a shell has it: the status, or 128 + the signal.
    pub fn shell(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }

    /// Whether it ended with 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}
