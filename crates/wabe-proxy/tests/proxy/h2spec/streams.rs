//! `http2`, section 5: what may come on a stream, and when.

use super::{Awaited, Case, Expected, Step, case, framing::UNKNOWN, parts::*};
use crate::frames::{
    CANCEL, CONTINUATION, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, PING, PRIORITY,
    PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED, WITH_PRIORITY,
};

/// What the proxy says that it takes at once (`SETTINGS_MAX_CONCURRENT_STREAMS`).
const STREAMS: u32 = 256;
const OF_CONNECTION: Expected = Expected::ConnectionError(&[PROTOCOL_ERROR]);
const OF_STREAM: Expected = Expected::StreamError(&[PROTOCOL_ERROR]);
const CLOSED: Expected = Expected::StreamError(&[STREAM_CLOSED]);
const CLOSED_OR_WRONG: Expected = Expected::StreamError(&[STREAM_CLOSED, PROTOCOL_ERROR]);

pub fn cases() -> Vec<Case> {
    let mut cases = idle();
    cases.extend(half_closed());
    cases.extend(closed());
    cases.extend(names());
    cases.extend(dependencies());
    cases.extend(errors());
    cases
}

fn go_on(block: &[u8]) -> Vec<u8> {
    frame(CONTINUATION, END_HEADERS, 1, block)
}

fn idle() -> Vec<Case> {
    vec![
        case("http2/5.1", "idle: Sends a DATA frame", [send(data(1, END_STREAM, b"test"))], CLOSED_OR_WRONG),
        case("http2/5.1", "idle: Sends a RST_STREAM frame", [send(reset(1, CANCEL))], OF_CONNECTION),
        case("http2/5.1", "idle: Sends a WINDOW_UPDATE frame", [send(window_update(1, 100))], OF_CONNECTION),
        case("http2/5.1", "idle: Sends a CONTINUATION frame", [send(go_on(&head("GET")))], OF_CONNECTION),
    ]
}

fn half_closed() -> Vec<Case> {
    vec![
        case(
            "http2/5.1",
            "half closed (remote): Sends a DATA frame",
            [send([get(), data(1, END_STREAM, b"test")].concat())],
            CLOSED,
        ),
        case(
            "http2/5.1",
            "half closed (remote): Sends a HEADERS frame",
            [send([get(), get()].concat())],
            CLOSED,
        ),
        case(
            "http2/5.1",
            "half closed (remote): Sends a CONTINUATION frame",
            [send([get(), go_on(&head("GET"))].concat())],
            CLOSED_OR_WRONG,
        ),
    ]
}

fn closed() -> Vec<Case> {
    let was_reset = || [begin(&head("GET")), reset(1, CANCEL)].concat();
    let ended = |then: Vec<u8>| [send(get()), Step::Await(Awaited::End), send(then)];
    vec![
        case(
            "http2/5.1",
            "closed: Sends a DATA frame after sending RST_STREAM frame",
            [send([was_reset(), data(1, END_STREAM, b"test")].concat())],
            CLOSED,
        ),
        case(
            "http2/5.1",
            "closed: Sends a HEADERS frame after sending RST_STREAM frame",
            [send([was_reset(), get()].concat())],
            CLOSED,
        ),
        case(
            "http2/5.1",
            "closed: Sends a CONTINUATION frame after sending RST_STREAM frame",
            [send([was_reset(), go_on(&dummies(1))].concat())],
            CLOSED_OR_WRONG,
        ),
        case("http2/5.1", "closed: Sends a DATA frame", ended(data(1, END_STREAM, b"test")), CLOSED),
        case(
            "http2/5.1",
            "closed: Sends a HEADERS frame",
            ended(get()),
            Expected::ConnectionError(&[STREAM_CLOSED]),
        ),
        case(
            "http2/5.1",
            "closed: Sends a CONTINUATION frame",
            ended(go_on(&dummies(1))),
            Expected::ConnectionError(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
    ]
}

fn names() -> Vec<Case> {
    let on = |stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &head("GET"));
    let many = (0..=STREAMS).flat_map(|it| on(1 + 2 * it));
    let many: Vec<u8> = settings(&[(INITIAL_WINDOW_SIZE, 0)]).into_iter().chain(many).collect();
    vec![
        case("http2/5.1.1", "Sends even-numbered stream identifier", [send(on(2))], OF_CONNECTION),
        case(
            "http2/5.1.1",
            "Sends stream identifier that is numerically smaller than previous",
            [send([on(5), on(3)].concat())],
            OF_CONNECTION,
        ),
        case(
            "http2/5.1.2",
            "Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded",
            [send(many)],
            Expected::StreamError(&[PROTOCOL_ERROR, REFUSED_STREAM]),
        ),
    ]
}

fn dependencies() -> Vec<Case> {
    let itself = priority(1, false, 255);
    let block = [itself.clone(), head("GET")].concat();
    vec![
        case(
            "http2/5.3.1",
            "Sends HEADERS frame that depends on itself",
            [send(frame(HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY, 1, &block))],
            OF_STREAM,
        ),
        case(
            "http2/5.3.1",
            "Sends PRIORITY frame that depend on itself",
            [send(frame(PRIORITY, 0, 1, &itself))],
            OF_STREAM,
        ),
    ]
}

fn errors() -> Vec<Case> {
    let nothing = [0; 8];
    let unended = frame(HEADERS, END_STREAM, 1, &head("GET"));
    vec![
        case(
            "http2/5.4.1",
            "Sends an invalid PING frame for connection close",
            [send(frame(PING, 0, 3, &nothing))],
            Expected::Close,
        ),
        case(
            "http2/5.4.1",
            "Sends an invalid PING frame to receive GOAWAY frame",
            [send(frame(PING, 0, 3, &nothing))],
            Expected::GoAway(PROTOCOL_ERROR),
        ),
        case(
            "http2/5.5",
            "Sends an unknown extension frame",
            [send(frame(UNKNOWN, 0, 0, &nothing)), send(ping(nothing))],
            Expected::Pong(nothing),
        ),
        case(
            "http2/5.5",
            "Sends an unknown extension frame in the middle of a header block",
            [send([unended, frame(UNKNOWN, 0, 0, &nothing)].concat())],
            OF_CONNECTION,
        ),
    ]
}
