//! What is said over the keeper's socket.
//!
//! A client sends a [`Request`] and reads one [`Response`], as often as it likes; after [`Request::Subscribe`] only
//! [`Event`]s follow, after [`Request::Exec`] and [`Request::Shutdown`] the keeper closes. A request of an unknown
//! kind is answered by [`Response::Error`]; unknown fields are ignored, so that a keeper may be older than its agent.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

mod event;
mod state;

pub use event::{Event, EventKind};
pub use state::{ChildState, ExitStatus, InstanceState, KeeperState, Phase};

/// Grows with every change that an older peer would misunderstand.
pub const PROTOCOL_VERSION: u32 = 1;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Who are you? Answered by [`Response::Hello`].
    Hello,
    /// Make cgroup and network namespace; nothing runs yet, no packet passes. Answered by [`Response::Created`] with
    /// three descriptors: the network namespace, a `sock_diag` netlink socket inside it, and the listener of the node's
    /// proxy there. Repeating it is no error.
    Create(Box<InstanceSpec>),
    /// The answer of [`Request::Create`] once more, for an agent that was started anew.
    Find {
        /// Which.
        id: u32,
    },
    /// Let packets pass and start the process. No error if it runs already.
    Start {
        /// Which.
        id: u32,
    },
    /// SIGTERM now, SIGKILL to whatever is left after the grace. Answered at once; [`EventKind::Stopped`] follows.
    Stop {
        /// Which.
        id: u32,
        /// Milliseconds; the spec's if not given.
        grace_ms: Option<u64>,
    },
    /// Stop, then start again. Answered at once.
    Restart {
        /// Which.
        id: u32,
    },
    /// Kill what runs, and remove namespace and cgroup. Answered when they are gone; no error if they never were.
    Remove {
        /// Which.
        id: u32,
    },
    /// All of them. Answered by [`Response::List`].
    List,
    /// Run a command inside. Comes with three descriptors: its stdin, stdout, stderr. Answered by
    /// [`Response::Exited`]; killed if the client closes before.
    Exec(ExecSpec),
    /// Events from now on, [`EventKind::State`] first.
    Subscribe,
    /// Connect these UDP sockets of its processes anew, who notice nothing. Answered by [`Response::Reconnected`].
    Reconnect {
        /// Which.
        id: u32,
        /// The sockets, and to where.
        sockets: Vec<Reconnection>,
    },
    /// Start another proxy on the same listeners; once it serves, the one in charge drains. Answered then, by
    /// [`Response::Relieved`], or when it can't be: the one in charge stays then.
    RelieveProxy {
        /// Another build of `wabe`; the program that the proxy in charge runs if not given.
        #[serde(default)]
        program: Option<PathBuf>,
    },
    /// Stop everything, remove everything, exit. Answered when all is gone.
    Shutdown,
    /// Go on as this program (a path), with everything that runs; it then starts agent and dns anew. Answered only if that
    /// can't be: else the connection ends, and the next one reaches the new program.
    Replace {
        /// Another build of `wabe`.
        program: PathBuf,
    },
}

/// What the keeper answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// It is done, or has begun.
    Done,
    /// To [`Request::Hello`].
    Hello(KeeperState),
    /// To [`Request::Create`] and [`Request::Find`].
    Created(Created),
    /// To [`Request::List`], by id.
    List(Vec<InstanceState>),
    /// To [`Request::Reconnect`]: the inodes of those that were. The others are gone, or nothing is there to connect to.
    Reconnected(Vec<u32>),
    /// To [`Request::Exec`].
    Exited(ExitStatus),
    /// To [`Request::RelieveProxy`].
    Relieved {
        /// The process in charge.
        pid: u32,
    },
    /// It can't be done; nothing was changed. The message says what to do instead.
    Error {
        /// For people.
        message: String,
    },
}

/// A UDP socket that is to be connected anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconnection {
    /// The inode of the socket.
    pub inode: u32,
    /// As its application dialled it.
    pub to: SocketAddr,
}

/// What the kernel calls a workload that was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// The cgroup's number: the inode of its folder, and what `bpf_get_current_cgroup_id` returns inside.
    pub cgroup_id: u64,
    /// The node-side interface of its link.
    pub node_ifindex: u32,
}

/// One replica of a workload, as the keeper runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// Chosen by the agent; unique in the mesh.
    pub id: u32,
    /// `namespace/name`.
    pub workload: String,
    /// 0 for the first.
    pub replica: u32,
    /// `namespace.name-0`: names the log file. Letters, digits, `.`, `-`, `_`.
    pub name: String,
    /// Its address.
    pub v4: Ipv4Addr,
    /// Its address.
    pub v6: Ipv6Addr,
    /// Program and arguments; a program without `/` is looked up in `PATH`.
    pub command: Vec<String>,
    /// All of its variables; only `PATH` is added if missing.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Where it starts.
    #[serde(default = "slash")]
    pub working_directory: PathBuf,
    /// Whether its `/tmp` is its own, or the host's.
    #[serde(default)]
    pub private_tmp: bool,
    /// Name or number.
    pub user: String,
    /// Names without `CAP_`; it has no others.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What happens when it exits.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Without one, it is ready once its command was executed.
    #[serde(default)]
    pub probe: Option<ProbeSpec>,
    /// Whether it may reach addresses outside the mesh, through the node's.
    #[serde(default)]
    pub egress_masquerade: bool,
    /// Milliseconds between SIGTERM and SIGKILL.
    #[serde(default = "ten_seconds")]
    pub grace_ms: u64,
}

/// What happens when a workload's process exits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// Started again.
    #[default]
    Always,
    /// Started again unless its exit status is 0.
    OnFailure,
    /// Left as it is.
    Never,
}

/// When a workload counts as ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSpec {
    /// What is tried.
    pub action: ProbeAction,
    /// Milliseconds before the first try.
    #[serde(default)]
    pub initial_delay_ms: u64,
    /// Milliseconds between tries once ready; before that they come every 50 ms, growing to this.
    pub period_ms: u64,
    /// Milliseconds after which a try has failed.
    pub timeout_ms: u64,
    /// Failures in a row that make a ready workload not ready; at least 1.
    pub failure_threshold: u32,
}

/// What a probe tries, from inside the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeAction {
    /// A TCP connection to this port, over `lo`.
    Tcp {
        /// 1-65535.
        port: u16,
    },
    /// `GET` over `lo` is answered by a status of 200-399.
    Http {
        /// 1-65535.
        port: u16,
        /// Path and query, beginning with `/`.
        path: String,
    },
    /// A command exits with 0.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
}

/// A command to run inside a workload: same cgroup, namespaces, confinement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Which workload.
    pub id: u32,
    /// Program and arguments.
    pub command: Vec<String>,
    /// On top of the workload's own.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The workload's if not given.
    #[serde(default)]
    pub working_directory: Option<PathBuf>,
    /// The workload's if not given.
    #[serde(default)]
    pub user: Option<String>,
}

fn slash() -> PathBuf {
    "/".into()
}

fn ten_seconds() -> u64 {
    10_000
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in tests")]
mod tests {
    use super::*;

    #[test]
    fn a_short_spec_gets_the_defaults() {
        let spec: InstanceSpec = serde_json::from_str(
            r#"{"id": 7, "workload": "a/b", "replica": 0, "name": "a.b-0", "v4": "10.0.0.1", "v6": "fd00::1",
                "command": ["true"], "user": "nobody", "field_of_a_later_agent": 1}"#,
        )
        .unwrap();
        assert_eq!(spec.working_directory, PathBuf::from("/"));
        assert_eq!(spec.restart, RestartPolicy::Always);
        assert_eq!(spec.grace_ms, 10_000);
        assert!(spec.capabilities.is_empty() && spec.probe.is_none() && !spec.egress_masquerade);
    }

    #[test]
    fn requests_have_a_stable_form() {
        let stop = Request::Stop { id: 3, grace_ms: None };
        assert_eq!(serde_json::to_string(&stop).unwrap(), r#"{"stop":{"id":3,"grace_ms":null}}"#);
        assert_eq!(serde_json::to_string(&Request::Hello).unwrap(), r#""hello""#);
    }
}
