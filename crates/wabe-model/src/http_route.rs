//! Gateway API `HTTPRoute`, attached to a Service (GAMMA): what becomes of requests to it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Cors, Expression, ObjectName};

/// Rules for requests to services.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRoute {
    /// Its name.
    pub name: ObjectName,
    /// The services whose requests it is about; at least one.
    pub parents: Vec<ParentRef>,
    /// In the order in which they were written; at least one, at most 16.
    pub rules: Vec<HttpRouteRule>,
}

/// A service that a route is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// The service. A route of another namespace than the service's holds for callers of its own namespace only.
    pub service: ObjectName,
    /// Only this port of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Only the port of this name (`sectionName`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
}

/// What becomes of requests that match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteRule {
    /// Its name, unique in the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// One of these must match; never empty, every path if none was written.
    pub matches: Vec<HttpMatch>,
    /// What is done to requests and answers, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<HttpFilter>,
    /// Where requests go, by weight. Without any, and without a redirect, they are answered by 500.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<HttpBackend>,
    /// How long an answer may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// When a backend is asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// What a request must be like: all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpMatch {
    /// Its path.
    pub path: PathMatch,
    /// Its method; any unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Headers that it has. Names are in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<ValueMatch>,
    /// Parameters of its query.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<ValueMatch>,
}

/// What a path must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathMatch {
    /// This.
    Exact(String),
    /// This, or this and further elements: `/abc` is a prefix of `/abc/d` and not of `/abcd`.
    Prefix(String),
    /// What it describes.
    Expression(Expression),
}

/// A header or parameter, and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValueMatch {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: ValuePattern,
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ValuePattern {
    /// This.
    Exact(String),
    /// What it describes.
    Expression(Expression),
}

/// What is done to a request or its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HttpFilter {
    /// `RequestHeaderModifier`.
    RequestHeaders(HeaderChange),
    /// `ResponseHeaderModifier`.
    ResponseHeaders(HeaderChange),
    /// `RequestRedirect`: the caller is told to ask elsewhere.
    Redirect(Redirect),
    /// `URLRewrite`: the backend is asked for something else.
    Rewrite(Rewrite),
    /// `RequestMirror`: another service gets a copy, whose answer nobody waits for. A rule may have several.
    Mirror(Mirror),
    /// `CORS`: browsers are told whose pages may read answers.
    Cors(Cors),
    /// `ExtensionRef` to a `RequestLimit` of the route's namespace.
    Limit(ObjectName),
    /// `ExtensionRef` to a `FaultInjection` of the route's namespace.
    Fault(ObjectName),
}

/// Changes of headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderChange {
    /// In place of all values that a header has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<(String, String)>,
    /// Besides those that it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<(String, String)>,
    /// Headers that go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// Where a caller is sent; what is not written stays as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Redirect {
    /// `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Another host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Another path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathChange>,
    /// Another port; with a scheme and without a port, the scheme's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308; 302 unless written.
    pub status: u16,
}

/// What a backend is asked for instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rewrite {
    /// Another host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Another path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathChange>,
}

/// Another path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathChange {
    /// `ReplaceFullPath`.
    Full(String),
    /// `ReplacePrefixMatch`: in place of the prefix that matched.
    Prefix(String),
}

/// Who gets copies of requests, and of how many: of `numerator` in `denominator`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// A service; of another namespace only where a `ReferenceGrant` allows it.
    pub service: ObjectName,
    /// A port of it.
    pub port: u16,
    /// What it is if it is no service: nothing gets copies then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_kind: Option<OtherKind>,
    /// At most `denominator`.
    pub numerator: u32,
    /// 1 or more; 100 unless written.
    pub denominator: u32,
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpBackend {
    /// A service; of another namespace only where a `ReferenceGrant` allows it.
    pub service: ObjectName,
    /// A port of it; 0 if it is of another kind and has none.
    pub port: u16,
    /// What it is if it is no service: its share of requests is answered by 500 then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_kind: Option<OtherKind>,
    /// Its share, 0 to 1 000 000; 1 unless written.
    pub weight: u32,
    /// What is done to requests that go here, and to their answers, after the rule's own filters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<HttpFilter>,
}

/// A kind that a route refers to and that Wabe sends no requests to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherKind {
    /// Its API group.
    pub group: String,
    /// Its name.
    pub kind: String,
}

/// How long an answer may take; no limit unless written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// From the request's head to the answer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// The same for each try of a backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Duration>,
}

/// When a backend is asked again: what can't be reached always, and answers with one of these statuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// 400 to 599, in ascending order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<u16>,
    /// How often at most, after the first time: 1 or more; 1 unless written.
    pub attempts: u32,
    /// How long is waited at least before each time; as long as the proxy thinks right unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
}
