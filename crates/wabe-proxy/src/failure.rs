//! What the proxy answers itself, and who is to blame.

use std::time::Duration;

use http_body_util::Full;
use hyper::{Response, StatusCode, body::Bytes, header::HeaderValue};

/// Why a request was not answered by a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// What was dialled is no service that the proxy knows.
    UnknownService,
    /// Routes hold for the caller, and none of their rules matches.
    NoRoute,
    /// The rule has no backend, or the one whose turn it was is none.
    InvalidBackend,
    /// Nobody serves the backend, or nobody could be reached.
    NoHealthyEndpoint,
    /// The kernel refused the connection: the caller itself could not have made it.
    Policy,
    /// The keeper gives no socket for the caller.
    NoSocket,
    /// The backend closed the connection, or did not speak HTTP.
    BadAnswer,
    /// No answer within the time that the route grants.
    RequestTimeout(Duration),
    /// No answer of a backend within the time that the route grants.
    BackendTimeout(Duration),
    /// The request has no host, or several.
    BadHost,
    /// The request can't be routed as it is written.
    Unsupported,
}

impl Failure {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::InvalidBackend => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Policy => StatusCode::FORBIDDEN,
            Self::UnknownService | Self::NoHealthyEndpoint | Self::NoSocket => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::BadAnswer => StatusCode::BAD_GATEWAY,
            Self::RequestTimeout(_) | Self::BackendTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::BadHost => StatusCode::BAD_REQUEST,
            Self::Unsupported => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// For machines: the header `x-wabe-reason` and the field of the log.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::UnknownService => "unknown-service",
            Self::NoRoute => "no-route",
            Self::InvalidBackend => "invalid-backend",
            Self::NoHealthyEndpoint => "no-healthy-endpoint",
            Self::Policy => "policy",
            Self::NoSocket => "no-socket",
            Self::BadAnswer => "bad-upstream-answer",
            Self::RequestTimeout(_) => "request-timeout",
            Self::BackendTimeout(_) => "backend-request-timeout",
            Self::BadHost => "bad-host",
            Self::Unsupported => "unsupported",
        }
    }

    /// Who can mend it: `caller`, `route`, `upstream`, `mesh`.
    pub(crate) fn blame(self) -> &'static str {
        match self {
            Self::Policy | Self::BadHost | Self::Unsupported => "caller",
            Self::NoRoute | Self::InvalidBackend => "route",
            Self::NoHealthyEndpoint | Self::BadAnswer | Self::RequestTimeout(_) | Self::BackendTimeout(_) => {
                "upstream"
            }
            Self::UnknownService | Self::NoSocket => "mesh",
        }
    }

    fn sentence(self) -> String {
        match self {
            Self::UnknownService => {
                "the mesh has no rules for what was dialled (any more): connect again".into()
            }
            Self::NoRoute => "no rule of the service's routes matches this request".into(),
            Self::InvalidBackend => "the route's rule leads to a service or port that does not exist".into(),
            Self::NoHealthyEndpoint => "no endpoint of the service could be reached".into(),
            Self::Policy => {
                "the caller may not connect to the endpoint; `wabe explain` tells the rule".into()
            }
            Self::NoSocket => "the keeper gives no socket for this workload".into(),
            Self::BadAnswer => "the endpoint closed the connection, or its answer is no HTTP".into(),
            Self::RequestTimeout(time) => {
                format!("no answer within the route's timeouts.request of {time:?}")
            }
            Self::BackendTimeout(time) => {
                format!("no answer within the route's timeouts.backendRequest of {time:?}")
            }
            Self::BadHost => "a request has one host, in one `host` header".into(),
            Self::Unsupported => "the proxy does not relay this method yet".into(),
        }
    }

    /// The answer in full.
    pub(crate) fn answer(self) -> Response<Full<Bytes>> {
        let mut answer = Response::new(Full::from(format!("wabe: {}: {}\n", self.reason(), self.sentence())));
        *answer.status_mut() = self.status();
        let headers = answer.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert("x-wabe-reason", HeaderValue::from_static(self.reason()));
        headers.insert("x-wabe-blame", HeaderValue::from_static(self.blame()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_says_why_and_whose_it_is() {
        let second = Duration::from_secs(1);
        for failure in [
            Failure::UnknownService,
            Failure::NoRoute,
            Failure::InvalidBackend,
            Failure::NoHealthyEndpoint,
            Failure::Policy,
            Failure::NoSocket,
            Failure::BadAnswer,
            Failure::RequestTimeout(second),
            Failure::BackendTimeout(second),
            Failure::BadHost,
            Failure::Unsupported,
        ] {
            let answer = failure.answer();
            assert_eq!(answer.headers()["x-wabe-reason"], failure.reason());
            assert_eq!(answer.headers()["x-wabe-blame"], failure.blame());
            assert!(answer.status().is_client_error() || answer.status().is_server_error(), "{failure:?}");
        }
    }
}
