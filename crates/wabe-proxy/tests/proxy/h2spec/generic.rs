//! `generic`: what every server does.

use super::{Awaited, Case, Expected, Step, case, parts::*};
use crate::frames::{
    CANCEL, CONTINUATION, ENABLE_PUSH, END_HEADERS, END_STREAM, GOAWAY, HEADER_TABLE_SIZE, HEADERS,
    INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE, NO_ERROR, PADDED,
    PREFACE, PRIORITY, WITH_PRIORITY,
};

const H2SPEC: [u8; 8] = *b"h2spec\0\0";
const NOTHING: [u8; 8] = [0; 8];

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case(
            "generic/1",
            "Sends a client connection preface",
            [send([PREFACE, &settings(&[(INITIAL_WINDOW_SIZE, 65_535)])].concat())],
            Expected::SettingsFirst,
        )
        .without_handshake(),
    ];
    cases.extend(streams());
    cases.extend(kinds());
    cases.extend(exchanges());
    cases.extend(representations());
    cases
}

fn depends_on(stream: u32, on: u32, exclusive: bool, weight: u8) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &priority(on, exclusive, weight))
}

fn streams() -> Vec<Case> {
    let no_window = || settings(&[(INITIAL_WINDOW_SIZE, 0)]);
    vec![
        case(
            "generic/2",
            "Sends a PRIORITY frame on idle stream",
            [send(depends_on(1, 0, false, 255)), send(ping(NOTHING))],
            Expected::Pong(NOTHING),
        ),
        case(
            "generic/2",
            "Sends a WINDOW_UPDATE frame on half-closed (remote) stream",
            [send([no_window(), get(), window_update(1, 1)].concat())],
            Expected::AnyData,
        ),
        case(
            "generic/2",
            "Sends a PRIORITY frame on half-closed (remote) stream",
            [send([no_window(), get(), depends_on(1, 0, false, 255), window_update(1, 1)].concat())],
            Expected::AnyData,
        ),
        case(
            "generic/2",
            "Sends a RST_STREAM frame on half-closed (remote) stream",
            [send([get(), reset(1, CANCEL), ping(NOTHING)].concat())],
            Expected::PongOrClose(NOTHING),
        ),
        case(
            "generic/2",
            "Sends a PRIORITY frame on closed stream",
            [send(get()), Step::Await(Awaited::End), send(depends_on(1, 0, false, 255)), send(ping(NOTHING))],
            Expected::Pong(NOTHING),
        ),
    ]
}

fn kinds() -> Vec<Case> {
    let block = head("GET");
    let padded = [&[8], &block[..], &[0; 8]].concat();
    let prioritized = [priority(0, false, 255), block.clone()].concat();
    let unended = |payload: &[u8]| frame(HEADERS, END_STREAM, 1, payload);
    let go_on = |flags, payload: &[u8]| frame(CONTINUATION, flags, 1, payload);
    vec![
        case(
            "generic/3.1",
            "Sends a DATA frame",
            [send(post()), send(data(1, END_STREAM, b"test"))],
            Expected::Answer,
        ),
        case(
            "generic/3.1",
            "Sends multiple DATA frames",
            [send(post()), send(data(1, 0, b"test")), send(data(1, END_STREAM, b"test"))],
            Expected::Answer,
        ),
        case(
            "generic/3.1",
            "Sends a DATA frame with padding",
            [send(post()), send(data(1, END_STREAM | PADDED, b"\x05test\0\0\0\0\0"))],
            Expected::Answer,
        ),
        case("generic/3.2", "Sends a HEADERS frame", [send(get())], Expected::Answer),
        case(
            "generic/3.2",
            "Sends a HEADERS frame with padding",
            [send(frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, &padded))],
            Expected::Answer,
        ),
        case(
            "generic/3.2",
            "Sends a HEADERS frame with priority",
            [send(frame(HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY, 1, &prioritized))],
            Expected::Answer,
        ),
        case(
            "generic/3.3",
            "Sends a PRIORITY frame with priority 1",
            [send(depends_on(1, 0, false, 0)), send(get())],
            Expected::Answer,
        ),
        case(
            "generic/3.3",
            "Sends a PRIORITY frame with priority 256",
            [send(depends_on(1, 0, false, 255)), send(get())],
            Expected::Answer,
        ),
        case(
            "generic/3.3",
            "Sends a PRIORITY frame with stream dependency",
            [send(depends_on(3, 1, false, 0)), send(get())],
            Expected::Answer,
        ),
        case(
            "generic/3.3",
            "Sends a PRIORITY frame with exclusive",
            [send(depends_on(1, 0, true, 0)), send(get())],
            Expected::Answer,
        ),
        case(
            "generic/3.3",
            "Sends a PRIORITY frame for an idle stream, then send a HEADER frame for a lower stream ID",
            [send(depends_on(3, 0, false, 255)), send(get())],
            Expected::Answer,
        ),
        case(
            "generic/3.4",
            "Sends a RST_STREAM frame",
            [send([begin(&block), reset(1, CANCEL), ping(NOTHING)].concat())],
            Expected::PongOrClose(NOTHING),
        ),
        case(
            "generic/3.5",
            "Sends a SETTINGS frame",
            [send(settings(&[
                (HEADER_TABLE_SIZE, 4096),
                (ENABLE_PUSH, 1),
                (MAX_CONCURRENT_STREAMS, 100),
                (INITIAL_WINDOW_SIZE, 65_535),
                (MAX_FRAME_SIZE, 16_384),
                (MAX_HEADER_LIST_SIZE, 100),
            ]))],
            Expected::SettingsAck,
        ),
        case("generic/3.7", "Sends a PING frame", [send(ping(H2SPEC))], Expected::Pong(H2SPEC)),
        case(
            "generic/3.8",
            "Sends a GOAWAY frame",
            [
                send(frame(GOAWAY, 0, 0, &[&[0; 4], &NO_ERROR.to_be_bytes()[..], b"h2spec"].concat())),
                send(ping(H2SPEC)),
            ],
            Expected::PongOrClose(H2SPEC),
        ),
        case(
            "generic/3.9",
            "Sends a WINDOW_UPDATE frame with stream ID 0",
            [send(window_update(0, 1)), send(ping(NOTHING))],
            Expected::Pong(NOTHING),
        ),
        case(
            "generic/3.9",
            "Sends a WINDOW_UPDATE frame with stream ID 1",
            [send([get(), window_update(1, 1)].concat())],
            Expected::Answer,
        ),
        case(
            "generic/3.10",
            "Sends a CONTINUATION frame",
            [send(unended(&block[..5])), send(go_on(END_HEADERS, &block[5..]))],
            Expected::Answer,
        ),
        case(
            "generic/3.10",
            "Sends multiple CONTINUATION frames",
            [
                send(unended(&block[..5])),
                send(go_on(0, &block[5..10])),
                send(go_on(END_HEADERS, &block[10..])),
            ],
            Expected::Answer,
        ),
    ]
}

fn exchanges() -> Vec<Case> {
    let announced = [head("POST"), field("trailer", "x-test")].concat();
    let trailers = frame(HEADERS, END_STREAM | END_HEADERS, 1, &field("x-test", "ok"));
    vec![
        case("generic/4", "Sends a GET request", [send(get())], Expected::Answer),
        case("generic/4", "Sends a HEAD request", [send(request(&head("HEAD")))], Expected::Answer),
        case(
            "generic/4",
            "Sends a POST request",
            [send(post()), send(data(1, END_STREAM, b"test"))],
            Expected::Answer,
        ),
        case(
            "generic/4",
            "Sends a POST request with trailers",
            [send(begin(&announced)), send(data(1, 0, b"test")), send(trailers)],
            Expected::Answer,
        ),
    ]
}

/// Ways to write a field (RFC 7541, section 6). Names and bytes are h2spec's; some of the names do not say what the bytes are.
const REPRESENTATIONS: [(&str, &[u8]); 13] = [
    ("Sends a indexed header field representation", b"\xba"),
    (
        "Sends a literal header field with incremental indexing - indexed name",
        b"\x40\x87\xb5\x05\xb1\x61\xcc\x5a\x93\x84\x9c\x48\xac\xa4",
    ),
    (
        "Sends a literal header field with incremental indexing - indexed name (with Huffman coding)",
        b"\x40\x0auser-agent\x06h2spec",
    ),
    ("Sends a literal header field with incremental indexing - new name", b"\x40\x06x-test\x06h2spec"),
    (
        "Sends a literal header field with incremental indexing - new name (with Huffman coding)",
        b"\x40\x85\xf2\xb2\x4a\x84\xff\x84\x9c\x48\xac\xa4",
    ),
    ("Sends a literal header field without indexing - indexed name", b"\x00\x0auser-agent\x06h2spec"),
    (
        "Sends a literal header field without indexing - indexed name (with Huffman coding)",
        b"\x00\x87\xb5\x05\xb1\x61\xcc\x5a\x93\x84\x9c\x48\xac\xa4",
    ),
    ("Sends a literal header field without indexing - new name", b"\x00\x06x-test\x06h2spec"),
    (
        "Sends a literal header field without indexing - new name (huffman encoded)",
        b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x9c\x48\xac\xa4",
    ),
    ("Sends a literal header field never indexed - indexed name", b"\x10\x0auser-agent\x06h2spec"),
    (
        "Sends a literal header field never indexed - indexed name (huffman encoded)",
        b"\x10\x87\xb5\x05\xb1\x61\xcc\x5a\x93\x84\x9c\x48\xac\xa4",
    ),
    (
        "Sends a literal header field never indexed - new name",
        b"\x10\x85\xf2\xb2\x4a\x84\xff\x84\x9c\x48\xac\xa4",
    ),
    (
        "Sends a literal header field never indexed - new name (huffman encoded)",
        b"\x10\x85\xf2\xb2\x4a\x84\xff\x84\x9c\x48\xac\xa4",
    ),
];

fn representations() -> Vec<Case> {
    let fields = REPRESENTATIONS.iter().map(|&(what, bytes)| {
        case("generic/5", what, [send(request(&[&head("GET"), bytes].concat()))], Expected::Answer)
    });
    let updates: [(&str, &[u8]); 2] = [
        ("Sends a dynamic table size update", b"\x3f\x61"),
        ("Sends multiple dynamic table size update", b"\x3f\x61\x3f\xe1\x1f"),
    ];
    let updates = updates.into_iter().map(|(what, bytes)| {
        case("generic/5", what, [send(request(&[bytes, &head("GET")].concat()))], Expected::Answer)
    });
    fields.chain(updates).collect()
}
