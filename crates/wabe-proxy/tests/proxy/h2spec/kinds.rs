//! `http2`, section 6: each kind of frame.

use super::{Awaited, Case, Expected, Step, case, parts::*};
use crate::frames::{
    ACK, CANCEL, CONTINUATION, DATA, ENABLE_PUSH, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, PADDED, PING, PRIORITY,
    PROTOCOL_ERROR, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE,
};

const WRONG: Expected = Expected::ConnectionError(&[PROTOCOL_ERROR]);
const MISSIZED: Expected = Expected::ConnectionError(&[FRAME_SIZE_ERROR]);
const NOTHING: [u8; 8] = [0; 8];
const H2SPEC: [u8; 8] = *b"h2spec\0\0";
/// The largest window.
const MOST: u32 = u32::MAX >> 1;

pub fn cases() -> Vec<Case> {
    let mut cases = data_and_headers();
    cases.extend(priorities_and_resets());
    cases.extend(settings_frames());
    cases.extend(settings_values());
    cases.extend(pings_and_goaway());
    cases.extend(window_updates());
    cases.extend(windows());
    cases.extend(continuations());
    cases
}

fn data_and_headers() -> Vec<Case> {
    let block = head("GET");
    let four = begin(&[head("POST"), field("content-length", "4")].concat());
    let unended = frame(HEADERS, 0, 1, &block);
    let end = frame(CONTINUATION, END_HEADERS, 1, &dummies(1));
    let other = frame(HEADERS, END_STREAM | END_HEADERS, 3, &block);
    let padding = u8::try_from(block.len() + 2).expect("short");
    vec![
        case(
            "http2/6.1",
            "Sends a DATA frame with 0x0 stream identifier",
            [send(data(0, END_STREAM, b"test"))],
            WRONG,
        ),
        case(
            "http2/6.1",
            "Sends a DATA frame on the stream that is not in \"open\" or \"half-closed (local)\" state",
            [send([request(&head("POST")), data(1, END_STREAM, b"test")].concat())],
            Expected::StreamError(&[STREAM_CLOSED]),
        ),
        case(
            "http2/6.1",
            "Sends a DATA frame with invalid pad length",
            [send([four, frame(DATA, END_STREAM | PADDED, 1, b"\x06Test")].concat())],
            WRONG,
        ),
        case(
            "http2/6.2",
            "Sends a HEADERS frame without the END_HEADERS flag, and a PRIORITY frame",
            [send([unended.clone(), frame(PRIORITY, 0, 1, &priority(0, false, 255)), end.clone()].concat())],
            WRONG,
        ),
        case(
            "http2/6.2",
            "Sends a HEADERS frame to another stream while sending a HEADERS frame",
            [send([unended, other, end].concat())],
            WRONG,
        ),
        case(
            "http2/6.2",
            "Sends a HEADERS frame with 0x0 stream identifier",
            [send(frame(HEADERS, END_STREAM | END_HEADERS, 0, &block))],
            WRONG,
        ),
        case(
            "http2/6.2",
            "Sends a HEADERS frame with invalid pad length",
            [send(frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, &[&[padding], &block[..]].concat()))],
            Expected::StreamError(&[PROTOCOL_ERROR]),
        ),
    ]
}

fn priorities_and_resets() -> Vec<Case> {
    let missized = Expected::StreamError(&[FRAME_SIZE_ERROR]);
    vec![
        case(
            "http2/6.3",
            "Sends a PRIORITY frame with 0x0 stream identifier",
            [send(frame(PRIORITY, 0, 0, &priority(0, false, 255)))],
            WRONG,
        ),
        case(
            "http2/6.3",
            "Sends a PRIORITY frame with a length other than 5 octets",
            [send([get(), frame(PRIORITY, 0, 1, b"\x80\0\0\x01")].concat())],
            missized,
        ),
        case(
            "http2/6.4",
            "Sends a RST_STREAM frame with 0x0 stream identifier",
            [send(reset(0, CANCEL))],
            WRONG,
        ),
        case("http2/6.4", "Sends a RST_STREAM frame on a idle stream", [send(reset(1, CANCEL))], WRONG),
        case(
            "http2/6.4",
            "Sends a RST_STREAM frame with a length other than 4 octets",
            [send([get(), frame(RST_STREAM, 0, 1, &[0; 3])].concat())],
            missized,
        ),
    ]
}

fn settings_frames() -> Vec<Case> {
    vec![
        case(
            "http2/6.5",
            "Sends a SETTINGS frame with ACK flag and payload",
            [send(frame(SETTINGS, ACK, 0, &[0]))],
            MISSIZED,
        ),
        case(
            "http2/6.5",
            "Sends a SETTINGS frame with a stream identifier other than 0x0",
            [send(frame(SETTINGS, 0, 1, b"\0\x03\0\0\0\x64"))],
            WRONG,
        ),
        case(
            "http2/6.5",
            "Sends a SETTINGS frame with a length other than a multiple of 6 octets",
            [send(frame(SETTINGS, 0, 0, b"\0\x03\0"))],
            Expected::StreamError(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]),
        ),
        case(
            "http2/6.5.3",
            "Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE",
            [
                send(settings(&[(INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)])),
                Step::Await(Awaited::SettingsAck),
                send(get()),
            ],
            Expected::Data(1),
        ),
        case(
            "http2/6.5.3",
            "Sends a SETTINGS frame without ACK flag",
            [send(settings(&[(ENABLE_PUSH, 0)]))],
            Expected::SettingsAck,
        ),
    ]
}

fn settings_values() -> Vec<Case> {
    vec![
        case(
            "http2/6.5.2",
            "SETTINGS_ENABLE_PUSH (0x2): Sends the value other than 0 or 1",
            [send(settings(&[(ENABLE_PUSH, 2)]))],
            WRONG,
        ),
        case(
            "http2/6.5.2",
            "SETTINGS_INITIAL_WINDOW_SIZE (0x4): Sends the value above the maximum flow control window size",
            [send(settings(&[(INITIAL_WINDOW_SIZE, MOST + 1)]))],
            Expected::ConnectionError(&[FLOW_CONTROL_ERROR]),
        ),
        case(
            "http2/6.5.2",
            "SETTINGS_MAX_FRAME_SIZE (0x5): Sends the value below the initial value",
            [send(settings(&[(MAX_FRAME_SIZE, (1 << 14) - 1)]))],
            WRONG,
        ),
        case(
            "http2/6.5.2",
            "SETTINGS_MAX_FRAME_SIZE (0x5): Sends the value above the maximum allowed frame size",
            [send(settings(&[(MAX_FRAME_SIZE, 1 << 24)]))],
            WRONG,
        ),
        case(
            "http2/6.5.2",
            "Sends a SETTINGS frame with unknown identifier",
            [send(settings(&[(0xff, 1)])), send(ping(NOTHING))],
            Expected::Pong(NOTHING),
        ),
    ]
}

fn pings_and_goaway() -> Vec<Case> {
    vec![
        case("http2/6.7", "Sends a PING frame", [send(ping(H2SPEC))], Expected::Pong(H2SPEC)),
        case(
            "http2/6.7",
            "Sends a PING frame with ACK",
            [send(frame(PING, ACK, 0, b"invalid\0")), send(ping(H2SPEC))],
            Expected::Pong(H2SPEC),
        ),
        case(
            "http2/6.7",
            "Sends a PING frame with a stream identifier field value other than 0x0",
            [send(frame(PING, 0, 1, &NOTHING))],
            WRONG,
        ),
        case(
            "http2/6.7",
            "Sends a PING frame with a length field value other than 8",
            [send(frame(PING, 0, 0, &[0; 6]))],
            MISSIZED,
        ),
        case(
            "http2/6.8",
            "Sends a GOAWAY frame with a stream identifier other than 0x0",
            [send(frame(GOAWAY, 0, 1, &NOTHING))],
            WRONG,
        ),
    ]
}

fn window_updates() -> Vec<Case> {
    vec![
        case(
            "http2/6.9",
            "Sends a WINDOW_UPDATE frame with a flow control window increment of 0",
            [send(window_update(0, 0))],
            WRONG,
        ),
        case(
            "http2/6.9",
            "Sends a WINDOW_UPDATE frame with a flow control window increment of 0 on a stream",
            [send([begin(&head("GET")), window_update(1, 0)].concat())],
            Expected::StreamError(&[PROTOCOL_ERROR]),
        ),
        case(
            "http2/6.9",
            "Sends a WINDOW_UPDATE frame with a length other than 4 octets",
            [send(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1]))],
            MISSIZED,
        ),
        case(
            "http2/6.9.1",
            "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1",
            [send(window_update(0, MOST)), send(window_update(0, MOST))],
            Expected::GoAway(FLOW_CONTROL_ERROR),
        ),
        case(
            "http2/6.9.1",
            "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
            [send([begin(&head("GET")), window_update(1, MOST), window_update(1, MOST)].concat())],
            Expected::Reset(FLOW_CONTROL_ERROR),
        ),
    ]
}

fn windows() -> Vec<Case> {
    let window = |size| send(settings(&[(INITIAL_WINDOW_SIZE, size)]));
    let acknowledged = || Step::Await(Awaited::SettingsAck);
    vec![
        case(
            "http2/6.9.1",
            "Sends SETTINGS frame to set the initial window size to 1 and sends HEADERS frame",
            [window(1), acknowledged(), send(get())],
            Expected::Data(1),
        ),
        case(
            "http2/6.9.2",
            "Changes SETTINGS_INITIAL_WINDOW_SIZE after sending HEADERS frame",
            [window(0), acknowledged(), send(get()), window(1)],
            Expected::Data(1),
        ),
        case(
            "http2/6.9.2",
            "Sends a SETTINGS frame for window size to be negative",
            [
                window(3),
                acknowledged(),
                send(get()),
                Step::Await(Awaited::Data),
                window(2),
                acknowledged(),
                send(window_update(1, 2)),
            ],
            Expected::Data(1),
        ),
        case(
            "http2/6.9.2",
            "Sends a SETTINGS_INITIAL_WINDOW_SIZE settings with an exceeded maximum window size value",
            [send(frame(SETTINGS, 0, 0, b"\0\x04\x80\0\0\0"))],
            Expected::ConnectionError(&[FLOW_CONTROL_ERROR]),
        ),
    ]
}

fn continuations() -> Vec<Case> {
    let first = |method, flags| frame(HEADERS, flags, 1, &head(method));
    let more = |stream, flags| frame(CONTINUATION, flags, stream, &dummies(1));
    vec![
        case(
            "http2/6.10",
            "Sends multiple CONTINUATION frames preceded by a HEADERS frame",
            [send([first("GET", END_STREAM), more(1, 0), more(1, END_HEADERS)].concat())],
            Expected::Answer,
        ),
        case(
            "http2/6.10",
            "Sends a CONTINUATION frame followed by any frame other than CONTINUATION",
            [send([first("POST", 0), more(1, 0), data(1, END_STREAM, b"test")].concat())],
            WRONG,
        ),
        case(
            "http2/6.10",
            "Sends a CONTINUATION frame with 0x0 stream identifier",
            [send([first("GET", END_STREAM), more(0, END_HEADERS)].concat())],
            WRONG,
        ),
        case(
            "http2/6.10",
            "Sends a CONTINUATION frame preceded by a HEADERS frame with END_HEADERS flag",
            [send([first("GET", END_STREAM | END_HEADERS), more(1, END_HEADERS)].concat())],
            WRONG,
        ),
        case(
            "http2/6.10",
            "Sends a CONTINUATION frame preceded by a CONTINUATION frame with END_HEADERS flag",
            [send([first("GET", END_STREAM), more(1, END_HEADERS), more(1, END_HEADERS)].concat())],
            WRONG,
        ),
        case(
            "http2/6.10",
            "Sends a CONTINUATION frame preceded by a DATA frame",
            [send([post(), data(1, 0, b"test"), more(1, 0), more(0, END_HEADERS)].concat())],
            WRONG,
        ),
    ]
}
