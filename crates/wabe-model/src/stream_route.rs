//! Gateway API `TCPRoute` and `TLSRoute`, attached to a Service (GAMMA): what becomes of connections whose bytes nobody reads.

use serde::{Deserialize, Serialize};

use crate::{HttpBackend, ObjectName, ParentRef};

/// Where connections to services go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpRoute {
    /// Its name.
    pub name: ObjectName,
    /// The services whose connections it is about; at least one.
    pub parents: Vec<ParentRef>,
    /// Its only rule: nothing could tell connections for a second one apart.
    pub rule: StreamRule,
}

/// Where TLS connections to services go, by the name that they ask for. They are passed on as they are (`Passthrough`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsRoute {
    /// Its name.
    pub name: ObjectName,
    /// The services whose connections it is about; at least one.
    pub parents: Vec<ParentRef>,
    /// It is about connections that ask for one of these; about all, those without a name too, if there is none. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<HostPattern>,
    /// Its only rule.
    pub rule: StreamRule,
}

/// What becomes of connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRule {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where they go, by weight; 1 to 16, without filters. The share of one that does not exist is refused.
    pub backends: Vec<HttpBackend>,
}

/// Names of hosts, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HostPattern {
    /// This name.
    Exact(String),
    /// All names that end in this one and have at least one label before it: of `*.example.com`, it is `example.com`.
    Below(String),
}
