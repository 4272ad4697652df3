//! Gateway API `TCPRoute` and `TLSRoute`, attached to a Service (GAMMA): what becomes of connections whose bytes nobody reads.

use serde::{Deserialize, Serialize};

use crate::{ObjectName, OtherKind, ParentRef};

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
    /// Where they go, by weight; 1 to 16.
    pub backends: Vec<StreamBackend>,
}

/// Where connections go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamBackend {
    /// A service; of another namespace only where a `ReferenceGrant` allows it.
    pub service: ObjectName,
    /// A port of it; 0 if it is of another kind and has none.
    pub port: u16,
    /// What it is if it is no service: its share of connections is refused then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_kind: Option<OtherKind>,
    /// Its share, 0 to 1 000 000; 1 unless written.
    pub weight: u32,
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
