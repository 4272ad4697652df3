//! What `wabe doctor` finds.

use serde::Serialize;

/// Something that should be known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    /// One of [`CODES`].
    pub(crate) code: &'static str,
    pub(crate) severity: Severity,
    /// `None`: it is about the machine.
    pub(crate) mesh: Option<String>,
    pub(crate) what: String,
    pub(crate) remedy: String,
    /// What `--fix` does about it.
    #[serde(rename = "fixable", serialize_with = "is_some")]
    pub(crate) repair: Option<Repair>,
}

/// A lane, and what the kernel lacks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Lane {
    /// One of [`wabe_datapath::LANES`].
    pub(crate) name: &'static str,
    /// Names of features; empty where it can be had.
    pub(crate) lacks: Vec<&'static str>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Good to know.
    Info,
    /// Works, but weaker, or not for long.
    Warning,
    /// Something that the mesh promises does not hold.
    Error,
}

/// What can be done without harm to what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    /// Removes what is left of a dead mesh.
    Sweep(String),
    /// Ends the agent, so that another one attaches what is missing.
    RestartAgent { mesh: String, pid: u32 },
}

/// Every code, in the order of docs/operations.md.
pub(crate) const CODES: [&str; 24] = [
    "kernel_lacks",
    "memory_short",
    "leftovers",
    "keeper_away",
    "other_namespace",
    "unreadable",
    "agent_away",
    "dns_away",
    "proxy_away",
    "proxy_behind",
    "agent_warns",
    "link_missing",
    "link_detached",
    "link_elsewhere",
    "tables_unreadable",
    "generation_differs",
    "map_nearly_full",
    "foreign_program",
    "workload_cut_off",
    "interface_missing",
    "table_missing",
    "folder_unfit",
    "descriptors_short",
    "clock_behind",
];

fn is_some<S: serde::Serializer>(repair: &Option<Repair>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(repair.is_some())
}
