//! A line of the log.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::Method;
use serde::Serialize;
use wabe_model::ObjectName;
use wabe_policy::http::TableRule;

use super::{Record, cut};
use crate::{
    answer::Protocol, failure::Failure, figures::NO_ANSWER, grpc, identity::RequestId, world::Service,
};

/// Longer paths and request ids are cut.
const PATH: usize = 256;
const ID: usize = 64;

#[derive(Serialize)]
pub(super) struct Line<'a> {
    /// Seconds since 1970.
    time: f64,
    /// `namespace/name` of the caller.
    caller: Name<'a>,
    /// `namespace/name:port` that was dialled.
    service: Shown<ServicePort<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<Shown<RouteName<'a>>>,
    /// The rule's name, or its number from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<RuleName<'a>>,
    /// Of a copy of a request: where it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    mirror: Option<&'a str>,
    /// What the caller speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    /// As the caller named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<&'a str>,
    /// Without its query, which may hold secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Of a call of gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<u8>,
    /// Why the proxy answered itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blame: Option<&'a str>,
    /// Of what a policy that looks at requests refused: the rule, or that none admits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<Name<'a>>,
    /// The endpoint's, which tells replicas apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    /// Only if it was tried more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    tries: Option<u32>,
    bytes: u64,
    bytes_received: u64,
    complete: bool,
    /// From the request's head to the end of the answer.
    microseconds: u64,
    /// From there to the head of the endpoint's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// `namespace/name`.
struct Name<'a> {
    id: u32,
    names: Option<(&'a str, &'a str)>,
}

impl Serialize for Name<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.names {
            Some((namespace, name)) => serializer.collect_str(&format_args!("{namespace}/{name}")),
            None => serializer.collect_str(&self.id),
        }
    }
}

/// A service's port, or the address if it is none.
struct ServicePort<'a> {
    service: Option<&'a Service>,
    dialled: SocketAddr,
}

impl fmt::Display for ServicePort<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.service {
            Some(service) => write!(formatter, "{}:{}", service.name, service.port),
            None => self.dialled.fmt(formatter),
        }
    }
}

/// As people write it.
struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

enum RouteName<'a> {
    Of(&'a ObjectName),
    Written(&'a str),
}

impl fmt::Display for RouteName<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(name) => name.fmt(formatter),
            Self::Written(text) => formatter.write_str(text),
        }
    }
}

enum RuleName<'a> {
    Of(&'a TableRule),
    Written(&'a str),
}

impl Serialize for RuleName<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Of(TableRule { name: Some(name), .. }) => serializer.serialize_str(name),
            Self::Of(rule) => serializer.collect_str(&rule.rule),
            Self::Written(name) => serializer.serialize_str(name),
        }
    }
}

impl Record {
    /// The endpoint's, of the family that was dialled.
    fn address(&self) -> Option<IpAddr> {
        let facts = self.world.as_ref()?.workloads.get(&self.endpoint?)?;
        Some(if self.caller.dialled.is_ipv4() { facts.v4.into() } else { facts.v6.into() })
    }

    pub(super) fn line(&self) -> Line<'_> {
        let name = |id: u32| Name {
            id,
            names: self
                .world
                .as_ref()
                .and_then(|world| world.workloads.get(&id))
                .map(|it| (it.namespace.as_str(), it.name.as_str())),
        };
        let service = self.service.as_ref();
        let (took, since) = (self.took(), self.began.elapsed());
        let began = SystemTime::now().checked_sub(since).and_then(|it| it.duration_since(UNIX_EPOCH).ok());
        let left = (self.asked.method.is_some() && self.status.is_none()).then_some((NO_ANSWER, "caller"));
        Line {
            time: began.map_or(0.0, |it| it.as_secs_f64()),
            caller: name(self.caller.workload),
            service: Shown(ServicePort { service: service.map(Rc::as_ref), dialled: self.caller.dialled }),
            route: match (&self.rule, &self.outlets) {
                (Some(rule), _) => Some(Shown(RouteName::Of(&rule.route))),
                (None, Some((route, _))) => Some(Shown(RouteName::Written(route))),
                (None, None) => None,
            },
            rule: match (&self.rule, &self.outlets) {
                (Some(rule), _) => Some(RuleName::Of(rule)),
                (None, Some((_, name))) => name.as_deref().map(RuleName::Written),
                (None, None) => None,
            },
            mirror: self.mirror.as_deref(),
            protocol: self.protocol,
            authority: self.marks.authority.as_deref(),
            method: self.asked.method.as_ref().map(Method::as_str),
            path: self.asked.target.as_ref().map(|it| cut(it.path(), PATH)),
            status: self.status.map(|it| it.as_u16()),
            grpc_status: self.grpc_code().map(grpc::Code::number),
            reason: self.failure.map(Failure::reason).or(left.map(|it| it.0)),
            blame: self.failure.map(Failure::blame).or(left.map(|it| it.1)),
            policy: self.refused_by.as_deref(),
            endpoint: self.endpoint.map(name),
            address: self.address(),
            tries: (self.tries > 1).then_some(self.tries),
            bytes: self.bytes.get(),
            bytes_received: self.received.get(),
            complete: self.complete,
            microseconds: whole(took),
            answered_after: self.answered.get().map(|it| whole(it.saturating_duration_since(self.began))),
            trace_id: self.marks.trace_id.as_deref(),
            request_id: self.request_id.as_ref().and_then(RequestId::as_str).map(|it| cut(it, ID)),
        }
    }
}

fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
