//! What the proxy answers itself, and who is to blame.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header::HeaderValue, response};
use wabe_http1::Refusal;

use crate::grpc;

/// Why a request was not answered by a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// What was dialled is no service that the proxy knows.
    UnknownService,
    /// So many callers are connected that there is no room for another.
    TooManyConnections,
    /// Routes hold for the caller, and none of their rules matches.
    NoRoute,
    /// The rule has no backend, or the one whose turn it was is none.
    InvalidBackend,
    /// The rule names a filter that there is none of.
    InvalidFilter,
    /// More than its RequestLimit lets pass; one may after this time.
    TooMany(Duration),
    /// A FaultInjection's, with this status.
    Injected(u16),
    /// Nobody serves the backend.
    NoHealthyEndpoint,
    /// None of the endpoints that were tried accepts connections, or what was asked for is HTTP/2 and none speaks it.
    ConnectFailed,
    /// The last of the endpoints that were tried did not accept within this time.
    ConnectTimeout(Duration),
    /// The kernel refused the connection: the caller, or the endpoint, has as many as its workload may, or the mesh.
    ConnectionLimit,
    /// The kernel refused the connection: the caller itself could not have made it.
    Policy,
    /// A policy of the endpoint that looks at requests refuses this one, or bytes that are none.
    Forbidden,
    /// Policies of the endpoint look at paths, and this one is read as another by some servers.
    AmbiguousPath,
    /// The kernel says that the endpoint's policies are newer than those that can be read here.
    PolicyNewer,
    /// The keeper gives no socket for the caller.
    NoSocket,
    /// The backend has as many requests or connections as its rule allows.
    Overflow,
    /// The backend closed the connection, or did not speak HTTP.
    BadAnswer,
    /// The endpoint broke off in the middle of what it said. The log alone can tell.
    UpstreamBroke,
    /// The caller did, or left in the middle of its answer. The log alone can tell.
    CallerLeft,
    /// No bytes went by for as long as a DestinationRule lets a connection be silent. The log alone can tell.
    StreamIdle(Duration),
    /// No answer within the time that the route grants.
    RequestTimeout(Duration),
    /// No answer of a backend within the time that the route grants.
    BackendTimeout(Duration),
    /// No answer within the time that the caller of gRPC grants (`grpc-timeout`).
    CallerDeadline(Duration),
    /// The proxy's time is up, and no answer had begun.
    Ending,
    /// What came is no request, or can be read in two ways.
    Malformed(Refusal),
    /// The request's head took too long.
    SlowHead,
    /// More of the request's body took too long.
    SlowBody,
    /// A caller that began with HTTP/2 broke its rules. The log alone can tell.
    BadHttp2,
    /// A caller makes more of HTTP/2 than anybody needs: frames without use, streams that it resets at once.
    Http2Abuse,
    /// The request has no host, or several.
    BadHost,
    /// The request can't be routed as it is written.
    Unsupported,
}

impl Failure {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::InvalidBackend | Self::InvalidFilter => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Injected(status) => StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
            Self::Policy | Self::Forbidden | Self::AmbiguousPath => StatusCode::FORBIDDEN,
            Self::UnknownService
            | Self::TooManyConnections
            | Self::NoHealthyEndpoint
            | Self::ConnectFailed
            | Self::ConnectTimeout(_)
            | Self::ConnectionLimit
            | Self::PolicyNewer
            | Self::NoSocket
            | Self::Overflow
            | Self::Ending => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadAnswer | Self::UpstreamBroke => StatusCode::BAD_GATEWAY,
            Self::StreamIdle(_)
            | Self::RequestTimeout(_)
            | Self::BackendTimeout(_)
            | Self::CallerDeadline(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Malformed(refusal) => refusal.status(),
            Self::SlowHead | Self::SlowBody | Self::CallerLeft => StatusCode::REQUEST_TIMEOUT,
            Self::BadHost | Self::BadHttp2 | Self::Http2Abuse => StatusCode::BAD_REQUEST,
            Self::Unsupported => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// Nobody could be connected to, which another endpoint, or another time, may mend.
    pub(crate) fn is_unconnected(self) -> bool {
        matches!(self, Self::NoHealthyEndpoint | Self::ConnectFailed | Self::ConnectTimeout(_))
    }

    /// It is a connection's, of which no request is known, or was refused.
    pub(crate) fn is_of_connection(self) -> bool {
        matches!(
            self,
            Self::UnknownService
                | Self::TooManyConnections
                | Self::SlowHead
                | Self::BadHttp2
                | Self::Http2Abuse
        )
    }

    /// An endpoint was to be connected to.
    pub(crate) fn is_about_endpoint(self) -> bool {
        self.is_unconnected() || matches!(self, Self::ConnectionLimit | Self::Policy | Self::PolicyNewer)
    }

    /// One of the times passed that the route grants.
    pub(crate) fn is_routes_time(self) -> bool {
        matches!(self, Self::RequestTimeout(_) | Self::BackendTimeout(_))
    }

    /// As gRPC tells it (its statuscodes.md and http-grpc-status-mapping.md).
    pub(crate) fn grpc_status(self) -> grpc::Code {
        use grpc::{
            CANCELLED, DEADLINE_EXCEEDED, INTERNAL, PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNAVAILABLE,
            UNIMPLEMENTED,
        };
        match self {
            Self::NoRoute | Self::Unsupported => UNIMPLEMENTED,
            Self::Policy | Self::Forbidden | Self::AmbiguousPath => PERMISSION_DENIED,
            Self::Overflow | Self::TooMany(_) | Self::ConnectionLimit => RESOURCE_EXHAUSTED,
            Self::CallerLeft => CANCELLED,
            Self::StreamIdle(_)
            | Self::RequestTimeout(_)
            | Self::BackendTimeout(_)
            | Self::CallerDeadline(_) => DEADLINE_EXCEEDED,
            // A stream that broke off is reset so, which callers take for that.
            Self::UpstreamBroke => INTERNAL,
            Self::Malformed(_)
            | Self::SlowHead
            | Self::SlowBody
            | Self::BadHost
            | Self::BadHttp2
            | Self::Http2Abuse => INTERNAL,
            Self::UnknownService
            | Self::TooManyConnections
            | Self::InvalidBackend
            | Self::InvalidFilter
            | Self::NoHealthyEndpoint
            | Self::ConnectFailed
            | Self::ConnectTimeout(_)
            | Self::PolicyNewer
            | Self::NoSocket
            | Self::Ending
            | Self::BadAnswer => UNAVAILABLE,
            // What its caller would make of such an answer.
            Self::Injected(_) => grpc::untold(self.status()),
        }
    }

    /// For machines: the header `x-wabe-reason` and the field of the log.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::UnknownService => "unknown-service",
            Self::TooManyConnections => "too-many-connections",
            Self::NoRoute => "no-route",
            Self::InvalidBackend => "invalid-backend",
            Self::InvalidFilter => "invalid-filter",
            Self::TooMany(_) => "request-limit",
            Self::Injected(_) => "injected-fault",
            Self::NoHealthyEndpoint => "no-healthy-endpoint",
            Self::ConnectFailed => "connect-failed",
            Self::ConnectTimeout(_) => "connect-timeout",
            Self::ConnectionLimit => "connection-limit",
            Self::Policy | Self::Forbidden => "policy",
            Self::AmbiguousPath => "ambiguous-path",
            Self::PolicyNewer => "policy-newer",
            Self::NoSocket => "no-socket",
            Self::Overflow => "overflow",
            Self::BadAnswer => "bad-upstream-answer",
            Self::UpstreamBroke => "upstream-broke",
            Self::CallerLeft => "caller-left",
            Self::StreamIdle(_) => "stream-idle",
            Self::RequestTimeout(_) => "request-timeout",
            Self::BackendTimeout(_) => "backend-request-timeout",
            Self::CallerDeadline(_) => "caller-deadline",
            Self::Ending => "proxy-ending",
            Self::Malformed(refusal) => refusal.reason(),
            Self::SlowHead => "slow-head",
            Self::SlowBody => "slow-body",
            Self::BadHttp2 => "bad-http2",
            Self::Http2Abuse => "http2-abuse",
            Self::BadHost => "bad-host",
            Self::Unsupported => "unsupported",
        }
    }

    /// Who can mend it: `caller`, `route`, `upstream`, `mesh`.
    pub(crate) fn blame(self) -> &'static str {
        match self {
            Self::Policy
            | Self::Forbidden
            | Self::AmbiguousPath
            | Self::TooMany(_)
            | Self::CallerDeadline(_)
            | Self::Malformed(_)
            | Self::SlowHead
            | Self::SlowBody
            | Self::CallerLeft
            | Self::BadHttp2
            | Self::Http2Abuse
            | Self::BadHost
            | Self::Unsupported => "caller",
            Self::NoRoute
            | Self::InvalidBackend
            | Self::InvalidFilter
            | Self::Injected(_)
            | Self::StreamIdle(_) => "route",
            Self::NoHealthyEndpoint
            | Self::ConnectFailed
            | Self::ConnectTimeout(_)
            | Self::Overflow
            | Self::BadAnswer
            | Self::UpstreamBroke
            | Self::RequestTimeout(_)
            | Self::BackendTimeout(_) => "upstream",
            Self::UnknownService
            | Self::TooManyConnections
            | Self::ConnectionLimit
            | Self::PolicyNewer
            | Self::NoSocket
            | Self::Ending => "mesh",
        }
    }

    /// The answer in full. Callers of gRPC look at its status only.
    pub(crate) fn answer(self, grpc: bool) -> (response::Parts, Bytes) {
        let text = self.text();
        let (mut head, ()) = Response::new(()).into_parts();
        head.headers.insert("x-wabe-reason", HeaderValue::from_static(self.reason()));
        head.headers.insert("x-wabe-blame", HeaderValue::from_static(self.blame()));
        if grpc {
            head.headers.insert("content-type", HeaderValue::from_static("application/grpc"));
            head.headers.extend(self.grpc_trailers());
            return (head, Bytes::new());
        }
        head.status = self.status();
        if let Self::TooMany(time) = self {
            // Whole seconds (RFC 9110, section 10.2.3), and not too early.
            head.headers.insert("retry-after", time.as_secs().saturating_add(1).into());
        }
        head.headers.insert("content-type", HeaderValue::from_static("text/plain; charset=utf-8"));
        (head, text.into())
    }

    /// What ends an answer of gRPC.
    pub(crate) fn grpc_trailers(self) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from(u16::from(self.grpc_status().number())));
        if let Ok(message) = HeaderValue::try_from(percent_encoded(self.text().trim_end())) {
            trailers.insert("grpc-message", message);
        }
        trailers
    }

    fn text(self) -> String {
        format!("wabe: {}: {self}\n", self.reason())
    }
}

/// As gRPC has texts in fields: what is no printable ASCII, and `%`, octet by octet.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b' '..=b'$' | b'&'..=b'~' => encoded.push(char::from(octet)),
            b'%' | ..b' ' | 0x7f.. => {
                let _ = write!(encoded, "%{octet:02X}");
            }
        }
    }
    encoded
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = match self {
            Self::UnknownService => "the mesh has no rules for what was dialled (any more): connect again",
            Self::NoRoute => "no rule of the service's routes matches this request",
            Self::InvalidBackend => {
                "the route's rule leads to no service that it may name; `wabe explain --http` tells why"
            }
            Self::InvalidFilter => {
                "the route's rule names a RequestLimit or FaultInjection that does not exist"
            }
            Self::TooMany(time) => {
                return write!(
                    formatter,
                    "more than the route's RequestLimit lets pass; one may in {time:?}"
                );
            }
            Self::Injected(_) => "the route's FaultInjection answers so",
            Self::NoHealthyEndpoint => "the service has no endpoint, or none that is in use now",
            Self::ConnectFailed => {
                "none of the service's endpoints that were tried accepts connections, or HTTP/2 where that is spoken"
            }
            Self::ConnectTimeout(time) => {
                return write!(
                    formatter,
                    "the endpoint that was tried last accepts no connection within {time:?}"
                );
            }
            Self::ConnectionLimit => {
                "a limit of the caller's or the endpoint's workload, or the mesh's, has no room for the connection: `wabe flows --refused` tells which"
            }
            Self::Policy => "the caller may not connect to the endpoint; `wabe explain` tells the rule",
            Self::Forbidden => "a policy refuses this request; `wabe explain --http` tells the rule",
            Self::AmbiguousPath => {
                "policies look at paths, and this one is read as another by some servers: leave out `//`, `.`, `..`, `\\` and escapes of what needs none"
            }
            Self::PolicyNewer => "policies changed and were not read yet: ask again",
            Self::NoSocket => "the keeper gives no socket for this workload",
            Self::Overflow => "the service has as many requests or connections as its DestinationRule allows",
            Self::BadAnswer => "the endpoint closed the connection, or its answer is no HTTP",
            Self::UpstreamBroke => "the endpoint broke off",
            Self::CallerLeft => "the caller broke off, or left",
            Self::StreamIdle(time) => {
                return write!(formatter, "neither end said anything within the DestinationRule's {time:?}");
            }
            Self::RequestTimeout(time) => {
                return write!(formatter, "no answer within the route's timeouts.request of {time:?}");
            }
            Self::BackendTimeout(time) => {
                return write!(formatter, "no answer within the route's timeouts.backendRequest of {time:?}");
            }
            Self::CallerDeadline(time) => {
                return write!(formatter, "no answer within the caller's own grpc-timeout of {time:?}");
            }
            Self::Ending => "the proxy was relieved by another one and its time is up: ask again",
            Self::Malformed(refusal) => return refusal.fmt(formatter),
            Self::SlowHead => "the request's head did not come to its end in time",
            Self::SlowBody => "no more of the request's body came in time",
            Self::BadHttp2 => "the caller broke the rules of HTTP/2",
            Self::Http2Abuse => "the caller makes more of HTTP/2 than anybody needs",
            Self::TooManyConnections => {
                "callers' connections hold 60 % of the proxy's descriptors: raise the hard limit of `wabe up`, or close some"
            }
            Self::BadHost => "a request has one host, in one `host` header",
            Self::Unsupported => "the proxy does not relay this method",
        };
        formatter.write_str(sentence)
    }
}

/// One of each kind.
#[cfg(test)]
pub(crate) fn one_of_each() -> impl Iterator<Item = Failure> {
    let second = Duration::from_secs(1);
    let malformed = Refusal::ALL.iter().map(|it| Failure::Malformed(*it));
    malformed.chain([
        Failure::UnknownService,
        Failure::TooManyConnections,
        Failure::NoRoute,
        Failure::InvalidBackend,
        Failure::InvalidFilter,
        Failure::TooMany(second),
        Failure::Injected(503),
        Failure::NoHealthyEndpoint,
        Failure::ConnectFailed,
        Failure::ConnectTimeout(second),
        Failure::ConnectionLimit,
        Failure::Policy,
        Failure::Forbidden,
        Failure::AmbiguousPath,
        Failure::PolicyNewer,
        Failure::NoSocket,
        Failure::Overflow,
        Failure::BadAnswer,
        Failure::UpstreamBroke,
        Failure::CallerLeft,
        Failure::StreamIdle(second),
        Failure::RequestTimeout(second),
        Failure::BackendTimeout(second),
        Failure::CallerDeadline(second),
        Failure::Ending,
        Failure::SlowHead,
        Failure::SlowBody,
        Failure::BadHttp2,
        Failure::Http2Abuse,
        Failure::BadHost,
        Failure::Unsupported,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_of_grpc_are_told_what_they_would_make_of_an_injected_status() {
        for (status, want) in [(401, "16"), (403, "7"), (404, "12"), (429, "14"), (500, "2"), (503, "14")] {
            assert_eq!(Failure::Injected(status).answer(true).0.headers["grpc-status"], want, "{status}");
        }
    }

    #[test]
    fn a_message_of_grpc_is_told_whatever_it_is_made_of() {
        let told = Failure::TooMany(Duration::from_micros(500)).answer(true).0.headers;
        let message = told["grpc-message"].to_str().expect("ASCII");
        assert!(message.ends_with("one may in 500%C2%B5s"), "{message}");
        assert_eq!(percent_encoded("50 % of\u{e9}\n"), "50 %25 of%C3%A9%0A");
    }

    #[test]
    fn every_failure_says_why_and_whose_it_is() {
        for failure in one_of_each() {
            let (head, text) = failure.answer(false);
            assert_eq!(head.headers["x-wabe-reason"], failure.reason());
            assert_eq!(head.headers["x-wabe-blame"], failure.blame());
            assert!(head.status.is_client_error() || head.status.is_server_error(), "{failure:?}");
            assert!(text.starts_with(b"wabe: "));
            let (head, text) = failure.answer(true);
            assert_eq!(head.status, StatusCode::OK, "gRPC tells of failures by `grpc-status` only");
            assert_ne!(head.headers["grpc-status"], "0");
            assert!(text.is_empty());
        }
    }
}
