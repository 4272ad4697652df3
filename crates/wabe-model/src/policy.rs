//! `AuthorizationPolicy`: the layer-4 part, with Istio's meaning.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::ObjectName;

/// Who may talk to the selected workloads.
///
/// Order of decision (Istio's): a matching DENY rule refuses; if no ALLOW policy selects the workload the caller is
/// admitted; a matching ALLOW rule admits; everything else is refused. AUDIT rules only mark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationPolicy {
    /// Its name; in the root namespace it holds for the whole mesh, else for its namespace.
    pub name: ObjectName,
    /// What a match means; ALLOW if not written.
    pub action: PolicyAction,
    /// Labels that a workload must have to be selected; empty selects all.
    pub selector: BTreeMap<String, String>,
    /// Any one suffices. No rule: nothing matches (an ALLOW policy without rules refuses everyone).
    pub rules: Vec<Rule>,
    /// Annotation `istio.io/dry-run: "true"`: reported, not enforced.
    pub dry_run: bool,
}

/// What a match means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PolicyAction {
    /// Admit.
    Allow,
    /// Refuse.
    Deny,
    /// Mark.
    Audit,
}

/// Matches if one of `from` (or `from` is empty), one of `to` (or `to` is empty) and all of `when_*` match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Callers.
    pub from: Vec<Source>,
    /// Operations.
    pub to: Vec<Operation>,
    /// What `when` demands of the caller, one entry a condition.
    #[serde(default)]
    pub when_sources: Vec<Source>,
    /// What `when` demands of the operation, one entry a condition.
    #[serde(default)]
    pub when_operations: Vec<Operation>,
}

/// Matches a caller if every field that is not empty does; within a field any one entry suffices, within a `not_*`
/// field none may match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Principals without scheme: `cluster.local/ns/shop/sa/frontend`.
    pub principals: Vec<StringMatch>,
    /// None of these principals.
    pub not_principals: Vec<StringMatch>,
    /// Namespaces.
    pub namespaces: Vec<StringMatch>,
    /// None of these namespaces.
    pub not_namespaces: Vec<StringMatch>,
    /// Service accounts, always as `namespace/name` (the parser adds the policy's namespace where it was left out).
    pub service_accounts: Vec<ObjectName>,
    /// None of these service accounts.
    pub not_service_accounts: Vec<ObjectName>,
    /// Addresses that packets come from.
    pub ip_blocks: Vec<IpNet>,
    /// None of these addresses.
    pub not_ip_blocks: Vec<IpNet>,
}

/// Matches a port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Ports that the workload listens on, 1-65535. Empty: any.
    pub ports: Vec<u16>,
    /// None of these ports.
    pub not_ports: Vec<u16>,
}

/// Istio's way to match a string.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StringMatch {
    /// `abc`
    Exact(String),
    /// `abc*`
    Prefix(String),
    /// `*abc`
    Suffix(String),
    /// `*`: anything but the empty string.
    Present,
}

impl StringMatch {
    /// Whether `text` matches. A caller without identity has empty strings.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(it) => text == it,
            Self::Prefix(it) => !text.is_empty() && text.starts_with(it.as_str()),
            Self::Suffix(it) => !text.is_empty() && text.ends_with(it.as_str()),
            Self::Present => !text.is_empty(),
        }
    }
}
