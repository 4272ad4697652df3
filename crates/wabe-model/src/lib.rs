//! What users write and what the mesh makes of it: objects, identities, and the way from YAML to them.
//!
//! [`read_path`] reads files, [`parse`] makes objects of them, [`check()`] looks at all objects together; each tells all
//! that is wrong at once, with file, line, column, field and remedy. [`to_manifest`] goes the other way.
//!
//! Parse, don't validate: an [`Objects`] that came out of [`check()`] is one that can be applied. What is not understood
//! is an error and never ignored, except for what API servers add (`status`, `metadata.uid` and the like), other
//! people's annotations, and labels of objects that nothing selects. Reading manifests in [`read_path`] is the only I/O
//! here; this crate knows nothing of kernel, processes or sockets. Everything in user space may depend on it.
#![forbid(unsafe_code)]

mod by_labels;
mod check;
mod cors;
mod destination_rule;
mod diagnostic;
mod emit;
mod expression;
mod files;
mod grpc_route;
mod guard;
mod http_route;
mod identity;
mod kind;
mod locality;
mod manifest;
mod mesh_config;
mod name;
mod objects;
mod plain_path;
mod policy;
mod reference_grant;
mod route;
mod service;
mod stream_route;
mod workload;

pub use by_labels::ByLabels;
pub use check::check;
pub use cors::{Allowed, Cors, OriginPattern, Scheme};
pub use destination_rule::{
    ConnectionPool, DestinationRule, HashCookie, HashKey, OutlierDetection, RetryBudget,
};
pub use diagnostic::{Diagnostic, Diagnostics, Position, Severity};
pub use emit::{to_manifest, to_yaml};
pub use expression::{BadExpression, Expression};
pub use files::{MAX_FILE_BYTES, read_path};
pub use grpc_route::{GrpcMatch, GrpcMethod, GrpcRoute, GrpcRouteRule};
pub use guard::{Abort, Delay, FaultInjection, LimitScope, RequestLimit, Share};
pub use http_route::{
    HeaderChange, HttpBackend, HttpFilter, HttpMatch, HttpRoute, HttpRouteRule, Mirror, OtherKind, ParentRef,
    PathChange, PathMatch, Redirect, Retry, Rewrite, Timeouts, ValueMatch, ValuePattern,
};
pub use identity::Identity;
pub use kind::{Kind, UnknownKind};
pub use locality::{Failover, Locality};
pub use manifest::{Located, Manifest, Parsed, parse};
pub use mesh_config::{AccessLog, MeshConfig};
pub use name::{ObjectKey, ObjectName};
pub use objects::{Object, Objects};
pub use plain_path::{is_plain_path, same_escapes, without_escapes};
pub use policy::{AuthorizationPolicy, HeaderCondition, Operation, PolicyAction, Rule, Source, StringMatch};
pub use reference_grant::{GrantFrom, GrantTo, ReferenceGrant};
pub use route::{InvalidBackend, Reference, Route, RouteRule};
pub use service::{
    AppProtocol, Balance, ClusterIps, Distribution, Layer7, PortName, Service, ServicePort, TargetPort,
    Transport,
};
pub use stream_route::{HostPattern, StreamRule, TcpRoute, TlsRoute};
pub use workload::{
    Capability, DirectionLimits, Egress, Probe, ProbeAction, RestartPolicy, Workload, WorkloadLimits,
    WorkloadPort,
};
