//! What is special about gRPC: how it is told, how long its caller waits, and how it says what became of a call.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};

use crate::fields::grpc_timeout;

/// Whether a request is one of gRPC's (its PROTOCOL-HTTP2.md): failures are told by `grpc-status` then.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return false };
    let Some(rest) = kind.as_bytes().strip_prefix(b"application/grpc") else { return false };
    matches!(rest.first(), None | Some(b'+' | b';'))
}

/// The caller's deadline.
pub(crate) fn patience(headers: &HeaderMap) -> Option<Duration> {
    grpc_timeout(headers.get("grpc-timeout")?.to_str().ok()?)
}

/// What became of a call: a number of gRPC's statuscodes.md, 0 to [`LARGEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(u8);

/// The last of the list.
pub(crate) const LARGEST: u8 = 16;
const UNKNOWN: Code = Code(2);
pub(crate) const CANCELLED: Code = Code(1);
pub(crate) const DEADLINE_EXCEEDED: Code = Code(4);
pub(crate) const PERMISSION_DENIED: Code = Code(7);
pub(crate) const RESOURCE_EXHAUSTED: Code = Code(8);
pub(crate) const UNIMPLEMENTED: Code = Code(12);
pub(crate) const INTERNAL: Code = Code(13);
pub(crate) const UNAVAILABLE: Code = Code(14);
const UNAUTHENTICATED: Code = Code(LARGEST);

impl Code {
    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// The status of HTTP that means the same: as [`untold`] reads it where it says, else as Google's code.proto has it.
    pub(crate) fn as_http(self) -> StatusCode {
        match self.0 {
            0 => StatusCode::OK,
            3 | 9 | 11 => StatusCode::BAD_REQUEST,
            4 => StatusCode::GATEWAY_TIMEOUT,
            5 => StatusCode::NOT_FOUND,
            6 | 10 => StatusCode::CONFLICT,
            7 => StatusCode::FORBIDDEN,
            8 => StatusCode::TOO_MANY_REQUESTS,
            12 => StatusCode::NOT_IMPLEMENTED,
            14 => StatusCode::SERVICE_UNAVAILABLE,
            16 => StatusCode::UNAUTHORIZED,
            // CANCELLED, which has no status there: 499, client closed request.
            1 => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the server failed: `UNKNOWN`, `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS`,
    /// which Google's code.proto gives the meaning of HTTP's 5xx. `RESOURCE_EXHAUSTED` has that of 429 there.
    pub(crate) fn is_server_error(self) -> bool {
        matches!(self.0, 2 | 4 | 12..=15)
    }
}

/// What an answer's trailers say, or its head if it has nothing else. What is no number of the list is `UNKNOWN` to callers.
pub(crate) fn told(fields: &HeaderMap) -> Option<Code> {
    let text = fields.get("grpc-status")?.to_str().ok();
    Some(text.and_then(|it| it.parse().ok()).filter(|it| *it <= LARGEST).map_or(UNKNOWN, Code))
}

/// What callers take an answer for that does not say so (gRPC's http-grpc-status-mapping.md).
pub(crate) fn untold(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        429 | 502..=504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::*;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        [(HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect()
    }

    #[test]
    fn grpc_is_known_by_its_content_type() {
        for (value, want) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;v=1", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc(&with("content-type", value)), want, "{value}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn what_became_of_a_call_is_a_number_of_the_list_or_unknown() {
        for (value, want) in
            [("0", 0), ("5", 5), ("16", 16), ("17", 2), ("-1", 2), ("", 2), ("300", 2), ("x", 2)]
        {
            assert_eq!(told(&with("grpc-status", value)), Some(Code(want)), "{value}");
        }
        assert_eq!(told(&HeaderMap::new()), None);
        for (status, want) in
            [(200, 2), (400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (500, 2), (503, 14)]
        {
            assert_eq!(untold(StatusCode::from_u16(status).expect("a status")), Code(want), "{status}");
        }
    }

    #[test]
    fn servers_fail_by_the_codes_that_are_5xx_elsewhere() {
        let failures: Vec<u8> = (0..=LARGEST).filter(|it| Code(*it).is_server_error()).collect();
        assert_eq!(failures, [2, 4, 12, 13, 14, 15]);
        let by_status: Vec<u8> = (0..=LARGEST).filter(|it| Code(*it).as_http().is_server_error()).collect();
        assert_eq!(by_status, failures);
    }

    #[test]
    fn deadlines_are_read_as_the_protocol_says() {
        for (value, want) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("100000000m", None),
            ("m", None),
            ("", None),
            ("+1S", None),
            ("1s", None),
            ("1.5S", None),
        ] {
            assert_eq!(patience(&with("grpc-timeout", value)), want, "{value}");
        }
    }
}
