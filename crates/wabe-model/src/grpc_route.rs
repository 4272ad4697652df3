//! Gateway API `GRPCRoute`, attached to a Service (GAMMA): what becomes of calls to it.

use serde::{Deserialize, Serialize};

use crate::{Expression, HttpBackend, HttpFilter, ObjectName, ParentRef, ValueMatch};

/// Rules for calls of services' methods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRoute {
    /// Its name.
    pub name: ObjectName,
    /// The services whose calls it is about; at least one.
    pub parents: Vec<ParentRef>,
    /// In the order in which they were written; at least one, at most 16.
    pub rules: Vec<GrpcRouteRule>,
}

/// What becomes of calls that match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteRule {
    /// Its name, unique in the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// One of these must match; never empty, every call if none was written.
    pub matches: Vec<GrpcMatch>,
    /// What is done to calls and answers, in this order: changes of headers, mirrors, and Wabe's own filters only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<HttpFilter>,
    /// Where calls go, by weight. Without any they are answered by `UNAVAILABLE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<HttpBackend>,
}

/// What a call must be like: all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcMatch {
    /// What is called; anything unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<GrpcMethod>,
    /// Headers that it has. Names are in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<ValueMatch>,
}

/// What is called: at least one of both is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GrpcMethod {
    /// These names.
    Exact {
        /// With its package, as `shop.v1.Catalogue`.
        service: Option<String>,
        /// As `List`.
        method: Option<String>,
    },
    /// Names that these describe.
    Expression {
        /// Of the service with its package.
        service: Option<Expression>,
        /// Of the method.
        method: Option<Expression>,
    },
}
