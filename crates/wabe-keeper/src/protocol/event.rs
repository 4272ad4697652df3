//! What happened.

use serde::{Deserialize, Serialize};

use super::{ExitStatus, InstanceState};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Grows by one with each event of this keeper. The first event of a subscription, [`EventKind::State`], has the
    /// number of the last event that the list includes.
    pub sequence: u64,
    /// What it was.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// All that is, by id. Begins a subscription.
    State(Vec<InstanceState>),
    /// Its command was executed.
    Started {
        /// Which.
        id: u32,
        /// Its process.
        pid: u32,
    },
    /// Somebody removed its cgroup. It has another, and is as if just created: it waits for a start.
    Rehoused {
        /// Which.
        id: u32,
        /// The other cgroup's number.
        cgroup_id: u64,
    },
    /// Its process ended.
    Exited {
        /// Which.
        id: u32,
        /// How.
        status: ExitStatus,
    },
    /// It will be started again.
    Restarting {
        /// Which.
        id: u32,
        /// Milliseconds from now.
        in_ms: u64,
    },
    /// It serves.
    Ready {
        /// Which.
        id: u32,
    },
    /// It does not serve any more (or, the first time after a start, not yet).
    NotReady {
        /// Which.
        id: u32,
        /// What its probe met.
        why: String,
    },
    /// It can't be started, and won't be tried again unless asked for.
    Failed {
        /// Which.
        id: u32,
        /// Why, and what to do.
        message: String,
    },
    /// It was stopped on request: nothing of it runs.
    Stopped {
        /// Which.
        id: u32,
    },
    /// It was removed: nothing of it is left.
    Removed {
        /// Which.
        id: u32,
    },
}
