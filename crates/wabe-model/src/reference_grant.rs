//! Gateway API `ReferenceGrant`: who may refer to a namespace's services from another one.

use serde::{Deserialize, Serialize};

use crate::{Kind, ObjectName};

/// Lets routes of other namespaces name services of its own as their backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrant {
    /// Its name; its namespace is the one that is referred to.
    pub name: ObjectName,
    /// Who refers: one of these; at least one, at most 16.
    pub from: Vec<GrantFrom>,
    /// To what: one of these; at least one, at most 16.
    pub to: Vec<GrantTo>,
}

/// Who may refer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantFrom {
    /// Its API group.
    pub group: String,
    /// Its kind. Kinds that Wabe does not know refer to nothing.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
}

/// What may be referred to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantTo {
    /// Its API group; empty for a Service.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name; all of the kind unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl ReferenceGrant {
    /// Whether it lets routes of this kind and namespace refer to this service.
    pub fn grants(&self, route: Kind, namespace: &str, service: &ObjectName) -> bool {
        let from = |it: &GrantFrom| {
            it.group == "gateway.networking.k8s.io" && it.kind == route.as_str() && it.namespace == namespace
        };
        let to = |it: &GrantTo| {
            it.group.is_empty()
                && it.kind == Kind::Service.as_str()
                && it.name.as_ref().is_none_or(|name| *name == service.name)
        };
        self.name.namespace == service.namespace && self.from.iter().any(from) && self.to.iter().any(to)
    }
}
