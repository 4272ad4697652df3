//! `AuthorizationPolicy`, with Istio's meaning.

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
    /// What `when` demands of the request's headers, one entry a condition.
    #[serde(default)]
    pub when_headers: Vec<HeaderCondition>,
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

/// Matches a port, and a request to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Ports that the workload listens on, 1-65535. Empty: any.
    pub ports: Vec<u16>,
    /// None of these ports.
    pub not_ports: Vec<u16>,
    /// Methods, told apart by case.
    #[serde(default)]
    pub methods: Vec<StringMatch>,
    /// None of these methods.
    #[serde(default)]
    pub not_methods: Vec<StringMatch>,
    /// Paths without their query, with escapes in capitals; gRPC: `/package.Service/Method`. They are compared as they are written,
    /// and [without escapes](crate::without_escapes) too.
    #[serde(default)]
    pub paths: Vec<StringMatch>,
    /// None of these paths.
    #[serde(default)]
    pub not_paths: Vec<StringMatch>,
    /// Hosts as requests name them, with their port if they do; whatever their case, and whether or not their name ends with a dot.
    #[serde(default)]
    pub hosts: Vec<StringMatch>,
    /// None of these hosts.
    #[serde(default)]
    pub not_hosts: Vec<StringMatch>,
}

/// `request.headers[NAME]`: matches if one of `values` does (or they are empty) and none of `not_values`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderCondition {
    /// The header's name, in small letters.
    pub name: String,
    /// Values. [`StringMatch::Present`]: any, an empty one too.
    pub values: Vec<StringMatch>,
    /// None of these values.
    pub not_values: Vec<StringMatch>,
}

impl AuthorizationPolicy {
    /// Whether it takes a look at requests to know whom it lets in or keeps out: one that only marks does not.
    #[must_use]
    pub fn decides_by_requests(&self) -> bool {
        let decides = match self.action {
            PolicyAction::Allow | PolicyAction::Deny => !self.dry_run,
            PolicyAction::Audit => false,
        };
        decides && self.rules.iter().any(Rule::looks_at_requests)
    }
}

impl Rule {
    /// Whether it demands something that only requests have.
    #[must_use]
    pub fn looks_at_requests(&self) -> bool {
        let mut operations = self.to.iter().chain(&self.when_operations);
        !self.when_headers.is_empty() || operations.any(Operation::looks_at_requests)
    }
}

impl Operation {
    /// Whether it demands something that only requests have.
    #[must_use]
    pub fn looks_at_requests(&self) -> bool {
        let Self { ports: _, not_ports: _, methods, not_methods, paths, not_paths, hosts, not_hosts } = self;
        [methods, not_methods, paths, not_paths, hosts, not_hosts].into_iter().any(|it| !it.is_empty())
    }
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
