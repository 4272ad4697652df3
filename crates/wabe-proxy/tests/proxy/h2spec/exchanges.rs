//! `http2`, sections 7 and 8: codes of errors, and what a request is.

use super::{Case, Expected, case, parts::*};
use crate::frames::{END_HEADERS, END_STREAM, GOAWAY, HEADERS, PROTOCOL_ERROR, PUSH_PROMISE};

const WRONG: Expected = Expected::StreamError(&[PROTOCOL_ERROR]);
/// A code that there is none of.
const UNKNOWN: u32 = 0xff;

pub fn cases() -> Vec<Case> {
    let mut cases = codes();
    cases.extend(requests());
    cases.extend(malformed_heads());
    cases
}

fn codes() -> Vec<Case> {
    let nothing = [0; 8];
    let h2spec = *b"h2spec\0\0";
    vec![
        case(
            "http2/7",
            "Sends a GOAWAY frame with unknown error code",
            [send(frame(GOAWAY, 0, 0, &[[0; 4], UNKNOWN.to_be_bytes()].concat())), send(ping(h2spec))],
            Expected::PongOrClose(h2spec),
        ),
        case(
            "http2/7",
            "Sends a RST_STREAM frame with unknown error code",
            [send([post(), reset(1, UNKNOWN), ping(nothing)].concat())],
            Expected::PongOrClose(nothing),
        ),
    ]
}

fn requests() -> Vec<Case> {
    let then = |block: &[u8]| [post(), data(1, 0, b"test"), frame(HEADERS, END_HEADERS, 1, block)].concat();
    let one = begin(&[head("POST"), field("content-length", "1")].concat());
    let promise = [&3_u32.to_be_bytes()[..], &head("GET")].concat();
    vec![
        case(
            "http2/8.1",
            "Sends a second HEADERS frame without the END_STREAM flag",
            [send(then(&field("x-test", "ok")))],
            WRONG,
        ),
        case(
            "http2/8.1.2.1",
            "Sends a HEADERS frame that contains a pseudo-header field as trailers",
            [send(then(&field(":method", "POST")))],
            WRONG,
        ),
        case(
            "http2/8.1.2.6",
            "Sends a HEADERS frame with the \"content-length\" header field which does not equal the DATA frame payload length",
            [send([one.clone(), data(1, END_STREAM, b"test")].concat())],
            WRONG,
        ),
        case(
            "http2/8.1.2.6",
            "Sends a HEADERS frame with the \"content-length\" header field which does not equal the sum of the multiple DATA frames payload length",
            [send([one, data(1, 0, b"test"), data(1, END_STREAM, b"test")].concat())],
            WRONG,
        ),
        case(
            "http2/8.2",
            "Sends a PUSH_PROMISE frame",
            [send(frame(PUSH_PROMISE, END_HEADERS, 1, &promise))],
            Expected::ConnectionError(&[PROTOCOL_ERROR]),
        ),
    ]
}

/// Heads of one request each that is none.
pub fn malformed_heads() -> Vec<Case> {
    let also = |name, value| [head("GET"), field(name, value)].concat();
    let (method, scheme) = (field(":method", "GET"), field(":scheme", "http"));
    let (path, authority) = (field(":path", "/"), field(":authority", "web"));
    let of = |fields: &[&Vec<u8>]| fields.iter().flat_map(|it| it.iter().copied()).collect::<Vec<u8>>();
    let rows = [
        (
            "http2/8.1.2",
            "Sends a HEADERS frame that contains the header field name in uppercase letters",
            also("X-TEST", "ok"),
        ),
        (
            "http2/8.1.2.1",
            "Sends a HEADERS frame that contains a unknown pseudo-header field",
            also(":test", "ok"),
        ),
        (
            "http2/8.1.2.1",
            "Sends a HEADERS frame that contains the pseudo-header field defined for response",
            also(":status", "200"),
        ),
        (
            "http2/8.1.2.1",
            "Sends a HEADERS frame that contains a pseudo-header field that appears in a header block after a regular header field",
            of(&[&field("x-test", "ok"), &head("GET")]),
        ),
        (
            "http2/8.1.2.2",
            "Sends a HEADERS frame that contains the connection-specific header field",
            also("connection", "keep-alive"),
        ),
        (
            "http2/8.1.2.2",
            "Sends a HEADERS frame that contains the TE header field with any value other than \"trailers\"",
            of(&[&head("GET"), &field("trailers", "test"), &field("te", "trailers, deflate")]),
        ),
        (
            "http2/8.1.2.3",
            "Sends a HEADERS frame with empty \":path\" pseudo-header field",
            of(&[&method, &scheme, &field(":path", ""), &authority]),
        ),
        (
            "http2/8.1.2.3",
            "Sends a HEADERS frame that omits \":method\" pseudo-header field",
            // h2spec leaves `:scheme` out as well.
            of(&[&path, &authority]),
        ),
        (
            "http2/8.1.2.3",
            "Sends a HEADERS frame that omits \":scheme\" pseudo-header field",
            of(&[&method, &path, &authority]),
        ),
        (
            "http2/8.1.2.3",
            "Sends a HEADERS frame that omits \":path\" pseudo-header field",
            of(&[&method, &scheme, &authority]),
        ),
        (
            "http2/8.1.2.3",
            "Sends a HEADERS frame with duplicated \":method\" pseudo-header field",
            also(":method", "GET"),
        ),
        (
            "http2/8.1.2.3",
            "Sends a HEADERS frame with duplicated \":scheme\" pseudo-header field",
            also(":scheme", "http"),
        ),
        (
            "http2/8.1.2.3",
            "Sends a HEADERS frame with duplicated \":path\" pseudo-header field",
            also(":path", "/"),
        ),
    ];
    rows.into_iter()
        .map(|(section, what, block)| case(section, what, [send(request(&block))], WRONG))
        .collect()
}
